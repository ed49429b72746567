"""What a SavedModel or a Keras file holds: the analysis of a model, without TensorFlow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edge_ai.engine.formats.base import analysis_of, free_axes
from edge_ai.engine.formats.keras_config import check_keras_file
from edge_ai.engine.formats.saved_model_graph import read_graph


def describe_saved_model(folder: Path) -> dict[str, Any]:
    """Describe an unpacked SavedModel.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    graph = read_graph(folder)
    inputs = [item.to_json() for item in graph.inputs]
    operators = Counter(node.op for scope in (graph.main, *graph.scopes(graph.main.body)) for node in scope.body)
    return analysis_of(
        inputs=inputs,
        outputs=[item.to_json() for item in graph.outputs],
        operators=dict(operators.most_common()),
        dynamic_axes=free_axes(inputs),
    )


def describe_keras(path: Path) -> dict[str, Any]:
    """Describe a Keras file.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``.
    """
    config = check_keras_file(path)
    return analysis_of(producer=f"keras {config.version}" if config.version else "keras")
