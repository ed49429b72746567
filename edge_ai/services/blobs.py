"""Blobs as they lie in storages: hashed at constant memory, and copied from one storage to another."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import transaction
from django.utils import timezone

from edge_ai import storage
from edge_ai.storage import CHUNK_BYTES, Fingerprint

#: What a blob's file is called, and one of the local disk while it is written.
BLOB_FILE = re.compile(r"[0-9a-f]{64}")
STAGED_FILE = re.compile(r"\.([0-9a-f]{64})\.\d+")


class Copied(StrEnum):
    """What came of copying a blob."""

    DONE = "done"
    GONE = "gone"
    """The source has no such file."""
    DAMAGED = "damaged"
    """The source's file is not what its name says; nothing was copied."""
    GARBLED = "garbled"
    """What arrived is something else; it was removed again."""


def named(backend: str) -> Storage:
    """Return the storage that STORAGE_BACKEND would mean by that name."""
    made: Storage = storages.create_storage(settings.BLOB_STORAGES[backend])
    return made


def places() -> dict[str, Storage]:
    """Return the storages that blobs may be in, by their names."""
    return dict(zip((settings.STORAGE_BACKEND, settings.STORAGE_FALLBACK_BACKEND), storage.places(), strict=False))


def stored(place: Storage, name: str) -> Fingerprint | None:
    """Hash a file where it lies; ``None`` where there is none. Raises ``storage_unavailable``."""
    try:
        if isinstance(place, FileSystemStorage):
            return storage.fingerprint(Path(place.path(name)))
        return _spooled(place, name, None)
    except FileNotFoundError:
        return None


def age(place: Storage, name: str) -> timedelta | None:
    """Return how long ago a file was written; ``None`` where there is none any more."""
    try:
        return timezone.now() - place.get_modified_time(name)
    except FileNotFoundError:
        return None
    except Exception:
        if not place.exists(name):  # services have words of their own for that
            return None
        raise


def copy(source: Storage, target: Storage, *, name: str, schema_name: str, sha256: str) -> Copied:
    """Copy a blob's file, and read it back to see that it arrived.

    Raises
    ------
    EngineError
        ``storage_full``, ``storage_unavailable``.
    """
    try:
        if isinstance(source, FileSystemStorage) and not isinstance(target, FileSystemStorage):
            path = Path(source.path(name))
            found = storage.fingerprint(path)
            if found.sha256 != sha256:
                return Copied.DAMAGED
            with storage.reaching():
                storage.publish(target, path, name)
        else:
            path = settings.UPLOAD_DIR / f"moving-{uuid.uuid4().hex}"
            try:
                found = _spooled(source, name, path)
                if found.sha256 != sha256:
                    return Copied.DAMAGED
                with storage.reaching():
                    storage.publish(target, path, name)
            finally:
                path.unlink(missing_ok=True)
    except FileNotFoundError:
        return Copied.GONE
    if stored(target, name) == found:
        return Copied.DONE
    with transaction.atomic(), storage.reaching():
        storage.hold(schema_name, sha256)
        target.delete(name)
    return Copied.GARBLED


def _spooled(place: Storage, name: str, path: Path | None) -> Fingerprint:
    """Hash a file, and write it to ``path`` on the way."""
    digest = hashlib.sha256()
    size = 0
    with storage.reaching(), place.open(name, "rb") as stream:
        sink = path.open("wb") if path is not None else None
        try:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if sink is not None:
                    sink.write(chunk)
        finally:
            if sink is not None:
                sink.close()
    return Fingerprint(sha256=digest.hexdigest(), size_bytes=size)
