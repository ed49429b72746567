"""From a domain error to an answer, once for scripts (RFC 9457) and once for people."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from config.middleware import current_request_id
from edge_ai.engine.errors import CODES, EngineError, UserInputError

PROBLEM_TYPE = "application/problem+json"
# Every code that is not listed is a 422: the request was understood and cannot be done.
STATUS_BY_CODE: dict[str, int] = {
    "parse_error": 400,
    "not_authenticated": 401,
    "quota_exceeded": 402,
    "permission_denied": 403,
    "feature_off": 403,
    "not_found": 404,
    "file_lost": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "conflict": 409,
    "upload_offset_mismatch": 409,
    "upload_incomplete": 409,
    "upload_expired": 410,
    "precondition_failed": 412,
    "file_too_large": 413,
    "unsupported_media_type": 415,
    "upload_locked": 423,
    "rate_limited": 429,
    "too_many_jobs": 429,
    "checksum_mismatch": 460,
    "internal_error": 500,
    "storage_unavailable": 503,
    "storage_full": 507,
}


def status_of(code: str) -> int:
    """Return the HTTP status that a stable code is answered with."""
    return STATUS_BY_CODE.get(code, 422)


def is_api(request: HttpRequest) -> bool:
    """Tell whether the asker is a script, by the address."""
    return request.path.startswith("/api/")


def problem_body(error: EngineError, *, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the problem object of ``error``; ``errors`` lists the fields at fault when there are several."""
    status = status_of(error.code)
    known = CODES.get(error.code)
    detail = f"{error} {error.fix}".strip() if error.fix else str(error)
    if errors is None:
        errors = [{"field": error.field, "code": error.code, "detail": detail}] if error.field else []
    body: dict[str, Any] = {
        "type": f"/docs/errors/#{error.code}",
        "title": known.title if known else HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "detail": detail,
        "errors": errors,
        "request_id": current_request_id(),
    }
    if error.details:
        body["details"] = dict(error.details)
    return body


def problem_response(error: EngineError, *, errors: list[dict[str, Any]] | None = None) -> JsonResponse:
    """Answer a script."""
    body = problem_body(error, errors=errors)
    response = JsonResponse(body, status=body["status"], content_type=PROBLEM_TYPE)
    if body["status"] == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="studio"'
    if error.details and "retry_after_s" in error.details:
        response["Retry-After"] = str(error.details["retry_after_s"])
    return response


def rate_limited(request: HttpRequest) -> HttpResponse:
    """Answer who signs in, or asks for mails, too often."""
    error = UserInputError(
        "These were too many attempts in a short time.", code="rate_limited", fix="Wait a few minutes, then try again."
    )
    response = error_response(request, error)
    response["Retry-After"] = "60"
    return response


def error_response(request: HttpRequest, error: EngineError) -> HttpResponse:
    """Answer whoever asked."""
    if is_api(request):
        return problem_response(error)
    status = status_of(error.code)
    # Whoever works in a workspace keeps the way to everything else. When the fault is ours, little is asked of the studio.
    inside = status < HTTPStatus.INTERNAL_SERVER_ERROR and getattr(request, "workspace", None) is not None
    template = "error_inside.html" if inside else "error.html"
    return render(request, template, {"error": error, "problem": problem_body(error)}, status=status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's ``CSRF_FAILURE_VIEW``."""
    return render(request, "403_csrf.html", {"request_id": current_request_id()}, status=HTTPStatus.FORBIDDEN)


class NotAllowedMiddleware:
    """Give a page's empty answer to the wrong method the words that every other refusal has."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED or is_api(request) or response.content:
            return response
        error = UserInputError(
            f"This address does not take {request.method}, but {response.get('Allow', 'nothing')}.",
            code="method_not_allowed",
            fix="Open the page that leads here, and use it there.",
        )
        told = error_response(request, error)
        told["Allow"] = response.get("Allow", "")
        return told
