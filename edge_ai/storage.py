"""Content-addressed blobs of a workspace, on any Django storage, and signed links to them.

A blob is called ``<schema>/blobs/<two digits>/<sha256>``. Its file is published (written elsewhere, synced, renamed) before
its row, so that no row lacks its file; rows that nothing refers to go, with their files, in :func:`sweep`. Both take the
same lock on the hash, so a blob cannot be swept while somebody stores it again.

While blobs are moved from one storage to another, there are two: files are written to the first, and looked for in the
second where the first lacks them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

from django.conf import settings
from django.core import signing
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import connection, transaction
from django.db.models import ProtectedError, QuerySet

from config.in_parts import TakesParts
from edge_ai.engine.errors import InternalError, ResourceError
from edge_ai.models.base import ClockTimestamp
from edge_ai.models.blob import Blob

CHUNK_BYTES = 1 << 20
SALT = "edge_ai.storage.download"
FALLBACK = "blobs_fallback"
#: Where errors come from that say that a service does not answer as it should.
SERVICES = ("boto3", "botocore", "s3transfer", "azure", "google", "requests", "urllib3")
GRACE = timedelta(hours=1)
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What bytes are called, and how many there are."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file that came to the storage in parts and lies there under a name of its own."""

    name: str

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """Open it to read here and there in it; raises ``FileNotFoundError``."""
        return _in_parts().look_into(self.name)


@dataclass(frozen=True, kw_only=True)
class Download:
    """What a signed link leads to."""

    schema_name: str
    sha256: str
    file_name: str
    mime_type: str


@contextlib.contextmanager
def reaching() -> Iterator[None]:
    """Tell what is wrong with the storage in words that people and retries understand.

    Raises
    ------
    EngineError
        ``storage_full`` or ``storage_unavailable``; both are worth another attempt. A file that is not there stays a
        ``FileNotFoundError``.
    """
    try:
        yield
    except Exception as error:
        # Told by where they come from: importing them takes most of a second, also where nothing is kept in S3.
        if any(kind.__module__.partition(".")[0] in SERVICES for kind in type(error).__mro__):
            raise InternalError(
                "The storage of files does not answer as it should.",
                code="storage_unavailable",
                fix="Try again in a moment.",
            ) from error
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise ResourceError(
                "There is no room for the file.", code="storage_full", fix="Tell the operator.", retryable=True
            ) from error
        raise


def backend() -> Storage:
    """Return the storage that blobs are kept in."""
    return storages["blobs"]


def places() -> list[Storage]:
    """Return the storages that a blob may be in: the one that is written to, and the one that is moved out of, if any."""
    return [backend(), *([storages[FALLBACK]] if FALLBACK in settings.STORAGES else [])]


def blob_name(schema_name: str, sha256: str) -> str:
    """Return the name of a blob in the storage."""
    return f"{schema_name}/blobs/{sha256[:2]}/{sha256}"


def incoming_prefix(schema_name: str) -> str:
    """Return how the names begin of what comes in parts and is no blob yet."""
    return f"{schema_name}/incoming/"


