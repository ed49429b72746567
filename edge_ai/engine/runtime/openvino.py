"""OpenVINO IR on the CPU. Imports NumPy and openvino only, since this is what gets measured."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError, ResourceError, UnsupportedError, UserInputError
from edge_ai.engine.runtime.base import Array, Feed, Shape, Tensor
from edge_ai.engine.spec import Format

# OpenVINO and nncf report their use to Google Analytics from the import on, and no setting of the process prevents it. Where
# this package is missing, which the entry says, both do without. So nothing imports openvino but from here.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as openvino  # noqa: E402
from openvino import frontend  # noqa: E402

IR_NAME: Final = "model.xml"
FRONTEND_FAILURES: Final = (
    frontend.GeneralFailure,
    frontend.InitializationFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)
"""What reading another format raises; these have no base class of their own."""

_MEMORY_WORDS: Final = ("bad_alloc", "failed to allocate", "out of memory", "cannot allocate memory")
_MAX_MESSAGE: Final = 300


class OpenVinoSession:
    """A compiled model with one infer request; see :class:`~edge_ai.engine.runtime.base.Session`."""

    runtime: Final = "openvino"
    provider: Final = "CPU"
    concurrent: Final = False

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self.raw = compiled
        self.runtime_version: str = openvino.get_version().partition("-")[0]
        self.inputs: Sequence[Tensor] = [_tensor(port, place, "input") for place, port in enumerate(compiled.inputs)]
        self.outputs: Sequence[Tensor] = [_tensor(port, place, "output") for place, port in enumerate(compiled.outputs)]
        self.request: Any = compiled.create_infer_request()
        self._names = [tensor.name for tensor in self.inputs]
        self._ports = list(compiled.outputs)

    def run(self, feed: Feed) -> list[Array]:
        """Answer one feed."""
        answers = self.request.infer({place: feed[name] for place, name in enumerate(self._names)}, share_inputs=True)
        return [np.array(answers[port]) for port in self._ports]


def open_session(path: Path, format: Format, *, threads: int, optimize: bool = True) -> OpenVinoSession:
    """Load a model; see :func:`edge_ai.engine.runtime.open_model`.

    Weights may be stored as fp16; arithmetic stays in float32, so that the precision of a variant is the file's and not a
    choice of the plugin.

    Parameters
    ----------
    path
        The ``.xml``, its weights beside it, or the folder that holds both as ``model.xml`` and ``model.bin``.
    """
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    with translated(path):
        core = openvino.Core()
        model = core.read_model(path / IR_NAME if path.is_dir() else path)
        return OpenVinoSession(core.compile_model(model, "CPU", config))


def name_of(port: Any, place: int, kind: str) -> str:
    """Return the name of an input or output: the friendliest of those that it has."""
    names = sorted(port.get_names(), key=lambda name: (len(name), name))
    return names[0] if names else f"{kind}{place}"


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what OpenVINO raises into errors of the engine."""
    try:
        yield
    except EngineError:
        raise
    except (RuntimeError, ValueError, TypeError, MemoryError, OSError, *FRONTEND_FAILURES) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = (lines[-1] if lines else type(error).__name__).replace(str(path.parent), "")[:_MAX_MESSAGE]
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS):
            raise ResourceError(
                "The model needs more memory than it may use.", code="resource_limit", fix="Use a smaller model."
            ) from error
        if "parse" in text.lower() or "weights" in text.lower():
            raise UserInputError(
                f"OpenVINO cannot read the model: {text}",
                code="model_unreadable",
                fix="Zip the .xml and its .bin from one conversion, and upload that.",
                field="file",
            ) from error
        raise UnsupportedError(
            f"OpenVINO cannot load or run the model: {text}",
            code="unsupported_operator",
            fix="Convert the network from ONNX with standard operators.",
        ) from error


def _tensor(port: Any, place: int, kind: str) -> Tensor:
    dtype = port.get_element_type()
    return Tensor(
        name=name_of(port, place, kind),
        dtype="string" if dtype == openvino.Type.string else str(np.dtype(dtype.to_dtype()).name),
        shape=_shape(port.get_partial_shape()),
    )


def _shape(partial: Any) -> Shape | None:
    if partial.rank.is_dynamic:
        return None
    return tuple(None if axis.is_dynamic else int(axis.get_length()) for axis in partial)
