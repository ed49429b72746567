"""Delivering stored files to whoever holds a signed link. No session is looked at, and none is needed."""

from __future__ import annotations

import os
import re
from typing import IO

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

from config.errors import error_response
from edge_ai.engine.errors import UserInputError
from edge_ai.storage import open_blob, read_token

RANGE = re.compile(r"bytes=(\d{1,19})-(\d{0,19})\Z")


@require_safe
def stored_file(request: HttpRequest, token: str, file_name: str) -> HttpResponseBase:
    """Send a file as an attachment; a link that is too old or was altered leads nowhere."""
    found = read_token(token)
    if found is not None:
        try:
            stream = open_blob(found.schema_name, found.sha256)
        except FileNotFoundError:
            found = None
    if found is None:
        return error_response(
            request,
            UserInputError(
                "The download link is no longer valid.", code="not_found", fix="Go back and ask for the download again."
            ),
        )
    tag = f'"{found.sha256}"'
    size = stream.seek(0, os.SEEK_END)
    asked = _range_of(request, tag, size)
    if asked == (0, 0):
        stream.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}", "Cache-Control": "no-store"})
    first, beyond = asked or (0, size)
    stream.seek(first)
    response = FileResponse(
        stream if beyond == size else _Part(stream, beyond - first),
        as_attachment=True,
        filename=found.file_name,
        content_type=found.mime_type,
    )
    response["Content-Length"] = str(beyond - first)
    if asked:
        response.status_code = 206
        response["Content-Range"] = f"bytes {first}-{beyond - 1}/{size}"
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-store"
    return response


def _range_of(request: HttpRequest, tag: str, size: int) -> tuple[int, int] | None:
    """Return the part that is asked for, as its first byte and the one beyond its last (RFC 9110).

    ``None`` is all of it: where no part is asked for, several are, or one of another version of the file. Two zeros are a
    part that the file does not have.
    """
    wanted = RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted is None or request.headers.get("If-Range", tag) != tag:
        return None
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
