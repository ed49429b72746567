"""Resumable uploads: in parts that go straight to the storage where the studio offers it, else by tus 1.0.

Pieces are verified on the way, and an upload goes on where an earlier try stopped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ai_studio._sync.transport import Transport
from edge_ai_studio.config import cache_folder
from edge_ai_studio.errors import Corrupt, Refused, StudioError, Unreachable
from edge_ai_studio.parallel import Ahead, each
from edge_ai_studio.progress import Progress

TUS = {"Tus-Resumable": "1.0.0"}
#: How long pieces are: at first, and where the connection is so fast that asking takes longer than sending.
PIECE, LONGEST_PIECE, QUICK_S = 8 * 1024 * 1024, 64 * 1024 * 1024, 1.0
CHUNK = 256 * 1024
TRIES, FIRST_TRIES = 8, 3
#: Files from this size on are sent in parts where that is possible.
LARGE = PIECE + 1
#: Parts that are on their way at once, and for how many addresses are asked at once.
AT_ONCE, ASKED_AT_ONCE = 4, 8
#: What a studio answers that takes no parts: one of today's, and earlier ones.
NO_PARTS = frozenset({"parts_unsupported", "precondition_failed"})
#: How often, and after how many seconds, a studio is asked again that is reading the file.
PATIENCE, PAUSE = 1800, 2.0


def upload_file(
    transport: Transport, path: Path, *, purpose: str, name: str | None = None, progress: Progress | None = None
) -> str:
    """Send a file and return the id of the upload; ``purpose`` is ``model`` or ``dataset``.

    Pieces of 8 to 64 MiB are read while they are sent; four parts for the storage are held in memory. Each goes with its
    SHA-256. An upload that was cut off, even by the end of this process, is found again by the file's path, size and time
    of change, and goes on.

    Raises
    ------
    Corrupt
        When the checksum of what arrived is not that of the file, or the file was changed meanwhile.
    Refused
        When the studio does not take the file, for its size for example.
    Unreachable
        When the connection breaks time and again.
    """
    if path.is_dir():
        raise StudioError(
            f"{path} is a folder. A model in several files, such as a SavedModel, is sent as a .zip of it."
        )
    if not path.is_file():
        raise StudioError(f"There is no file {path}.")
    state = path.stat()
    size = state.st_size
    if not size:
        raise StudioError(f"{path} is empty.")
    notes = _Notes(transport.access.url, path, purpose)
    address = notes.address
    told = _told_of(transport, address) if address else None
    went_on = told is not None
    if address is None or told is None:
        address, told = _begin(transport, path, size, purpose, name, in_parts=size >= LARGE)
        notes.keep(address)
    if told.get("parts"):
        try:
            _send_parts(transport, address, path, told, progress)
        except _NoWayError:
            # The storage answers the studio, and not us.
            transport.ask("DELETE", address, headers=TUS)
            address, told = _begin(transport, path, size, purpose, name, in_parts=False)
            notes.keep(address)
    if not told.get("parts"):
        _send_pieces(transport, address, path, int(told["offset_bytes"]), progress)
    told = (transport.ask("GET", address)).json()
    if (path.stat().st_size, path.stat().st_mtime_ns) != (size, state.st_mtime_ns):
        raise Corrupt(f"{path} was changed while it was sent.")
    # The studio has held every byte against the checksums of this process; of those before, only the whole is known.
    if went_on and told.get("sha256") != sha256_of(path):
        raise Corrupt(f"What arrived of {path} is not what was sent: the checksums differ.")
    notes.forget()
    return str(told["id"])


def _send_pieces(transport: Transport, address: str, path: Path, offset: int, progress: Progress | None) -> None:
    size = path.stat().st_size
    if progress:
        progress(offset, size)

    ahead = Ahead(_Stretch.digest)
    failures, length, then = 0, PIECE, PIECE
    try:
        while offset < size:
            piece = _Stretch(path, offset, min(length, size - offset))
            behind = offset + piece.length
            # The next piece is hashed while this one is on its way.
            sha256 = ahead.take(piece, _Stretch(path, behind, min(then, size - behind)))
            began = time.monotonic()
            try:
                offset = _send(transport, address, piece, sha256)
                quick = time.monotonic() - began < QUICK_S
                failures, length, then = 0, then, min(2 * then, LONGEST_PIECE) if quick else then
            except (Unreachable, Refused) as error:
                failures, length, then = failures + 1, PIECE, PIECE
                if failures == TRIES or (isinstance(error, Refused) and error.status not in {409, 423, 460}):
                    raise
                time.sleep(min(10.0, 0.25 * 2**failures))
                found = _offset_of(transport, address)
                if found is None:
                    raise
                offset = found
            if progress:
                progress(offset, size)
    finally:
        ahead.close()


def _send_parts(
    transport: Transport,
    address: str,
    path: Path,
    told: dict[str, Any],
    progress: Progress | None,
) -> None:
    """Send the parts that have not arrived, and have the studio join and read them."""
    _send_missing(transport, address, path, told, progress)
    try:
        _complete(transport, address)
    except Refused as error:
        # Parts came damaged, or were lost: the studio has thrown them away, or misses some.
        if error.code not in {"checksum_mismatch", "upload_incomplete"}:
            raise
        told = (transport.ask("GET", address)).json()
        _send_missing(transport, address, path, told, progress)
        _complete(transport, address)


def _send_missing(
    transport: Transport,
    address: str,
    path: Path,
    told: dict[str, Any],
    progress: Progress | None,
) -> None:
    parts, size, done = told["parts"], int(told["length_bytes"]), int(told["offset_bytes"])
    length = int(parts["part_bytes"])

    def send(part: dict[str, Any]) -> int:
        # Where nothing ever arrived, there may be no way.
        return _send_part(transport, address, path, part, length, tries=TRIES if done else FIRST_TRIES)

    missing = sorted(set(range(1, parts["part_count"] + 1)) - set(parts["arrived"]))
    if progress:
        progress(done, size)
    try:
        signed = _signed(transport, address, path, missing, length)
        for count in each(send, signed, width=AT_ONCE):
            done += count
            if progress:
                progress(done, size)
    except _CutError as error:
        raise (error if done else _NoWayError(str(error))) from error


def _signed(
    transport: Transport, address: str, path: Path, numbers: list[int], length: int
) -> Iterator[dict[str, Any]]:
    """Ask where parts go, for some at a time."""
    for first in range(0, len(numbers), ASKED_AT_ONCE):
        asked = []
        for number in numbers[first : first + ASKED_AT_ONCE]:
            asked.append(_wanted(number, bytes_of(path, (number - 1) * length, length)))
        yield from _places(transport, address, asked)


def _wanted(number: int, content: bytes) -> dict[str, Any]:
    return {"number": number, "sha256": hashlib.sha256(content).hexdigest()}


def _places(transport: Transport, address: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = transport.ask("POST", f"{address}parts/", json={"parts": asked})
    found: list[dict[str, Any]] = answer.json()["parts"]
    return found


def _send_part(transport: Transport, address: str, path: Path, part: dict[str, Any], length: int, *, tries: int) -> int:
    """Send one part until it has arrived; returns how many bytes that were."""
    failures = 0
    while True:
        content = bytes_of(path, (part["number"] - 1) * length, length)
        if len(content) != part["size_bytes"]:
            raise StudioError(f"{path} became shorter while it was sent.")
        try:
            transport.put(part["url"], content, headers=part["headers"])
        except (Unreachable, Refused) as error:
            failures += 1
            if failures == tries:
                raise (_CutError(str(error)) if isinstance(error, Unreachable) else error) from error
            time.sleep(min(10.0, 0.25 * 2**failures))
            # The address may have grown too old meanwhile.
            (part,) = _places(transport, address, [_wanted(part["number"], content)])
        else:
            return len(content)


def _complete(transport: Transport, address: str) -> None:
    """Have the parts joined and read; asked again while the studio is at it."""
    failures = 0
    for _ in range(PATIENCE):
        try:
            transport.ask("POST", f"{address}complete/")
        except Unreachable:
            # It may take longer than an answer is waited for.
            failures += 1
            if failures == TRIES:
                raise
        except Refused as error:
            if error.status != 423:
                raise
        else:
            return
        time.sleep(PAUSE)
    raise Unreachable(f"The studio at {transport.access.url} is still reading the file.")


def _begin(
    transport: Transport, path: Path, size: int, purpose: str, name: str | None, *, in_parts: bool
) -> tuple[str, dict[str, Any]]:
    """Begin an upload; returns its address, and what the studio says of it."""
    if in_parts:
        asked = {"length_bytes": size, "file_name": path.name, "purpose": purpose, "name": name or ""}
        try:
            answer = transport.ask("POST", "uploads/", json=asked)
            return str(answer.headers["Location"]), answer.json()
        except Refused as error:
            if error.code not in NO_PARTS:
                raise
    told = {"filename": path.name, "purpose": purpose} | ({"name": name} if name else {})
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
    answer = transport.ask("POST", "uploads/", headers=TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata})
    return str(answer.headers["Location"]), {"offset_bytes": 0}


def _send(transport: Transport, address: str, piece: _Stretch, sha256: bytes) -> int:
    checksum = base64.b64encode(sha256).decode()
    headers = {
        "Upload-Offset": str(piece.start),
        "Content-Length": str(piece.length),
        "Upload-Checksum": f"sha256 {checksum}",
        "Content-Type": "application/offset+octet-stream",
    }
    answer = transport.ask("PATCH", address, headers=TUS | headers, content=piece)
    return int(answer.headers["Upload-Offset"])


def _offset_of(transport: Transport, address: str) -> int | None:
    """Return how far an upload is; ``None`` when it is no more."""
    try:
        answer = transport.ask("HEAD", address, headers=TUS)
    except Refused as error:
        if error.status in {403, 404, 410}:
            return None
        raise
    return int(answer.headers["Upload-Offset"])


def _told_of(transport: Transport, address: str) -> dict[str, Any] | None:
    """Return what the studio says of an upload; ``None`` when it is no more."""
    try:
        told: dict[str, Any] = (transport.ask("GET", address)).json()
    except Refused as error:
        if error.status in {403, 404, 410}:
            return None
        raise
    return told


def bytes_of(path: Path, start: int, count: int) -> bytes:
    """Return so many bytes of a file, or as many as there are."""
    with path.open("rb") as source:
        source.seek(start)
        return source.read(count)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


@dataclass(frozen=True)
class _Stretch:
    """A stretch of a file, which is read whenever it is gone through."""

    path: Path
    start: int
    length: int

    def digest(self) -> bytes:
        """Return its SHA-256."""
        found = hashlib.sha256()
        for chunk in self.chunks():
            found.update(chunk)
        return found.digest()

    def chunks(self) -> Iterator[bytes]:
        """Read it, a little at a time."""
        left = self.length
        with self.path.open("rb") as source:
            source.seek(self.start)
            while left:
                chunk = source.read(min(CHUNK, left))
                if not chunk:
                    raise StudioError(f"{self.path} became shorter while it was sent.")
                left -= len(chunk)
                yield chunk

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks()


class _CutError(Unreachable):
    """The storage broke off time and again."""


class _NoWayError(StudioError):
    """The storage cannot be reached from here."""


class _Notes:
    """Where an unfinished upload of a file went."""

    def __init__(self, url: str, path: Path, purpose: str) -> None:
        state = path.stat()
        self._file = cache_folder() / "uploads.json"
        self._name = f"{url} {purpose} {path.resolve()} {state.st_size} {state.st_mtime_ns}"

    @property
    def address(self) -> str | None:
        found = self._all().get(self._name)
        return found if isinstance(found, str) else None

    def keep(self, address: str) -> None:
        self._write(self._all() | {self._name: address})

    def forget(self) -> None:
        self._write({name: address for name, address in self._all().items() if name != self._name})

    def _all(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, Any]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_name(f"{self._file.name}.{id(self)}")
            fresh.write_text(json.dumps(dict(list(kept.items())[-100:])))
            fresh.replace(self._file)
        except OSError:
            return  # a read-only home only costs the resuming
