"""Delivering stored files to whoever holds a signed link. No session is looked at, and none is needed."""

from __future__ import annotations

import os
import re
from typing import IO

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from config.disposition import attachment
from config.errors import error_response, problem_response
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.storage import Download, lost, open_blob, reaching, read_token

RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z")


@require_safe
def stored_file(request: HttpRequest, token: str, file_name: str) -> HttpResponseBase:
    """Send a file, or a part of it, as an attachment; a link that is too old or was altered leads nowhere.

    Ranges and conditions are those of RFC 9110. The file's tag is its SHA-256, so a download that was cut off goes on with
    the bytes that it began with, or from the beginning.
    """
    found = read_token(token)
    if found is not None:
        try:
            with reaching():
                stream = open_blob(found.schema_name, found.sha256)
                size = stream.seek(0, os.SEEK_END)
            return _send(request, found, stream, size)
        except FileNotFoundError:
            return _refusal(request, lost("is missing"))
        except EngineError as error:
            return _refusal(request, error)
    return _refusal(
        request,
        UserInputError(
            "The download link is no longer valid.", code="not_found", fix="Go back and ask for the download again."
        ),
    )


def _refusal(request: HttpRequest, error: EngineError) -> HttpResponse:
    """Answer a browser with a page, and scripts, which come here by links of the API, with a problem."""
    browser = "text/html" in request.headers.get("Accept", "")
    return error_response(request, error) if browser else problem_response(error)


def _send(request: HttpRequest, found: Download, stream: IO[bytes], size: int) -> HttpResponseBase:
    tag = f'"{found.sha256}"'
    headers = {"Accept-Ranges": "bytes", "ETag": tag, "Cache-Control": "private, no-store"}
    refused = get_conditional_response(request, etag=tag)
    if refused is not None:
        stream.close()
        return _with(refused, headers)
    asked = _range_of(request, tag, size)
    if asked == (0, 0):
        stream.close()
        return HttpResponse(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    first, beyond = asked or (0, size)
    headers["Content-Length"] = str(beyond - first)
    headers["Content-Disposition"] = attachment(found.file_name)
    if asked:
        headers["Content-Range"] = f"bytes {first}-{beyond - 1}/{size}"
    response: HttpResponseBase
    if request.method == "HEAD":
        stream.close()
        response = HttpResponse(content_type=found.mime_type)
    else:
        stream.seek(first)
        response = FileResponse(
            stream if beyond == size else _Part(stream, beyond - first),
            status=206 if asked else 200,
            content_type=found.mime_type,
        )
    return _with(response, headers)


def _with(response: HttpResponseBase, headers: dict[str, str]) -> HttpResponseBase:
    for name, value in headers.items():
        response[name] = value
    return response


def _range_of(request: HttpRequest, tag: str, size: int) -> tuple[int, int] | None:
    """Return the part that is asked for, as its first byte and the one beyond its last.

    ``None`` is all of it: where no part is asked for, several are, or one of another version of the file; and whatever is
    asked for but by GET. Two zeros are a part that the file does not have.
    """
    wanted = RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted is None or request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    if not wanted[1]:  # so many bytes from the end
        if not wanted[2]:
            return None
        last = min(int(wanted[2]), size)
        return (size - last, size) if last else (0, 0)
    first = int(wanted[1])
    beyond = min(size, int(wanted[2]) + 1) if wanted[2] else size
    if wanted[2] and int(wanted[2]) < first:
        return None  # not a range, and so passed over
    return (first, beyond) if first < size else (0, 0)


class _Part:
    """So many bytes of a file from where it stands."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes, nothing beyond the part."""
        chunk = self._stream.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
