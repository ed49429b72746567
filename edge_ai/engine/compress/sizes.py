"""How large a file is, as it is and when it is packed. Standard library only."""

from __future__ import annotations

import threading
import zlib
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GZIP_LEVEL: Final = 6
"""Of every size that is given as packed: gzip's own default."""

_GZIP_WINDOW: Final = 31
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes of a file, and of the same file after ``gzip -6``."""

    raw: int
    gzip: int


def measure_sizes(path: Path) -> Sizes:
    """Return the sizes of a file; it is read in pieces, so its size does not matter to memory."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    raw = packed = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            raw += len(chunk)
            packed += len(packer.compress(chunk))
    return Sizes(raw=raw, gzip=packed + len(packer.flush()))


def measure_sizes_aside(path: Path) -> Future[Sizes]:
    """Begin to measure the sizes of a file in a thread, which nothing waits for but who asks for its result."""
    sizes: Future[Sizes] = Future()

    def measure() -> None:
        try:
            sizes.set_result(measure_sizes(path))
        except (OSError, MemoryError, zlib.error) as error:
            sizes.set_exception(error)

    # A pool's thread would hold up the end of a process whose work was refused meanwhile.
    threading.Thread(target=measure, daemon=True).start()
    return sizes
