"""What holds for every address of the API: requests that are sent twice, and changes to what has changed meanwhile."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.http import HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.http import parse_etags
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from edge_ai.api.authentication import actor
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.spec import refuse
from edge_ai.services import repeats

KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 200
#: Says what a request asks for where its body is streamed and cannot be looked at before.
TOLD_BY_HEADERS = ("Content-Length", "Upload-Length", "Upload-Metadata", "Upload-Checksum")
Handler = Callable[..., HttpResponseBase]


class CarefulView(APIView):
    """An address of the API."""

    #: Whether a POST and the record of its answer are one transaction. Not where somebody else is waited for meanwhile.
    post_in_transaction = True
    #: Whether answers to GET carry an ETag.
    versioned = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        verb = str(request.method).lower()
        handler: Handler | None = getattr(self, verb, None)
        if handler is None:
            return
        if verb == "post" and KEY in request.headers:
            setattr(self, verb, functools.partial(self._once, handler))
        elif verb in {"patch", "delete"} and "If-Match" in request.headers:
            setattr(self, verb, functools.partial(self._unless_changed, handler))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Name the version that is answered; say nothing where the client has it."""
        if self.versioned and isinstance(response, Response) and response.status_code == 200:
            response = self._tagged(request, response)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        return super().finalize_response(request, response, *args, **kwargs)

    def _tagged(self, request: Request, response: Response) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD", "PATCH"}:
            return response
        tag = etag_of(response.data)
        known = request.method != "PATCH" and _names(request.headers.get("If-None-Match", ""), tag)
        answer = HttpResponseNotModified() if known else response
        answer["ETag"] = tag
        return answer

    def _once(self, handler: Handler, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer, now = repeats.once(
            actor(request),
            key=_key(request),
            request_sha256=_fingerprint(request),
            in_transaction=self.post_in_transaction,
            do=lambda: _kept(handler(request, *args, **kwargs)),
        )
        response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
        if not now:
            response[REPLAYED] = "true"
        return response

    def _unless_changed(self, handler: Handler, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with transaction.atomic():
            # Of two that saw the same version, the second sees what the first has changed.
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                    [f"edge_ai_change:{connection.schema_name}:{request.path}"],  # type: ignore[attr-defined]  # the tenant backend's
                )
            tag = etag_of(self.get(request, *args, **kwargs).data)  # type: ignore[attr-defined]  # what can be changed can be read
            if not _names(request.headers["If-Match"], tag):
                raise UserInputError(
                    "It has changed since you read it.",
                    code="precondition_failed",
                    fix="Read it again, then decide.",
                    details={"etag": tag},
                )
            return handler(request, *args, **kwargs)


def etag_of(data: Any) -> str:
    """Return the tag of a representation."""
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


def _names(header: str, tag: str) -> bool:
    # A proxy that compresses makes tags weak; that the bytes differ does not matter here.
    return header.strip() == "*" or any(each.removeprefix("W/") == tag for each in parse_etags(header))


def _key(request: Request) -> str:
    key = str(request.headers[KEY])
    if not 1 <= len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise refuse(KEY, f"The key is empty, longer than {MAX_KEY} letters, or not plain ASCII text.", "Send a UUID.")
    return key


def _fingerprint(request: Request) -> str:
    try:
        said: Any = request.data
    except UnsupportedMediaType:
        said = None  # of what takes no body; what takes one refuses it by itself
    if hasattr(said, "lists"):
        said = [[name, [_plain(value) for value in values]] for name, values in sorted(said.lists())]
    headers = [request.headers.get(name, "") for name in TOLD_BY_HEADERS] if not said else []
    whole = [request.method, request.path, sorted(request.query_params.lists()), said, headers]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if not isinstance(value, UploadedFile):
        return value
    digest = hashlib.sha256()
    for chunk in value.chunks():
        digest.update(chunk)
    value.seek(0)
    return [value.name, digest.hexdigest()]


def _kept(response: HttpResponseBase) -> repeats.Answer:
    headers = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    if isinstance(response, Response):
        body = JSONRenderer().render(response.data).decode()
        return repeats.Answer(
            status=response.status_code, headers=headers | {"Content-Type": "application/json"}, body=body
        )
    assert isinstance(response, HttpResponse)  # noqa: S101 - none of ours streams an answer to a POST
    return repeats.Answer(status=response.status_code, headers=headers, body=response.content.decode())
