"""Sessions of the parent process: to look at a model's inputs and to judge its answers, never to time it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_ai.engine.measure.child import explain_failure
from edge_ai.engine.spec import Format

if TYPE_CHECKING:
    import onnxruntime

RUNTIME_PACKAGES: Final = frozenset({"onnxruntime", "ai_edge_litert", "tensorflow", "keras", "tf_keras", "openvino"})


@contextmanager
def explained(where: str, task: Mapping[str, Any]) -> Iterator[None]:
    """Turn what a runtime raises into an `EngineError`, as for a runner process.

    The runtimes' exceptions have no base class in common: they are told by the package that defines them.
    """
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        # A message that quotes the file may be no text.
        if package not in RUNTIME_PACKAGES and not isinstance(error, (MemoryError, RuntimeError, UnicodeDecodeError)):
            raise
        raise explain_failure(where, type(error).__name__, str(error), task) from error


def open_session(path: Path, format: Format, *, threads: int, optimize: bool = True) -> onnxruntime.InferenceSession:
    """Open a model on the CPU.

    Parameters
    ----------
    path
        The model file.
    format
        ONNX or ORT.
    threads
        How many threads one operator may use.
    optimize
        False to load quickly, for a look at the inputs.
    """
    # Whoever only explains what another runtime said needs not load this one.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if format == Format.ORT:
        options.add_session_config_entry("session.load_model_format", "ORT")
    with explained("load", {"model_path": str(path)}):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
