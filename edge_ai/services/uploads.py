"""Receiving files: streamed to disk by the upload handler, hashed here, never held in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from edge_ai.engine.errors import UserInputError
from edge_ai.storage import Fingerprint, Kept, fingerprint

MAX_NAME = 200


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A file that has arrived and is not published yet: on disk, or in the storage under a name of its own."""

    path: Path | Kept
    mark: Fingerprint
    file_name: str


@contextmanager
def receive(file: UploadedFile[Any], *, limit_bytes: int) -> Iterator[Incoming]:
    """Give the uploaded file a path; whatever happens, nothing of it is left in the upload folder afterwards.

    Raises
    ------
    UserInputError
        ``file_too_large``, or ``invalid_request`` for an empty file.
    """
    size = file.size or 0
    if size > limit_bytes:
        raise UserInputError(
            f"The file is {size:,} bytes; at most {limit_bytes:,} are accepted.",
            code="file_too_large",
            fix="Send a smaller file.",
            details={"limit": "upload_bytes", "allowed": limit_bytes, "asked": size},
            field="file",
        )
    if size == 0:
        raise UserInputError(
            "The file is empty.", code="invalid_request", fix="Choose a file with content.", field="file"
        )
    temporary = getattr(file, "temporary_file_path", None)
    if temporary is not None:
        path = Path(temporary())
    else:
        descriptor, name = tempfile.mkstemp(dir=settings.UPLOAD_DIR)
        os.close(descriptor)
        path = Path(name)
    try:
        if temporary is None:
            with path.open("wb") as sink:
                for piece in file.chunks():
                    sink.write(piece)
        yield Incoming(path=path, mark=fingerprint(path), file_name=clean_file_name(file.name or ""))
    finally:
        path.unlink(missing_ok=True)


def clean_file_name(given: str) -> str:
    """Return the last part of a client's file name without anything that a path or a header could trip over."""
    name = PurePosixPath(given.replace("\\", "/")).name
    name = "".join(letter for letter in name if letter.isprintable() and letter not in '"<>|:*?/').strip(". ")
    return name[:MAX_NAME] or "file"
