"""What honest files are put together from."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np


def zipped(files: Mapping[str, bytes], *, compressed: bool = False) -> bytes:
    """Return a zip archive, without times."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, data)
    return held.getvalue()


def floats(*shape: int, seed: int = 0) -> Any:
    """Return small numbers, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.2)