def fingerprint(path: Path) -> Fingerprint:
    """Hash a file at constant memory."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Fingerprint(sha256=digest.hexdigest(), size_bytes=size)


def put(path: Path | Kept, mark: Fingerprint) -> Blob:
    """Publish the file at ``path`` as a blob of the current workspace; the file at ``path`` may be moved away.

    What is in the storage already is copied there. To be called inside the transaction that makes the row which refers to
    the blob.
    """
    schema_name = _schema()
    _lock(schema_name, mark.sha256)
    name = blob_name(schema_name, mark.sha256)
    storage = backend()
    with reaching():
        if isinstance(path, Kept):
            _copy_kept(path, name, mark)
        elif isinstance(storage, FileSystemStorage):
            _publish_local(storage, path, name)
        elif not storage.exists(name):
            with path.open("rb") as stream:
                storage.save(name, File(stream))
    blob = Blob(sha256=mark.sha256, size_bytes=mark.size_bytes)
    Blob.objects.bulk_create([blob], ignore_conflicts=True)  # it may be there already: the same bytes are one blob
    return blob


def put_ahead(path: Path | Kept, mark: Fingerprint) -> None:
    """Take what is long about :func:`put` ahead of it, outside of the transaction that will refer to the blob.

    A storage across the network gets the file now, and its row, which :func:`sweep` removes where nothing comes to refer
    to it. On local disk there is nothing long: the file is renamed.
    """
    if not isinstance(backend(), FileSystemStorage):
        with transaction.atomic():
            put(path, mark)


def _copy_kept(kept: Kept, name: str, mark: Fingerprint) -> None:
    takes = _in_parts()
    if takes.bytes_of(name) == mark.size_bytes:
        return
    takes.copy_within(kept.name, name)
    if takes.bytes_of(name) != mark.size_bytes:
        raise InternalError(
            "The storage did not copy the file whole.", code="storage_unavailable", fix="Try again in a moment."
        )


def _in_parts() -> TakesParts:
    storage = backend()
    if not isinstance(storage, TakesParts):
        raise FileNotFoundError("The storage takes no parts.")
    return storage


def _publish_local(storage: FileSystemStorage, path: Path, name: str) -> None:
    target = Path(storage.path(name))
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        path.replace(staged)
    except OSError:  # another file system
        shutil.copyfile(path, staged)
    staged.chmod(0o600)
    _sync(staged)
    staged.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_out(sha256: str, target: Path) -> None:
    """Write a blob of the current workspace to ``target``: a copy, never the stored file itself.

    Raises
    ------
    FileNotFoundError
        When it is nowhere.
    EngineError
        ``file_lost`` when it is not what was stored: what a damaged model answers says nothing about the model.
    """
    with reaching(), open_blob(_schema(), sha256) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, CHUNK_BYTES)
    # Afterwards: a service's client reads ahead without end while the bytes on their way are hashed.
    if fingerprint(target).sha256 != sha256:
        raise lost("is damaged: it is not what was stored")


def lost(how: str) -> InternalError:
    """Return the error for a stored file that is missing or damaged."""
    return InternalError(
        f"A stored file that this needs {how}.",
        code="file_lost",
        fix="Upload the same file again, or tell the operator.",
        retryable=False,
    )


def open_blob(schema_name: str, sha256: str) -> IO[bytes]:
    """Open a blob for reading, wherever it is; raises ``FileNotFoundError``."""
    name = blob_name(schema_name, sha256)
    first, *others = places()
    # What is moved leaves its old place only after it is in the new one: it may have come there since that was looked at.
    for storage in (first, *others, first) if others else (first,):
        with contextlib.suppress(FileNotFoundError):
            opened: Any = storage.open(name, "rb")
            return opened  # type: ignore[no-any-return]  # Django's File reads like a file
    raise FileNotFoundError(name)


def signed_url(*, sha256: str, file_name: str, mime_type: str) -> str:
    """Return a link to a blob of the current workspace that works for ``DOWNLOAD_URL_SECONDS``, whoever follows it."""
    schema_name = _schema()
    name = blob_name(schema_name, sha256)
    storage, *others = places()
    if others:
        with reaching():
            storage = next((each for each in (storage, *others) if each.exists(name)), storage)
    if isinstance(storage, FileSystemStorage):
        token = signing.dumps([schema_name, sha256, file_name, mime_type], salt=SALT, compress=True)
        return f"/files/{token}/{quote(file_name)}"
    presigning: Any = storage  # each of those in config/ does
    return str(
        presigning.download_url(name, file_name=file_name, mime_type=mime_type, seconds=settings.DOWNLOAD_URL_SECONDS)
    )


def graph_url(*, sha256: str, file_name: str) -> str:
    """Return a link to a blob for the viewer of graphs: as short-lived as a download's, and always of our own origin."""
    token = signing.dumps([_schema(), sha256, file_name, "application/octet-stream"], salt=SALT, compress=True)
    return f"/graph/model/{token}/{quote(file_name)}"


def read_token(token: str) -> Download | None:
    """Return what a signed link's token stands for, or ``None`` when it was altered or is too old."""
    try:
        schema_name, sha256, file_name, mime_type = signing.loads(
            token, salt=SALT, max_age=settings.DOWNLOAD_URL_SECONDS
        )
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Download(schema_name=schema_name, sha256=sha256, file_name=file_name, mime_type=mime_type)


