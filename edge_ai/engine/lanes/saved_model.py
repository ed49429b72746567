"""SavedModels: what is needed to run, and nothing that differs from one saving to the next."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.saved_model_graph import GRAPH_FILE, find_folder, read_graph
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.spec import Format, Precision

PARTS: Final = ("variables", "assets")


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the one way: float32.

    Raises
    ------
    UnsupportedError
        ``unsupported_precision`` for any other.
    """
    if context.precision is not Precision.FP32:
        raise UnsupportedError(
            f"A SavedModel is not made in {context.precision}: TensorFlow would widen the weights when it runs them.",
            code="unsupported_precision",
            fix="Choose tflite as the target format for smaller weights.",
            field="precision",
            details={"nearest": {"target_format": Format.TFLITE.value, "precision": context.precision.value}},
        )
    yield context.trial(0, "float32", {"parts": [GRAPH_FILE, *PARTS]}, lambda path: _copy(context.model, path))


def _copy(model: Path, target: Path) -> None:
    folder = find_folder(model)
    read_graph(folder)
    target.mkdir()
    shutil.copyfile(folder / GRAPH_FILE, target / GRAPH_FILE)
    for part in PARTS:
        if (folder / part).is_dir():
            shutil.copytree(folder / part, target / part)
