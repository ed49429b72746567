"""What a child process says, made fit to be kept."""

from __future__ import annotations

import math
from typing import Any


def storable(value: Any) -> Any:
    """Return a JSON value without what PostgreSQL refuses: NUL, halves of characters, and numbers that are none.

    Names inside a model file are whatever its maker wrote, and reach us as they are.
    """
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
