"""Where the weights of an ONNX model are written that one file cannot hold. Standard library only."""

from __future__ import annotations

from pathlib import Path


def data_of(path: Path) -> Path:
    """Return the file of weights beside the model that is written to ``path``."""
    return path.with_name(path.name + ".data")
