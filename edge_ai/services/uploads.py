"""Receiving files: streamed to disk by the upload handler, hashed here, never held in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from edge_ai.engine.archives import pack_stored
from edge_ai.engine.errors import UserInputError
from edge_ai.storage import Fingerprint, Kept, fingerprint, reaching

MAX_NAME = 200
MAX_SUFFIX = 16


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A file that has arrived and is not published yet: on disk, or in the storage under a name of its own."""

    path: Path | Kept
    mark: Fingerprint
    file_name: str


@dataclass(frozen=True, kw_only=True)
class OnDisk(Incoming):
    """A file that has arrived on disk."""

    path: Path


@contextmanager
def receive(file: UploadedFile[Any], *, limit_bytes: int) -> Iterator[OnDisk]:
    """Give the uploaded file a path; whatever happens, nothing of it is left in the upload folder afterwards.

    Raises
    ------
    UserInputError
        ``file_too_large``, or ``invalid_request`` for an empty file.
    """
    size = file.size or 0
    _require_fitting(size, limit_bytes)
    if size == 0:
        raise _invalid("The file is empty.", "Choose a file with content.")
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
        yield OnDisk(path=path, mark=fingerprint(path), file_name=clean_file_name(file.name or ""))
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def receive_together(files: Sequence[UploadedFile[Any]], *, limit_bytes: int) -> Iterator[OnDisk]:
    """Put an ONNX model and the files that keep its weights into one archive, whose bytes follow from theirs alone.

    Raises
    ------
    UserInputError
        ``file_too_large`` for all of them together; ``invalid_request`` for an empty file, two of one name, and where not
        exactly one is an ONNX file.
    """
    with ExitStack() as stack:
        _require_fitting(sum(file.size or 0 for file in files), limit_bytes)
        incoming = [stack.enter_context(receive(file, limit_bytes=limit_bytes)) for file in files]
        names = [each.file_name for each in incoming]
        models = [name for name in names if name.lower().endswith(".onnx")]
        if len(models) != 1:
            raise _invalid(
                f"Of files that are sent together one must be an ONNX model, and {len(models)} are.",
                "Send each model by itself, an ONNX model together with the files that keep its weights.",
            )
        if len({name.lower() for name in names}) < len(names):
            raise _invalid("Two of the files have the same name.", "Send each file once.")
        descriptor, name = tempfile.mkstemp(dir=settings.UPLOAD_DIR)
        os.close(descriptor)
        path = Path(name)
        stack.callback(path.unlink, missing_ok=True)
        with reaching():
            pack_stored({each.file_name: each.path for each in incoming}, path)
        mark = fingerprint(path)
        _require_fitting(mark.size_bytes, limit_bytes)
        yield OnDisk(path=path, mark=mark, file_name=f"{models[0][: -len('.onnx')] or 'model'}.zip")


def _require_fitting(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise UserInputError(
            f"The file is {size:,} bytes; at most {limit_bytes:,} are accepted.",
            code="file_too_large",
            fix="Send a smaller file.",
            details={"limit": "upload_bytes", "allowed": limit_bytes, "asked": size},
            field="file",
        )


def _invalid(message: str, fix: str) -> UserInputError:
    return UserInputError(message, code="invalid_request", fix=fix, field="file")


def clean_file_name(given: str) -> str:
    """Return the last part of a client's file name without anything that a path or a header could trip over."""
    name = PurePosixPath(given.replace("\\", "/")).name
    name = "".join(letter for letter in name if letter.isprintable() and letter not in '"<>|:*?/').strip(". ")
    if len(name) > MAX_NAME:
        suffix = PurePosixPath(name).suffix[:MAX_SUFFIX]  # what a program tells the format by
        name = name[: MAX_NAME - len(suffix)] + suffix
    return name or "file"
