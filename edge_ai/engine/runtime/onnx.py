"""ONNX and ORT files in onnxruntime. Imports NumPy and onnxruntime only, since this is what gets measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnxruntime

from edge_ai.engine.measure.session import explained
from edge_ai.engine.runtime.base import Array, Feed, Tensor
from edge_ai.engine.spec import Format

DTYPES: Final[Mapping[str, str]] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "string",
}
"""What onnxruntime calls a type, and what NumPy does."""


class OnnxSession:
    """An onnxruntime session; see :class:`~edge_ai.engine.runtime.base.Session`."""

    runtime: Final = "onnxruntime"
    concurrent: Final = True

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.raw = session
        self.runtime_version: str = onnxruntime.__version__
        self.provider: str = session.get_providers()[0]
        self.inputs: Sequence[Tensor] = [_tensor(item) for item in session.get_inputs()]
        self.outputs: Sequence[Tensor] = [_tensor(item) for item in session.get_outputs()]
        self._names = [item.name for item in self.outputs]

    def run(self, feed: Feed) -> list[Array]:
        """Answer one feed."""
        answers: list[Array] = self.raw.run(self._names, feed)
        return answers


def open_session(
    path: Path | bytes,
    format: Format,
    *,
    threads: int,
    optimize: bool = True,
    profile_prefix: str | None = None,
) -> OnnxSession:
    """Load a model; see :func:`edge_ai.engine.runtime.open_model`.

    Parameters
    ----------
    path
        The file, or its bytes.
    profile_prefix
        Where the runtime's own profile goes, when one is wanted.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if format == Format.ORT:
        options.add_session_config_entry("session.load_model_format", "ORT")
    with explained("load", {"model_path": str(path) if isinstance(path, Path) else ""}):
        model = str(path) if isinstance(path, Path) else path
        return OnnxSession(onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


def _tensor(item: Any) -> Tensor:
    shape = tuple(
        axis if isinstance(axis, str) or (isinstance(axis, int) and axis > 0) else None for axis in item.shape
    )
    return Tensor(name=item.name, dtype=DTYPES.get(item.type, item.type), shape=shape)
