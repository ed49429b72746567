"""Running models: one module a runtime, each loaded only when a model needs it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format

RUNTIMES: Final[dict[Format, str]] = {
    Format.ONNX: "edge_ai.engine.runtime.onnx",
    Format.ORT: "edge_ai.engine.runtime.onnx",
    Format.TFLITE: "edge_ai.engine.runtime.litert",
    Format.KERAS: "edge_ai.engine.runtime.tensorflow",
    Format.SAVED_MODEL: "edge_ai.engine.runtime.tensorflow",
    Format.OPENVINO: "edge_ai.engine.runtime.openvino",
    Format.NCNN: "edge_ai.engine.runtime.ncnn",
}
"""Where ``open_session(path, format, *, threads, optimize)`` is found for a format."""


def open_model(path: Path, format: Format, *, threads: int, optimize: bool = True) -> Session:
    """Load a model on the CPU of this machine.

    Parameters
    ----------
    path
        What the runtime opens: a file, or a folder for SavedModel; packed files are unpacked before
        (:meth:`~edge_ai.engine.formats.base.ModelFormat.unpack`).
    threads
        How many threads one inference may use; 0 for as many as the runtime likes.
    optimize
        False to load quickly, for a look at the inputs.

    Raises
    ------
    EngineError
        ``unsupported_operator``, ``model_unreadable``, ``resource_limit``; ``unsupported_conversion`` for a format that
        no runtime here runs.
    """
    module = RUNTIMES.get(format)
    if module is None:
        raise UnsupportedError(
            f"A model in the {format} format cannot be run on this machine.",
            code="unsupported_conversion",
            fix="Export the model to ONNX, TensorFlow Lite, Keras, SavedModel or OpenVINO, and use that.",
            details={"nearest": {"format": Format.ONNX.value}},
        )
    opener: Any = import_module(module).open_session
    session: Session = opener(path, format, threads=threads, optimize=optimize)
    return session