def anything_to_sweep(*, grace: timedelta = GRACE) -> bool:
    """Tell whether :func:`sweep` would find something. Files without a blob are looked for on local disk only."""
    if _unused(grace).exists():
        return True
    return any(
        _strays_on(shelf, grace)
        for storage in places()
        if isinstance(storage, FileSystemStorage)
        for shelf in Path(storage.path(f"{_schema()}/blobs")).glob("*")
    )


def sweep(*, grace: timedelta = GRACE, go_on: Callable[[], bool] = lambda: True) -> int:
    """Remove the current workspace's blobs that no row refers to, and files without a blob; returns how many.

    ``go_on`` is asked before each; where it says no, the rest is left for another time.
    """
    schema_name = _schema()
    removed = 0
    unused = _unused(grace)
    for sha256 in list(unused.values_list("sha256", flat=True)):
        if not go_on():
            return removed
        with transaction.atomic():
            _lock(schema_name, sha256)
            try:
                gone, _ = unused.filter(sha256=sha256).delete()
            except ProtectedError:  # referred to since it was listed
                continue
            if gone:
                with reaching():
                    for storage in places():
                        storage.delete(blob_name(schema_name, sha256))
                removed += 1
    for storage in places():
        if isinstance(storage, FileSystemStorage):
            removed += _sweep_strays(Path(storage.path(f"{schema_name}/blobs")), schema_name, grace, go_on)
    return removed


def remove_all(schema_name: str) -> None:
    """Remove every file of a workspace that is itself removed."""
    with reaching():
        for storage in places():
            if isinstance(storage, FileSystemStorage):
                shutil.rmtree(storage.path(schema_name), ignore_errors=True)
                continue
            if isinstance(storage, TakesParts):
                for each in storage.unfinished(incoming_prefix(schema_name)):
                    storage.abandon_parts(each.name, each.parts_id)
            for name in list(files_under(storage, schema_name)):
                storage.delete(name)


def files_under(storage: Storage, folder: str) -> Iterator[str]:
    """Go through the names of all files in a folder of a storage and in those within it; a folder may be missing."""
    try:
        folders, files = storage.listdir(folder)
    except FileNotFoundError:
        return
    for each in sorted(files):
        yield f"{folder}/{each}"
    for each in sorted(folders):
        yield from files_under(storage, f"{folder}/{each}")


def publish(storage: Storage, path: Path, name: str) -> None:
    """Make the file at ``path`` one of a storage, whole or not at all; it may be moved away."""
    if isinstance(storage, FileSystemStorage):
        _publish_local(storage, path, name)
        return
    with path.open("rb") as stream:
        storage.save(name, File(stream))


def hold(schema_name: str, sha256: str) -> None:
    """Keep everybody from storing or removing a blob until the caller's transaction ends."""
    _lock(schema_name, sha256)


def _unused(grace: timedelta) -> QuerySet[Blob]:
    return Blob.objects.filter(
        models=None,
        datasets=None,
        artifacts=None,
        benchmarks=None,
        comparisons=None,
        exports=None,
        created_at__lt=ClockTimestamp() - grace,
    )


def _strays_on(shelf: Path, grace: timedelta) -> dict[str, Path]:
    """Return the files whose row was never committed: their transaction was rolled back, or its process killed."""
    horizon = time.time() - grace.total_seconds()
    old = {path.name: path for path in shelf.iterdir() if path.stat().st_mtime < horizon}
    known = set(Blob.objects.filter(sha256__in=list(old)).values_list("sha256", flat=True))
    return {name: path for name, path in old.items() if name not in known}


def _sweep_strays(folder: Path, schema_name: str, grace: timedelta, go_on: Callable[[], bool]) -> int:
    removed = 0
    for shelf in folder.glob("*"):
        for name, path in _strays_on(shelf, grace).items():
            if not go_on():
                return removed
            with transaction.atomic():
                # Under the lock nobody is between the file and its row, nor still writing it under its first name.
                _lock(schema_name, name.removeprefix(".").partition(".")[0])
                if not Blob.objects.filter(sha256=name).exists():
                    path.unlink(missing_ok=True)
                    removed += 1
    return removed


def _schema() -> str:
    name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    if name == "public":
        raise RuntimeError("Blobs belong to a workspace, and none is entered.")
    return name


def _lock(schema_name: str, sha256: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{schema_name}/{sha256}"])
