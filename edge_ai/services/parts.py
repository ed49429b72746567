"""Uploads in parts: clients send them straight to S3, in any order and at once; the studio reads what they came to once.

The service is believed nothing: whether a part has its checksum is decided by reading the joined file. Joining, giving up and
throwing away take one lock of the upload, which belongs to the database session, so that a killed process holds up nobody.
A file or parts in the storage that no upload stands for are swept.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from config.in_parts import SignedPart, StoredPart, TakesParts
from edge_ai import storage
from edge_ai.engine.errors import EngineError, InternalError, UserInputError
from edge_ai.engine.spec import refuse
from edge_ai.models import Upload
from edge_ai.services.pouring import pouring
from edge_ai.storage import Kept

#: Part sizes grow with the file, so that there are never many more parts than this; S3 takes 10,000.
MANY_PARTS = 1000
ROUND_BYTES = 1 << 20
#: How long a signed address works.
URL_SECONDS = 900
MAX_SIGNED = 100
MAX_NAMED = 100


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A part that is to be sent, and its SHA-256 in hex."""

    number: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Signed:
    """Where a part goes: by PUT, with these headers, before that time."""

    number: int
    size_bytes: int
    url: str
    headers: Mapping[str, str]
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """What has arrived: numbers of parts, and their bytes together."""

    numbers: tuple[int, ...]
    size_bytes: int


