"""Ids and names."""

from __future__ import annotations

import uuid


def is_id(text: str) -> bool:
    """Tell an id from a name."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
