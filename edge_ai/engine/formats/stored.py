"""Formats that are kept but not read yet: what can be said of a file without opening it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ai.engine.sniff import sniff_model


def describe_stored(path: Path) -> dict[str, Any]:
    """Return an analysis whose fields are ``None`` where nothing is known, with a warning that says so.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    detail = sniff_model(path).detail
    unknown = (
        "parameter_count",
        "weight_bytes",
        "weight_bytes_by_dtype",
        "weight_bytes_by_operator",
        "macs",
        "macs_by_operator",
        "opset",
        "ir_version",
        "producer",
        "precision",
        "node_count",
    )
    return {
        "inputs": [],
        "outputs": [],
        "operators": {},
        **dict.fromkeys(unknown),
        "dynamic_axes": [],
        "domains": {},
        "control_flow": [],
        "metadata": {},
        "warnings": [
            {
                "code": "stored_only",
                "detail": f"The file is {detail}. It is kept, but cannot be looked into, run or optimized here yet.",
                "fix": "Export the model to ONNX and upload that.",
            }
        ],
    }
