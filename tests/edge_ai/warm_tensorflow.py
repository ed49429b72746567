"""What a warm process with TensorFlow imports in tests: its forks run code, or the engine where there is none."""

from __future__ import annotations

from pathlib import Path

from edge_ai.engine import warm
from tests.edge_ai import warm_work


def serve() -> int:
    """Do what the folder asks for."""
    return warm_work.serve() if Path(warm_work.CODE).is_file() else warm.serve()
