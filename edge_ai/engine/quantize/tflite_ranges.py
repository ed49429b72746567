"""The ranges of a TensorFlow Lite network's activations, measured once on samples: their extremes, and what lies between."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.formats.tflite_facts import TensorFacts
from edge_ai.engine.formats.tflite_file import read_file
from edge_ai.engine.runtime.base import Array, Feed, Tensor

#: How many values of each activation are kept over all samples; the highest percentile still has several above it.
KEPT_VALUES: Final = 1 << 16
#: An activation that reaches further is a mask in disguise: scores that must never win get -1e9, or the lowest float32.
#: Steps that wide tell nothing else apart, and LiteRT's sums of integers overflow.
FARTHEST: Final = 1e6
#: By tensor: ``min`` and ``max``, float32, as many axes of size 1 as the tensor has.
Ranges = dict[str, dict[str, npt.NDArray[np.float32]]]


@dataclass
class _Seen:
    rank: int
    low: float
    high: float
    values: list[Array]


class Activations:
    """What the activations of a float network were on samples.

    Parameters
    ----------
    seen
        By the tensor's name.
    """

    def __init__(self, seen: Mapping[str, _Seen]) -> None:
        self._seen = seen

    def ranges(self, percentile: float | None) -> Ranges:
        """Return the ranges.

        Parameters
        ----------
        percentile
            Which share of the values lies below the maximum, and above the minimum, in percent; ``None`` for all of them.
        """
        found: Ranges = {}
        for name, seen in self._seen.items():
            low, high = seen.low, seen.high
            if percentile is not None:
                values = np.concatenate(seen.values)
                low, high = map(float, np.percentile(values, [100 - percentile, percentile]))
            axes = [1] * seen.rank
            found[name] = {"min": np.full(axes, low, np.float32), "max": np.full(axes, high, np.float32)}
        return found


def too_far(model: Path, ranges: Mapping[str, Mapping[str, Array]]) -> list[str]:
    """Return the layers, by the names of what they answer, that read or answer what no integer can hold usefully.

    Parameters
    ----------
    ranges
        Of the activations; constants are looked at here.
    """
    found = []
    for graph in read_file(model).subgraphs:
        far = {index for index, tensor in enumerate(graph.tensors) if _reach(tensor, ranges) > FARTHEST}
        found += [
            graph.tensors[operator.outputs[0]].name
            for operator in graph.operators
            if operator.outputs and far & {*operator.inputs, *operator.outputs}
        ]
    return found


def _reach(tensor: TensorFacts, ranges: Mapping[str, Mapping[str, Array]]) -> float:
    """Return the greatest finite magnitude of a float tensor."""
    if tensor.dtype != "float32":
        return 0.0
    if tensor.data is not None:
        values: Array = tensor.data.view("<f4")
        return float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0))
    known = ranges.get(tensor.name)
    return 0.0 if known is None else float(max(np.max(np.abs(known["min"])), np.max(np.abs(known["max"]))))


def is_simple(model: Path) -> bool:
    """Whether the file has no subgraphs that its operators run, whose tensors cannot be looked into here."""
    return len(read_file(model).subgraphs) == 1


def observe(
    model: Path, inputs: Sequence[Tensor], feeds: Sequence[Feed], *, threads: int, seed: int = 0
) -> Activations:
    """Run a float network on samples and keep what its activations were.

    Parameters
    ----------
    model
        A file with one subgraph, which has been verified.
    inputs
        What it takes, in its order.
    feeds
        The samples, under the names of ``inputs``.
    seed
        Of the draw of the values that percentiles are taken from.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph = read_file(model).subgraphs[0]
    computed = {*graph.inputs, *(index for operator in graph.operators for index in operator.outputs)}
    floats = sorted(index for index in computed if graph.tensors[index].dtype == "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the memory that keeping all tensors takes
        interpreter = Interpreter(
            str(model),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
            num_threads=threads,
        )
    draw = np.random.default_rng(seed)
    kept = max(64, KEPT_VALUES // max(1, len(feeds)))
    seen: dict[str, _Seen] = {}
    shapes: list[tuple[int, ...]] = []
    for feed in feeds:
        values = [feed[tensor.name] for tensor in inputs]
        if [value.shape for value in values] != shapes:
            shapes = [value.shape for value in values]
            for index, value in zip(graph.inputs, values, strict=True):
                interpreter.resize_tensor_input(index, list(value.shape))
            interpreter.allocate_tensors()
        for index, value in zip(graph.inputs, values, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        for index in floats:
            _note(seen, graph.tensors[index].name, interpreter.get_tensor(index), kept, draw)
    return Activations(seen)


def _note(seen: dict[str, _Seen], name: str, value: Array, kept: int, draw: np.random.Generator) -> None:
    flat: Any = value.reshape(-1)
    if not np.isfinite(flat).all():
        # Masks hold infinities, which no range can cover.
        flat = flat[np.isfinite(flat)]
    if not flat.size:
        return
    low, high = float(flat.min()), float(flat.max())
    chosen = flat.copy() if flat.size <= kept else flat[draw.integers(0, flat.size, kept)]
    known = seen.setdefault(name, _Seen(rank=value.ndim, low=low, high=high, values=[]))
    known.low, known.high = min(known.low, low), max(known.high, high)
    known.values.append(chosen)
