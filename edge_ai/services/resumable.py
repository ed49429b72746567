"""Resumable uploads: what holds for all, and tus: a file that grows in place. Its size is the offset, so a killed server
forgets nothing. Those that come in parts, :mod:`edge_ai.services.parts` knows.

While a piece with a checksum is being written, a mark beside the file holds the offset before it: what a kill leaves of a
piece that was never verified does not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import logging
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.features import require
from accounts.models import User
from config.features import Feature
from edge_ai import storage
from edge_ai.engine.errors import EngineError, ResourceError, UserInputError
from edge_ai.models import Upload
from edge_ai.models.base import ClockTimestamp, Owned
from edge_ai.services import parts, quotas
from edge_ai.services.pouring import pouring
from edge_ai.services.standings import standing
from edge_ai.services.uploads import Incoming, clean_file_name
from edge_ai.storage import Fingerprint, fingerprint

ALGORITHMS = ("sha256", "sha1")
T = TypeVar("T", bound=Owned)


class BegunHashes:
    """SHA-256 of what has arrived of some uploads, so that this process need not read a file again at its end.

    Only ever used at the very offset that it was kept for; whoever has it not reads the file.
    """

    most = 256
    _distrusted: tuple[int, Any] = (-1, None)

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, key: UUID, offset: int) -> Any:
        """Return one to go on with from an offset; ``None`` where it is not known."""
        if offset == 0:
            return hashlib.sha256()
        with self._lock:
            at, digest = self._kept.get(key, self._distrusted)
        return digest.copy() if at == offset else None

    def keep(self, key: UUID, offset: int, digest: Any) -> None:
        """Keep what is known up to an offset, for the last uploads alone."""
        with self._lock:
            if self._kept.get(key) == self._distrusted:
                return
            self._kept.pop(key, None)
            if digest is not None:
                self._put(key, (offset, digest))

    def distrust(self, key: UUID) -> None:
        """Have the file of an upload read at its end, whatever is known of it."""
        with self._lock:
            self._put(key, self._distrusted)

    def _put(self, key: UUID, what: tuple[int, Any]) -> None:
        self._kept[key] = what
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)


begun_hashes = BegunHashes()
_disk = ThreadPoolExecutor(2, thread_name_prefix="upload-sync")
log = logging.getLogger(__name__)


class Source(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What a piece must hash to."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Made(Generic[T]):
    """A row made of an upload; ``now`` is false where an earlier request had made it."""

    row: T
    now: bool


def begin(user: User, *, length_bytes: int, purpose: str, file_name: str, name: str, in_parts: bool = False) -> Upload:
    """Announce an upload. Its whole length is reserved until it ends: as a model or data set, given up, or expired.

    Raises
    ------
    EngineError
        ``file_too_large``, ``quota_exceeded``, ``storage_full``; in parts ``parts_unsupported``, ``storage_unavailable``.
    """
    require(Feature.UPLOADS)
    if in_parts:
        parts.require_parts()
    limit = standing().largest(purpose)
    if length_bytes > limit:
        raise UserInputError(
            f"The file is {length_bytes:,} bytes; at most {limit:,} are accepted.",
            code="file_too_large",
            fix="Send a smaller file.",
            details={"limit": "upload_bytes", "allowed": limit, "asked": length_bytes},
        )
    if not in_parts:
        require_room(length_bytes)
    with transaction.atomic():
        quotas.claim_file(size_bytes=length_bytes)
        upload = Upload.objects.create(
            owner=user,
            purpose=purpose,
            name=name.strip()[:200],
            file_name=clean_file_name(file_name),
            length_bytes=length_bytes,
            expires_at=expiry(),
            part_bytes=parts.part_bytes_for(length_bytes) if in_parts else 0,
        )
    if in_parts:
        try:
            parts.open_(upload)
        except EngineError:
            upload.delete()
            raise
        return upload
    path = path_of(upload)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    return upload


def has_room(size_bytes: int) -> bool:
    """Tell whether the disk has room for a file beside its reserve."""
    return shutil.disk_usage(settings.RESUMABLE_DIR).free >= size_bytes + settings.DISK_RESERVE_BYTES


def require_room(size_bytes: int) -> None:
    """Refuse what would eat into the disk's reserve.

    Raises
    ------
    ResourceError
        ``storage_full``.
    """
    if not has_room(size_bytes):
        raise ResourceError(
            "There is no room for the file.", code="storage_full", fix="Tell the operator.", retryable=True
        )


def find_upload(user: User, upload_id: UUID) -> Upload:
    """Return a user's upload.

    Raises
    ------
    UserInputError
        ``not_found``, the same for a colleague's; ``upload_expired``.
    """
    upload = Upload.objects.owned_by(user).filter(pk=upload_id).first()
    if upload is None or (upload.made is None and not _is_there(upload)):
        raise UserInputError(
            f"There is no upload {upload_id} that you may see.", code="not_found", fix="Begin a new one."
        )
    if upload.expires_at < timezone.now():
        raise UserInputError("The upload has expired.", code="upload_expired", fix="Begin a new one.")
    return upload


def _is_there(upload: Upload) -> bool:
    return parts.are_possible() if upload.is_in_parts else path_of(upload).exists()


def offset_of(upload: Upload) -> int:
    """Return how many bytes have arrived and count."""
    if upload.made is not None:
        return upload.length_bytes
    if upload.is_in_parts:
        return parts.arrived(upload).size_bytes
    path = path_of(upload)
    try:
        return int(_mark(path).read_text())
    except FileNotFoundError:
        return path.stat().st_size


def append(upload: Upload, *, offset: int, source: Source, announced_bytes: int, checksum: Checksum | None) -> int:
    """Write what ``source`` gives behind what is there; returns the new offset. What comes before a cut is kept.

    Raises
    ------
    EngineError
        ``upload_locked``, ``upload_offset_mismatch``, ``file_too_large``, ``checksum_mismatch``, ``storage_full``.
    """
    path = path_of(upload)
    with _locked(path) as sink:
        start = offset_of(upload)
        if offset != start:
            raise UserInputError(
                f"The upload stands at byte {start}, not at {offset}.",
                code="upload_offset_mismatch",
                fix="Go on from where HEAD says.",
                details={"offset": start},
            )
        if start + announced_bytes > upload.length_bytes:
            raise _too_long(upload)
        require_room(announced_bytes)
        sink.truncate(start)
        sink.seek(start)
        if checksum is not None:
            _set_mark(path, start)
        whole = begun_hashes.of(upload.pk, start)
        end = _copy(upload, source, sink, start=start, whole=whole, checksum=checksum)
        if checksum is not None:
            _mark(path).unlink()
        if end == upload.length_bytes:
            sha256 = whole.hexdigest() if whole is not None else fingerprint(path).sha256
            Upload.objects.filter(pk=upload.pk).update(sha256=sha256, expires_at=expiry())
        else:
            begun_hashes.keep(upload.pk, end, whole)
            Upload.objects.filter(pk=upload.pk).update(expires_at=expiry())
    upload.refresh_from_db()
    return end


def _copy(upload: Upload, source: Source, sink: IO[bytes], *, start: int, whole: Any, checksum: Checksum | None) -> int:
    piece = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
    takers = [sink.write, *(each.update for each in (whole, piece) if each is not None)]
    end = start
    try:
        with pouring(takers) as give:
            while chunk := _read(source):
                end += len(chunk)
                if end > upload.length_bytes:
                    raise _too_long(upload)
                give(chunk)
        if piece is not None and checksum is not None and not hmac.compare_digest(piece.digest(), checksum.digest):
            raise UserInputError(
                "The bytes do not have the checksum that came with them.",
                code="checksum_mismatch",
                fix="Send them again.",
            )
    except UserInputError:
        sink.flush()
        sink.truncate(start)
        _mark(path_of(upload)).unlink(missing_ok=True)
        raise
    sink.flush()
    if end == upload.length_bytes:
        os.fsync(sink.fileno())
    else:
        # The disk works while the next piece comes; whatever it is, the last piece waits for all.
        _disk.submit(_sync, os.dup(sink.fileno()), upload.pk)
    return end


def _sync(descriptor: int, key: UUID) -> None:
    try:
        os.fsync(descriptor)
    except OSError:
        log.exception("What came of the upload %s may not be on the disk", key)
        # What lies there is what counts: it is read again at the end.
        begun_hashes.distrust(key)
    finally:
        os.close(descriptor)


def _read(source: Source) -> bytes:
    try:
        return source.read(settings.RECEIVE_BYTES)
    except OSError:  # the client went away
        return b""


def discard(upload: Upload) -> None:
    """Forget an upload with what has arrived; what was made of it stays.

    Raises
    ------
    EngineError
        ``upload_locked`` where another request is at it; ``storage_unavailable``.
    """
    path = path_of(upload)
    if upload.is_in_parts:
        with parts.alone(upload), transaction.atomic():
            # Whoever makes a model of it holds the row, and removes the file then.
            row = Upload.objects.select_for_update().filter(pk=upload.pk).first()
            if row is not None and row.made is None:
                parts.throw_away(row)
            Upload.objects.filter(pk=upload.pk).delete()
    elif upload.made is None:
        with _locked(path):
            upload.delete()
            _remove(path)
    else:
        upload.delete()


def take(user: User, *, upload_id: UUID, purpose: str, rows: Any, make: Callable[[Incoming], T]) -> Made[T]:
    """Let ``make`` turn a finished upload into a row, once, however often and by how many at a time it is asked.

    The bytes are given as a second name of the file, so that nothing is lost when the transaction is rolled back; those of
    an upload in parts as what lies in the storage.

    Raises
    ------
    UserInputError
        ``not_found``, ``upload_expired``, ``upload_incomplete``, and what ``make`` raises.
    """
    found = find_upload(user, upload_id)
    with transaction.atomic():
        upload = Upload.objects.select_for_update().filter(pk=found.pk, purpose=purpose).first()
        row = rows.filter(pk=upload.made).first() if upload is not None and upload.made is not None else None
        if row is not None:
            return Made(row=row, now=False)
        if upload is None or upload.made is not None:
            raise UserInputError(
                "There is no such upload, or what was made of it is gone.",
                code="not_found",
                fix="Begin a new one.",
                field="upload",
            )
        with _incoming(upload) as incoming:
            row = make(incoming)
        Upload.objects.filter(pk=upload.pk).update(made=row.pk, sha256=incoming.mark.sha256)
        # Not before it is certain that nobody needs it: the caller's transaction may go on.
        over = partial(parts.let_go, parts.name_of(upload)) if upload.is_in_parts else partial(_remove, path_of(upload))
        transaction.on_commit(over, robust=True)
    return Made(row=row, now=True)


@contextlib.contextmanager
def _incoming(upload: Upload) -> Iterator[Incoming]:
    if upload.is_in_parts:
        if not upload.sha256:
            raise _incomplete(
                "The upload was not completed.", f"Send the rest first, then POST to {upload.pk}/complete/."
            )
        with storage.reaching():
            yield Incoming(
                path=parts.kept(upload),
                mark=Fingerprint(sha256=upload.sha256, size_bytes=upload.length_bytes),
                file_name=upload.file_name,
            )
        return
    path = path_of(upload)
    if offset_of(upload) < upload.length_bytes:
        raise _incomplete(
            f"{offset_of(upload):,} of {upload.length_bytes:,} bytes have arrived.", "Send the rest first."
        )
    mark = Fingerprint(sha256=upload.sha256, size_bytes=upload.length_bytes) if upload.sha256 else fingerprint(path)
    second = path.with_suffix(".taken")
    second.unlink(missing_ok=True)
    second.hardlink_to(path)
    try:
        yield Incoming(path=second, mark=mark, file_name=upload.file_name)
    finally:
        second.unlink(missing_ok=True)


def _incomplete(message: str, fix: str) -> UserInputError:
    return UserInputError(message, code="upload_incomplete", fix=fix, field="upload")


def sweep() -> int:
    """Remove the current workspace's expired uploads, and old files and parts without a row; returns how many.

    Raises
    ------
    EngineError
        ``storage_unavailable``.
    """
    removed = 0
    for upload in Upload.objects.filter(expires_at__lt=ClockTimestamp()):
        with contextlib.suppress(EngineError):  # somebody is writing, or the storage does not answer
            discard(upload)
            removed += 1
    horizon = time.time() - settings.UPLOAD_EXPIRY_SECONDS
    old = [path for path in _folder().glob("*") if path.stat().st_mtime < horizon]
    known = set(Upload.objects.filter(made=None, pk__in={path.stem for path in old}).values_list("pk", flat=True))
    for path in old:
        if UUID(path.stem) not in known:
            path.unlink(missing_ok=True)
            removed += 1
    return removed + parts.sweep_strays(older_than=datetime.fromtimestamp(horizon, UTC))


def path_of(upload: Upload) -> Path:
    """Return where an upload's bytes are."""
    return _folder() / f"{upload.pk}.part"


def _folder() -> Path:
    name: str = connection.schema_name  # type: ignore[attr-defined]  # the tenant backend's
    folder: Path = settings.RESUMABLE_DIR / name
    return folder


def expiry() -> Any:
    """Return until when an upload waits that something has arrived of now."""
    return ClockTimestamp() + timedelta(seconds=settings.UPLOAD_EXPIRY_SECONDS)


def _mark(path: Path) -> Path:
    return path.with_suffix(".verified")


def _set_mark(path: Path, offset: int) -> None:
    fresh = path.with_suffix(".marking")
    fresh.write_text(str(offset))
    fresh.replace(_mark(path))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _mark(path).unlink(missing_ok=True)


def _too_long(upload: Upload) -> UserInputError:
    return UserInputError(
        f"More came than the {upload.length_bytes:,} bytes that were announced.",
        code="file_too_large",
        fix="Begin a new upload with the right Upload-Length.",
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    try:
        stream = path.open("r+b")
    except FileNotFoundError:
        raise UserInputError("There is no such upload any more.", code="not_found", fix="Begin a new one.") from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserInputError(
                "Another request is writing this upload.", code="upload_locked", fix="Wait a moment, then go on."
            ) from None
        with storage.reaching():
            yield stream
