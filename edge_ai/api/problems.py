"""From any exception to a problem object (RFC 9457), for views and for what goes wrong before one is found."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from django.core import exceptions as django_exceptions
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.views import set_rollback

from config.errors import error_response, problem_response
from edge_ai.engine.errors import EngineError, InternalError, UserInputError

logger = logging.getLogger(__name__)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def exception_handler(exception: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Answer an exception that a view raised. What nobody expected is logged with its traceback, and told without."""
    set_rollback()
    errors = None
    if isinstance(exception, exceptions.ValidationError):
        errors = list(field_errors(exception.detail))
        error: EngineError = _invalid(errors)
    else:
        error = as_error(exception)
    if error.code == "internal_error":
        logger.error("Unexpected error in the API", exc_info=exception)
    response = problem_response(error, errors=errors)
    wait = getattr(exception, "wait", None)
    if wait is not None:
        response["Retry-After"] = str(max(1, round(wait)))
    return response


def as_error(exception: Exception) -> EngineError:
    """Return the domain error that an exception amounts to."""
    if isinstance(exception, EngineError):
        return exception
    if isinstance(exception, exceptions.APIException):
        return _from_framework(exception)
    match exception:
        case Http404() | django_exceptions.ObjectDoesNotExist():
            return nothing_here()
        case django_exceptions.PermissionDenied():
            return UserInputError("You are not allowed to do this.", code="permission_denied")
        case django_exceptions.RequestDataTooBig():
            return UserInputError(
                "The fields beside the file are too large.", code="file_too_large", fix="Send shorter ones."
            )
        case django_exceptions.BadRequest() | django_exceptions.SuspiciousOperation():
            return unreadable()
        case OSError() if exception.errno in NO_ROOM:
            return InternalError("The studio has no room for the file.", code="storage_full", fix="Tell the operator.")
        case IntegrityError() if isinstance(exception.__cause__, psycopg.errors.ForeignKeyViolation):
            return UserInputError(
                "Something that the request names is in use elsewhere, or is gone meanwhile.",
                code="conflict",
                fix="Look at it again, then decide.",
            )
    return unexpected()


def _from_framework(exception: exceptions.APIException) -> EngineError:
    said = str(exception.detail)
    match exception:
        case exceptions.ParseError():
            return UserInputError(said, code="parse_error")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return UserInputError(
                "No valid API key or session came with the request.",
                code="not_authenticated",
                fix="Send the header Authorization: Bearer <api key>.",
            )
        case exceptions.PermissionDenied():
            return UserInputError(said, code="permission_denied")
        case exceptions.NotFound():
            return nothing_here()
        case exceptions.MethodNotAllowed():
            return UserInputError(
                said, code="method_not_allowed", fix="The header Allow of this answer lists what is possible."
            )
        case exceptions.NotAcceptable():
            return UserInputError(
                "What the Accept header asks for is not offered here.",
                code="not_acceptable",
                fix="Accept application/json.",
            )
        case exceptions.UnsupportedMediaType():
            return UserInputError(
                said, code="unsupported_media_type", fix="Send application/json, or multipart/form-data with a file."
            )
        case exceptions.Throttled():
            return UserInputError(
                "Too many requests.", code="rate_limited", fix="Wait as long as Retry-After says, then go on."
            )
    return unexpected()


def field_errors(detail: Any, path: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Flatten REST framework's nested messages into one entry for each complaint, with a dotted path to its field."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from field_errors(inner, path if name in {"non_field_errors", "__all__"} else (*path, str(name)))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        nested = any(isinstance(inner, Mapping) for inner in detail)
        for place, inner in enumerate(detail):
            yield from field_errors(inner, (*path, str(place)) if nested else path)
    else:
        yield {
            "field": ".".join(path) or None,
            "code": getattr(detail, "code", "invalid"),
            "detail": str(detail),
        }


def _invalid(errors: Sequence[Mapping[str, Any]]) -> UserInputError:
    said = [f"{item['field']}: {item['detail']}" if item["field"] else item["detail"] for item in errors]
    return UserInputError(" ".join(said[:5]) or "The request is not valid.", code="invalid_request")


def nothing_here() -> UserInputError:
    """The answer where nothing is, and where nothing is to be seen by whoever asks."""
    return UserInputError(
        "There is nothing at this address that you may see.",
        code="not_found",
        fix="Check the id, the workspace, and that the address ends with a slash.",
    )


def unreadable() -> UserInputError:
    """The answer to a request that is no proper HTTP."""
    return UserInputError("The request could not be understood.", code="parse_error", fix="Check how it was made.")


def unexpected() -> InternalError:
    """The answer when the fault is ours."""
    return InternalError(
        "Something unexpected happened here, and was logged.",
        code="internal_error",
        fix="Try again; report the request id if it stays.",
    )


def handle_bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler400``."""
    return error_response(request, unreadable())


def handle_permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler403``."""
    return error_response(request, as_error(django_exceptions.PermissionDenied()))


def handle_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler404``."""
    return error_response(request, nothing_here())


def handle_server_error(request: HttpRequest) -> HttpResponse:
    """Django's ``handler500``."""
    return error_response(request, unexpected())
