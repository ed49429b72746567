"""TensorFlow Lite files in LiteRT. Imports NumPy and ai_edge_litert only, since this is what gets measured.

TensorFlow's own interpreter is never used: its Flex delegate can write files. A damaged file takes LiteRT's process down, so
files are verified first (:mod:`edge_ai.engine.formats.tflite_file`), where they are unpacked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edge_ai.engine.errors import EngineError, ResourceError, UnsupportedError
from edge_ai.engine.installed import version_of
from edge_ai.engine.quiet import quiet_natively
from edge_ai.engine.runtime.base import Array, Feed, Tensor
from edge_ai.engine.spec import Format

_MEMORY_WORDS: Final = ("bad_alloc", "failed to allocate", "out of memory", "cannot allocate memory")
_MAX_MESSAGE: Final = 300


class LiteRtSession:
    """A LiteRT interpreter; see :class:`~edge_ai.engine.runtime.base.Session`.

    Inputs and outputs have the names of the signature where the file has exactly one, and those of the tensors otherwise.
    """

    runtime: Final = "litert"
    concurrent: Final = False

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self.runtime_version: str = version_of("ai-edge-litert")
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        signature = _signature(interpreter)
        self.inputs: Sequence[Tensor] = _tensors(inputs, signature.get("inputs", {}))
        self.outputs: Sequence[Tensor] = _tensors(outputs, signature.get("outputs", {}))
        self._into = [(tensor.name, item["index"]) for tensor, item in zip(self.inputs, inputs, strict=True)]
        self._from = [item["index"] for item in outputs]
        self._shapes = {item["index"]: tuple(item["shape"].tolist()) for item in inputs}

    @property
    def provider(self) -> str:
        """What computes: XNNPACK takes what it can, LiteRT's own kernels the rest; which took what is not told."""
        return "CPU, XNNPACK where it can"

    def run(self, feed: Feed) -> list[Array]:
        """Answer one feed; integers go in and come out as they are."""
        interpreter = self._interpreter
        values = [(index, feed[name]) for name, index in self._into]
        if any(value.shape != self._shapes[index] for index, value in values):
            self._resize(values)
        for index, value in values:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._from]

    def _resize(self, values: Sequence[tuple[int, Array]]) -> None:
        """Give the inputs other sizes, which holds until it is asked for again."""
        with _translated("run", {}):
            for index, value in values:
                if value.shape != self._shapes[index]:
                    self._interpreter.resize_tensor_input(index, list(value.shape))
                    self._shapes[index] = value.shape
            self._interpreter.allocate_tensors()


def open_session(path: Path, format: Format, *, threads: int, optimize: bool = True) -> LiteRtSession:
    """Load a model; see :func:`edge_ai.engine.runtime.open_model`.

    Parameters
    ----------
    path
        The file, which must have been verified.
    """
    with _translated("load", {"path": str(path)}), quiet_natively():
        interpreter = Interpreter(str(path), num_threads=threads or len(os.sched_getaffinity(0)))
        interpreter.allocate_tensors()
        return LiteRtSession(interpreter)


def signature_of(path: Path) -> str | None:
    """Return the key of a file's only signature; ``None`` where there is none, or more than one."""
    with quiet_natively():
        found = Interpreter(str(path)).get_signature_list()
    return next(iter(found)) if len(found) == 1 else None


def _signature(interpreter: Interpreter) -> Mapping[str, Mapping[str, int]]:
    """Return the names of inputs and outputs by tensor, where there is one signature to tell them."""
    # The public list has the names without their tensors.
    found: Mapping[str, Mapping[str, Mapping[str, int]]] = interpreter._get_full_signature_list()
    return next(iter(found.values())) if len(found) == 1 else {}


def _tensors(details: Sequence[Mapping[str, Any]], names: Mapping[str, int]) -> list[Tensor]:
    by_index: dict[int, list[str]] = {}
    for name, index in names.items():
        by_index.setdefault(index, []).append(name)
    tensors = []
    for item in details:
        given = by_index.get(item["index"])
        # Two outputs may be one tensor; each place takes the next of its names.
        name = given.pop(0) if given else str(item["name"])
        dtype = "string" if item["dtype"] in (np.bytes_, np.str_, np.object_) else np.dtype(item["dtype"]).name
        scale, zero_point = item["quantization"]
        tensors.append(
            Tensor(
                name=name,
                dtype=dtype,
                shape=tuple(int(axis) if axis > 0 else None for axis in _signature_shape(item)),
                scale=float(scale) if scale else None,
                zero_point=int(zero_point) if scale else None,
            )
        )
    return tensors


def _signature_shape(item: Mapping[str, Any]) -> Array:
    """Return the shape with -1 for free axes; some files leave it out."""
    free: Array = item["shape_signature"]
    shape: Array = item["shape"]
    return free if len(free) == len(shape) else shape


@contextlib.contextmanager
def _translated(where: str, details: Mapping[str, Any]) -> Iterator[None]:
    """Turn what LiteRT raises into errors of the engine."""
    try:
        yield
    except EngineError:
        raise
    except (RuntimeError, ValueError, MemoryError, TypeError) as error:
        text = " ".join(str(error).split())[:_MAX_MESSAGE].replace(str(details.get("path", "\0")), "the model")
        if isinstance(error, MemoryError) or any(word in text.lower() for word in _MEMORY_WORDS):
            raise ResourceError(
                "The model needs more memory than it may use.", code="resource_limit", fix="Use a smaller model."
            ) from error
        action = "load the model" if where == "load" else "run the model with these sizes"
        raise UnsupportedError(
            f"LiteRT cannot {action}: {text}",
            code="unsupported_operator",
            fix="Convert the network with TensorFlow Lite's built-in operators only.",
        ) from error
