"""What a storage can do that takes files in parts straight from clients. Told without loading any, for the web processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class StoredPart:
    """A part that has arrived. ``sha256`` is in base64, and empty where the service keeps none."""

    size_bytes: int
    etag: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class SignedPart:
    """Where a part goes, and with which headers."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A file that was begun in parts and neither joined nor abandoned."""

    name: str
    parts_id: str
    began_at: datetime


@runtime_checkable
class TakesParts(Protocol):
    """A storage of that kind. Each method raises the library's own errors, which ``storage.reaching`` translates."""

    def begin_parts(self, name: str) -> str:
        """Begin a file; returns the id that its parts belong to."""

    def sign_part(
        self, name: str, parts_id: str, number: int, *, size_bytes: int, sha256: bytes, seconds: int
    ) -> SignedPart:
        """Let anybody send one part, of that size and checksum, for some seconds."""

    def parts_of(self, name: str, parts_id: str) -> dict[int, StoredPart] | None:
        """Return the parts that have arrived, by number from 1; ``None`` where there is no such id (any more)."""

    def join_parts(self, name: str, parts_id: str, parts: Mapping[int, StoredPart]) -> None:
        """Make the file of its parts."""

    def abandon_parts(self, name: str, parts_id: str) -> None:
        """Throw the parts away; nothing happens where there are none."""

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Return what was begun under names that begin so."""

    def files(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Return the files whose names begin so, and when each was last written."""

    def bytes_of(self, name: str) -> int | None:
        """Return the size of a file; ``None`` where there is none."""

    def chunks_of(self, name: str, chunk_bytes: int) -> Iterator[bytes]:
        """Read a file once, from its beginning to its end."""

    def look_into(self, name: str) -> IO[bytes]:
        """Open a file to read here and there in it, of which only what is read travels."""

    def copy_within(self, source: str, target: str) -> None:
        """Copy a file; its bytes stay with the service."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