def part_bytes_for(length_bytes: int) -> int:
    """Return how long the parts of a file are."""
    least = -(-length_bytes // MANY_PARTS)
    return int(max(settings.UPLOAD_PART_BYTES, -(-least // ROUND_BYTES) * ROUND_BYTES))


def require_parts() -> TakesParts:
    """Return the storage, where it takes parts.

    Raises
    ------
    UserInputError
        ``parts_unsupported``.
    """
    found = storage.backend()
    if isinstance(found, TakesParts):
        return found
    raise UserInputError(
        "Files come to this studio through itself, not in parts.",
        code="parts_unsupported",
        fix="Send the file by tus 1.0 to the same address: POST with Upload-Length, then PATCH.",
    )


def are_possible() -> bool:
    """Tell whether the storage takes parts."""
    return isinstance(storage.backend(), TakesParts)


def open_(upload: Upload) -> None:
    """Begin at the storage what was written down."""
    with storage.reaching():
        parts_id = require_parts().begin_parts(name_of(upload))
    Upload.objects.filter(pk=upload.pk).update(parts_id=parts_id)


def sign(upload: Upload, wanted: list[Wanted], *, expires_at: Any) -> list[Signed]:
    """Keep what parts must hash to, and return where they go.

    Raises
    ------
    UserInputError
        ``conflict`` for an upload that is complete; ``invalid_request`` for a number that there is not.
    """
    _require_in_parts(upload)
    for place, part in enumerate(wanted):
        if part.number > upload.part_count:
            raise refuse(
                f"parts.{place}.number",
                f"There is no part {part.number}.",
                f"The upload has the parts 1 to {upload.part_count}.",
            )
    takes = require_parts()
    with transaction.atomic():
        row = Upload.objects.select_for_update().get(pk=upload.pk)
        if row.sha256 or row.made is not None:
            raise UserInputError("The upload is complete.", code="conflict", fix="Make a model or data set of it.")
        told = row.part_sha256 | {str(part.number): part.sha256.lower() for part in wanted}
        Upload.objects.filter(pk=row.pk).update(part_sha256=told, expires_at=expires_at)
    until = datetime.now(UTC) + timedelta(seconds=URL_SECONDS)
    with storage.reaching():
        return [_signed(takes, row, part, until) for part in wanted]


def _signed(takes: TakesParts, upload: Upload, part: Wanted, until: datetime) -> Signed:
    size = upload.bytes_of_part(part.number)
    made: SignedPart = takes.sign_part(
        name_of(upload),
        upload.parts_id,
        part.number,
        size_bytes=size,
        sha256=bytes.fromhex(part.sha256),
        seconds=URL_SECONDS,
    )
    return Signed(number=part.number, size_bytes=size, url=made.url, headers=made.headers, expires_at=until)


def arrived(upload: Upload) -> Arrived:
    """Return which parts have arrived, as the storage says.

    Raises
    ------
    EngineError
        ``upload_expired``, ``storage_unavailable``.
    """
    if upload.sha256 or upload.made is not None:
        return Arrived(numbers=tuple(range(1, upload.part_count + 1)), size_bytes=upload.length_bytes)
    if not upload.part_sha256:
        return Arrived(numbers=(), size_bytes=0)  # nobody knows where any part goes
    takes = require_parts()
    with storage.reaching():
        found = _found(takes, upload)
    # Where it is joined and not read yet, somebody is at it, or was killed at it.
    numbers = tuple(range(1, upload.part_count + 1)) if found is None else tuple(sorted(_whole(upload, found)))
    return Arrived(numbers=numbers, size_bytes=sum(map(upload.bytes_of_part, numbers)))


def complete(upload: Upload, *, expires_at: Any) -> Upload:
    """Join the parts, read the file once, and keep its SHA-256. Asked again, it answers the same.

    Where a part does not have its checksum, all are thrown away and the upload begins anew.

    Raises
    ------
    EngineError
        ``upload_incomplete``, ``checksum_mismatch``, ``upload_locked``, ``upload_expired`` where the storage has thrown the
        parts away by itself, ``storage_unavailable``.
    """
    _require_in_parts(upload)
    takes = require_parts()
    with alone(upload):
        upload.refresh_from_db()
        if upload.sha256 or upload.made is not None:
            return upload
        with storage.reaching():
            _join(takes, upload)
            whole, wrong = _read(takes, upload)
            if wrong:
                _begin_anew(takes, upload)
        if wrong:
            raise _mismatch(upload, wrong)
        Upload.objects.filter(pk=upload.pk).update(sha256=whole, expires_at=expires_at)
        upload.refresh_from_db()
    return upload


def _join(takes: TakesParts, upload: Upload) -> None:
    found = _found(takes, upload)
    if found is None:
        return
    whole = _whole(upload, found)
    missing = [number for number in range(1, upload.part_count + 1) if number not in whole]
    if missing:
        raise UserInputError(
            f"{len(missing):,} of {upload.part_count:,} parts are missing: {_listed(missing)}.",
            code="upload_incomplete",
            fix="Send them first.",
            details={"missing": missing[:MAX_NAMED], "missing_count": len(missing)},
        )
    takes.join_parts(name_of(upload), upload.parts_id, whole)


def _found(takes: TakesParts, upload: Upload) -> dict[int, StoredPart] | None:
    """Return the parts at the storage; ``None`` where they were joined.

    Raises
    ------
    UserInputError
        ``upload_expired`` where it has thrown them away by itself.
    """
    found = takes.parts_of(name_of(upload), upload.parts_id) if upload.parts_id else None
    if found is None and takes.bytes_of(name_of(upload)) != upload.length_bytes:
        raise _gone()
    return found


def _whole(upload: Upload, found: Mapping[int, StoredPart]) -> dict[int, StoredPart]:
    """Return the parts that are as long as they must be, and whose checksum is known."""
    return {
        number: part
        for number, part in found.items()
        if number <= upload.part_count
        and part.size_bytes == upload.bytes_of_part(number)
        and str(number) in upload.part_sha256
    }


def _read(takes: TakesParts, upload: Upload) -> tuple[str, list[int]]:
    """Read the joined file once; returns its SHA-256 and the numbers of the parts that do not have theirs."""
    whole, found = hashlib.sha256(), _PartHashes(upload)
    read = 0
    with pouring((whole.update, found.update)) as give:
        for chunk in takes.chunks_of(name_of(upload), settings.RECEIVE_BYTES):
            give(chunk)
            read += len(chunk)
    if read != upload.length_bytes:
        raise InternalError(
            f"The storage gave {read:,} of {upload.length_bytes:,} bytes.",
            code="storage_unavailable",
            fix="Try again in a moment.",
        )
    return whole.hexdigest(), found.wrong


class _PartHashes:
    """Holds the bytes of a file against the SHA-256 of its parts as they come."""

    def __init__(self, upload: Upload) -> None:
        self.wrong: list[int] = []
        self._upload, self._number = upload, 1
        self._left, self._piece = upload.bytes_of_part(1), hashlib.sha256()

    def update(self, rest: memoryview) -> None:
        """Take the next bytes."""
        while rest and self._number <= self._upload.part_count:
            mine, rest = rest[: self._left], rest[self._left :]
            self._piece.update(mine)
            self._left -= len(mine)
            if self._left == 0:
                self._end()

    def _end(self) -> None:
        if self._piece.hexdigest() != self._upload.part_sha256.get(str(self._number)):
            self.wrong.append(self._number)
        self._number, self._piece = self._number + 1, hashlib.sha256()
        if self._number <= self._upload.part_count:
            self._left = self._upload.bytes_of_part(self._number)


def _begin_anew(takes: TakesParts, upload: Upload) -> None:
    name = name_of(upload)
    takes.remove(name)
    fresh = takes.begin_parts(name)
    # Another request is at the same where the session of this one, and with it the lock, was lost.
    if not Upload.objects.filter(pk=upload.pk, parts_id=upload.parts_id).update(parts_id=fresh, part_sha256={}):
        takes.abandon_parts(name, fresh)


def _mismatch(upload: Upload, wrong: list[int]) -> UserInputError:
    return UserInputError(
        f"{len(wrong):,} of {upload.part_count:,} parts do not have the checksum that was told of them: {_listed(wrong)}.",
        code="checksum_mismatch",
        fix="The parts were thrown away; send all of them again.",
        details={"parts": wrong[:MAX_NAMED], "part_count": len(wrong)},
    )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (" …" if len(numbers) > 10 else "")


def kept(upload: Upload) -> Kept:
    """Return the file of a complete upload.

    Raises
    ------
    UserInputError
        ``upload_expired`` where the storage has it no longer.
    """
    if require_parts().bytes_of(name_of(upload)) != upload.length_bytes:
        raise _gone()
    return Kept(name=name_of(upload))


def _gone() -> UserInputError:
    return UserInputError(
        "The storage no longer has what was sent.",
        code="upload_expired",
        fix="Give the upload up and begin a new one.",
    )


def throw_away(upload: Upload) -> None:
    """Remove what the storage has of an upload; the caller holds its lock."""
    found = storage.backend()
    if not isinstance(found, TakesParts):  # the operator has moved to another storage
        return
    with storage.reaching():
        if upload.parts_id:
            found.abandon_parts(name_of(upload), upload.parts_id)
        found.remove(name_of(upload))


def let_go(name: str) -> None:
    """Remove a file that was copied to where it stays; what cannot be removed now is swept."""
    with contextlib.suppress(EngineError), storage.reaching():
        require_parts().remove(name)


def sweep_strays(*, older_than: datetime) -> int:
    """Remove files and parts of the current workspace that no upload stands for; returns how many."""
    takes = storage.backend()
    if not isinstance(takes, TakesParts):
        return 0
    removed = 0
    with storage.reaching():
        old = [each for each in takes.unfinished(_prefix()) if each.began_at < older_than]
        open_ids = _waiting([each.name for each in old])
        for each in old:
            if open_ids.get(each.name) != each.parts_id:
                takes.abandon_parts(each.name, each.parts_id)
                removed += 1
        names = [name for name, written_at in takes.files(_prefix()) if written_at < older_than]
        kept = _waiting(names)
        for name in names:
            if name not in kept:
                takes.remove(name)
                removed += 1
    return removed


def _waiting(names: list[str]) -> dict[str, str]:
    """Return those of the names that an upload stands for, with the id of its parts."""
    by_id = {}
    for name in names:
        with contextlib.suppress(ValueError):
            by_id[UUID(name.removeprefix(_prefix()))] = name
    rows = Upload.objects.filter(pk__in=by_id, made=None).values_list("pk", "parts_id")
    return {by_id[key]: parts_id for key, parts_id in rows}


def name_of(upload: Upload) -> str:
    """Return what the storage calls an upload's file."""
    return f"{_prefix()}{upload.pk}"


def _prefix() -> str:
    return storage.incoming_prefix(_schema())


def _schema() -> str:
    return str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's


def _require_in_parts(upload: Upload) -> None:
    if not upload.is_in_parts:
        raise UserInputError(
            "This upload does not come in parts.", code="conflict", fix="Send its bytes with PATCH, as tus 1.0 has it."
        )


@contextlib.contextmanager
def alone(upload: Upload) -> Iterator[None]:
    """Hold an upload's lock.

    Raises
    ------
    UserInputError
        ``upload_locked`` where another request has it.
    """
    name = f"edge_ai_upload:{_schema()}:{upload.pk}"
    if not _lock("pg_try_advisory_lock", name):
        raise UserInputError(
            "Another request is finishing this upload.", code="upload_locked", fix="Wait a moment, then ask again."
        )
    try:
        yield
    finally:
        # A connection that broke has let go already.
        with contextlib.suppress(OperationalError, InterfaceError):
            _lock("pg_advisory_unlock", name)


def _lock(function: str, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [name])
        return bool(cursor.fetchone()[0])
