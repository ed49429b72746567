"""Zip archives of strangers: opening them at a bounded cost, and refusing what no honest one has. Standard library only."""

from __future__ import annotations

import io
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, Protocol

from edge_ai.engine.errors import UserInputError

#: The earliest time that a zip archive can hold: content alone decides the bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)
MAX_ZIP_ENTRIES = 2000
MAX_ZIP_BYTES = 6 << 30
MAX_ZIP_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 1 << 20
#: Of the list of entries, which is read whole, and of anything else that is read at once.
MAX_READ_BYTES = 2 << 20
#: What reading an archive raises that is damaged, or of a kind that is not known here.
ARCHIVE_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError),
    *(ValueError, EOFError, NotImplementedError, RuntimeError, LookupError),
)


class Content(Protocol):
    """What is looked into: a path, or a file that is elsewhere and opens like one."""

    def open(self, mode: Literal["rb"], /) -> IO[bytes]:
        """Open it for reading here and there."""


class _Bounded(io.BufferedIOBase):
    """A file that is never asked for much at once."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most

    def read(self, size: int | None = -1, /) -> bytes:
        """Read."""
        data = self._stream.read(self._most + 1 if size is None or size < 0 else min(size, self._most + 1))
        if len(data) > self._most:
            raise zipfile.BadZipFile("its list of entries is absurdly long")
        return data

    def seekable(self) -> bool:
        """Tell that it can be read here and there."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()


@contextmanager
def open_archive(path: Content, *, max_list_bytes: int = MAX_READ_BYTES) -> Iterator[zipfile.ZipFile]:
    """Open an archive to look into it. Its list of entries, which may claim to be as long as the file, is bounded.

    Parameters
    ----------
    max_list_bytes
        How long the list may be.

    Raises
    ------
    Exception
        One of :data:`ARCHIVE_DAMAGE`.
    """
    with path.open("rb") as stream, zipfile.ZipFile(_Bounded(stream, max_list_bytes)) as archive:
        yield archive


def size_of(archive: zipfile.ZipFile) -> int:
    """Return the bytes of the archive's file."""
    stream = archive.fp
    if stream is None:
        raise ValueError("the archive is closed")
    place = stream.tell()
    try:
        return stream.seek(0, io.SEEK_END)
    finally:
        stream.seek(place)


def check_archive(archive: zipfile.ZipFile, *, code: str, max_entries: int = MAX_ZIP_ENTRIES) -> set[str]:
    """Return the names in an archive, in lower case, after refusing what no honest archive has.

    Parameters
    ----------
    code
        Of refusals.
    max_entries
        How many there may be.

    Raises
    ------
    UserInputError
        ``code``: links, devices, escaping paths, duplicates, encryption, absurd sizes or numbers.
    """

    def refuse(reason: str) -> UserInputError:
        return UserInputError(f"The archive {reason}.", code=code, fix="Pack plain files only.", field="file")

    entries = archive.infolist()
    if len(entries) > max_entries:
        raise refuse(f"has {len(entries):,} entries; at most {max_entries:,} are unpacked")
    names: set[str] = set()
    total = packed = 0
    for entry in entries:
        name = entry.filename.replace("\\", "/")
        if name.startswith("/") or re.match(r"^[A-Za-z]:", name) or ".." in name.split("/") or "\0" in name:
            raise refuse(f"has an entry outside its own folder ({name[:60]!r})")
        if not entry.is_dir() and all(part in {"", "."} for part in name.split("/")):
            raise refuse("has an entry without a name")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise refuse(f"has a link or a device in it ({name[:60]!r})")
        if name.lower() in names:
            raise refuse(f"has two entries of one name ({name[:60]!r})")
        if entry.flag_bits & 1:
            raise refuse("is encrypted")
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > RATIO_COUNTS_FROM_BYTES and ratio > MAX_ZIP_RATIO:
            raise refuse(f"unpacks to {ratio:.0f} times its size in {name[:60]!r}")
        names.add(name.lower())
        total += entry.file_size
        packed += entry.compress_size
    if total > MAX_ZIP_BYTES:
        raise refuse(f"unpacks to {total:,} bytes")
    # Many entries that are each too small to count.
    if total > RATIO_COUNTS_FROM_BYTES and total > MAX_ZIP_RATIO * packed:
        raise refuse(f"unpacks to {total // max(1, packed)} times its size")
    if packed > size_of(archive):
        raise refuse("has entries that lie over each other")
    return names


def pack_stored(files: Mapping[str, Path], target: Path) -> None:
    """Put files into a zip archive as they are, since weights hardly get smaller, sorted by name and without times."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, NO_TIME)
            with files[name].open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
