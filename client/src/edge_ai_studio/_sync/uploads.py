"""Resumable uploads: tus 1.0, in pieces that the studio verifies, going on where an earlier try stopped."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from edge_ai_studio._sync.transport import Transport
from edge_ai_studio.config import cache_folder
from edge_ai_studio.errors import Corrupt, Refused, StudioError, Unreachable
from edge_ai_studio.progress import Progress

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = 8 * 1024 * 1024
TRIES = 8


def upload_file(
    transport: Transport, path: Path, *, purpose: str, name: str | None = None, progress: Progress | None = None
) -> str:
    """Send a file and return the id of the upload; ``purpose`` is ``model`` or ``dataset``.

    Pieces of 8 MiB are held in memory, each with its SHA-256. An upload that was cut off, even by the end of this
    process, is found again by the file's path, size and time of change, and goes on.

    Raises
    ------
    Corrupt
        When the checksum of what arrived is not that of the file.
    Refused
        When the studio does not take the file, for its size for example.
    Unreachable
        When the connection breaks time and again.
    """
    if not path.is_file():
        raise StudioError(f"There is no file {path}.")
    size = path.stat().st_size
    notes = _Notes(transport.access.url, path, purpose)
    address = notes.address
    offset = _offset_of(transport, address) if address else None
    if address is None or offset is None:
        address, offset = _begin(transport, path, size, purpose, name), 0
        notes.keep(address)
    if progress:
        progress(offset, size)
    with path.open("rb") as source:
        failures = 0
        while offset < size:
            source.seek(offset)
            piece = source.read(PIECE)
            if not piece:
                raise StudioError(f"{path} became shorter while it was sent.")
            try:
                offset = _send(transport, address, offset, piece)
                failures = 0
            except (Unreachable, Refused) as error:
                failures += 1
                if failures == TRIES or (isinstance(error, Refused) and error.status not in {409, 423, 460}):
                    raise
                time.sleep(min(10.0, 0.25 * 2**failures))
                found = _offset_of(transport, address)
                if found is None:
                    raise
                offset = found
            if progress:
                progress(offset, size)
    told = (transport.ask("GET", address)).json()
    if told.get("sha256") != sha256_of(path):
        raise Corrupt(f"What arrived of {path} is not what was sent: the checksums differ.")
    notes.forget()
    return str(told["id"])


def _begin(transport: Transport, path: Path, size: int, purpose: str, name: str | None) -> str:
    told = {"filename": path.name, "purpose": purpose} | ({"name": name} if name else {})
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
    answer = transport.ask("POST", "uploads/", headers=TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata})
    return str(answer.headers["Location"])


def _send(transport: Transport, address: str, offset: int, piece: bytes) -> int:
    checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
    headers = {
        "Upload-Offset": str(offset),
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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


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
