"""Request ids, the limit on a request's body, and pages that are sent compressed."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

from edge_ai.engine.errors import UserInputError

_current: ContextVar[str] = ContextVar("request_id", default="-")
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")
# What a form sends beside its file: boundaries and a few short fields.
FORM_SLACK_BYTES = 100_000


def current_request_id() -> str:
    """Return the id of the request (or of the job that it started) that this thread is working on; ``-`` for none."""
    return _current.get()


def set_request_id(value: str) -> None:
    """Let a worker log under the id of the request that submitted its job."""
    _current.set(value or "-")


class HealthProbeFilter(logging.Filter):
    """Keep “not ready yet” out of the log: whoever asks is told, and asks several times a second."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        return not (getattr(record, "status_code", None) == 503 and getattr(request, "path", "") == "/health/")


class RequestIdMiddleware:
    """Take a client's ``X-Request-ID`` or make one, and send it back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]  # what this middleware adds to every request
        token = _current.set(request_id)
        try:
            response = self.get_response(request)
        finally:
            _current.reset(token)
        response["X-Request-ID"] = request_id
        return response


def max_body(limit: Callable[[], int]) -> Callable[[Any], Any]:
    """Allow a view's requests to be larger than a form: ``limit()`` is the largest file in bytes."""

    def mark(view: Any) -> Any:
        view.max_body_bytes = limit
        return view

    return mark


class BodyLimitMiddleware:
    """Refuse a body over the view's limit by its announced length, before a byte of it is read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        owner = getattr(view, "cls", None) or getattr(view, "view_class", None) or view
        limit = getattr(owner, "max_body_bytes", None)
        allowed = (limit() if limit is not None else settings.DATA_UPLOAD_MAX_MEMORY_SIZE) + FORM_SLACK_BYTES
        if length <= allowed:
            return None
        from config.errors import error_response

        error = UserInputError(
            f"The request is {length:,} bytes; at most {allowed - FORM_SLACK_BYTES:,} are accepted here.",
            code="file_too_large",
            fix="Send a smaller file.",
            field="file" if limit is not None else None,
        )
        response = error_response(request, error)
        response["Connection"] = "close"
        return response


class CompressPagesMiddleware(GZipMiddleware):
    """Send pages compressed to whoever takes gzip. Each is padded by chance, so that its length tells nothing (BREACH).

    Only pages: a download's bytes and its ``ETag`` stay as they are stored, and a stream is not held back.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        page = response.headers.get("Content-Type", "").startswith("text/html")
        return super().process_response(request, response) if page and not response.streaming else response
