"""Delivering stored files to whoever holds a signed link. No session is looked at, and none is needed."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.views.decorators.http import require_safe

from config.errors import error_response
from edge_ai.engine.errors import UserInputError
from edge_ai.storage import open_blob, read_token


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
    response = FileResponse(stream, as_attachment=True, filename=found.file_name, content_type=found.mime_type)
    response["ETag"] = f'"{found.sha256}"'
    response["Cache-Control"] = "private, no-store"
    return response
