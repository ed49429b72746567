"""How large a file is, as it is and when it is packed. Standard library only."""

from __future__ import annotations

import zlib
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
