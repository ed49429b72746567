"""What the engine is made of: its own code and the libraries that it works with. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.installed import versions_of
from edge_ai.engine.routes import TOOLS

_FOLDER: Final = Path(__file__).resolve().parent


@cache
def code_sha256() -> str:
    """Return the hash of the engine's own code. No number has to be raised by hand: what changed is another engine."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_FOLDER).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of every library of the engine that is installed; none of them is loaded."""
    return versions_of(sorted({name for tool in TOOLS.values() for name in tool.distributions} | {"numpy"}))


def content_key(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what decides an outcome, which must be plain values; the order of names does not matter.

    Raises
    ------
    TypeError, ValueError
        For what JSON cannot say.
    """
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
