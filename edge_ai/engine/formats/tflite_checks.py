"""What must hold in a TensorFlow Lite file beyond its flatbuffer, and what LiteRT does not look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.formats.tflite_facts import SubgraphFacts, TensorFacts
from edge_ai.engine.formats.tflite_flatbuffer import DamagedError

#: Numbers of operators.
ADD: Final = 0
SUB: Final = 41
#: By how many bits sums of integers are widened.
_WIDENED: Final[Mapping[str, int]] = {"int8": 20, "uint8": 20, "int16": 15}


def within(index: int, items: Sequence[Any], what: str) -> int:
    """Return the index of something that is there."""
    if not 0 <= index < len(items):
        raise DamagedError(f"it refers to {what} {index} of {len(items)}")
    return index


def indices(found: Any, tensors: Sequence[TensorFacts], *, optional: bool = False) -> tuple[int, ...]:
    """Return the indices of tensors that are there; -1 for one that is left out, where that is allowed."""
    indices = tuple(int(index) for index in found)
    if any(not (-1 if optional else 0) <= index < len(tensors) for index in indices):
        raise DamagedError("it refers to a tensor that is not there")
    return indices


def check_data(tensor: TensorFacts) -> None:
    """Hold the bytes of a constant against its shape and type."""
    if tensor.data is None or tensor.sparse:
        return
    if tensor.dtype == "string":
        _check_strings(tensor.data, tensor.elements)
    elif tensor.bits is None or len(tensor.data) != tensor.size_bytes:
        raise DamagedError(f"a tensor of {tensor.size_bytes} bytes has {len(tensor.data)}")


def _check_strings(data: npt.NDArray[np.uint8], expected: int) -> None:
    """Strings are kept as their count, count + 1 offsets, and then the bytes."""
    count = int(data[:4].view("<i4")[0]) if len(data) >= 4 else -1
    if count < 0 or len(data) < 4 * (count + 2) or count != expected:
        raise DamagedError("the strings of a tensor are not all there")
    offsets = data[4 : 4 * (count + 2)].view("<i4")
    if offsets[0] != 4 * (count + 2) or (np.diff(offsets) < 0).any() or offsets[-1] > len(data):
        raise DamagedError("the strings of a tensor lead out of it")


def check_scales(tensor: TensorFacts) -> None:
    """Scales are one, or one for each index of an axis; with as many zero points."""
    count = len(tensor.scales)
    if count <= 1 and len(tensor.zero_points) <= 1:
        return
    rank = len(tensor.shape)
    if not 0 <= tensor.dimension < rank or count != tensor.shape[tensor.dimension]:
        raise DamagedError("a tensor has another number of scales than channels")
    if len(tensor.zero_points) not in (0, 1, count):
        raise DamagedError("a tensor has another number of zero points than scales")


def check_order(graph: SubgraphFacts) -> None:
    """Operators read what is there already, and write what nobody else wrote: never a constant, whose memory is read-only."""
    there = {
        index
        for index, tensor in enumerate(graph.tensors)
        if tensor.data is not None or tensor.is_variable or (tensor.bits is not None and not tensor.elements)
    }
    constant = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None}
    if constant & set(graph.inputs):
        raise DamagedError("an input is a constant")
    there |= {*graph.inputs, -1}
    written = set(graph.inputs)
    for operator in graph.operators:
        if not there.issuperset(operator.inputs):
            raise DamagedError("an operator reads what nothing computes")
        for index in operator.outputs:
            if index in written or index in constant:
                raise DamagedError("an operator writes over another tensor")
            written.add(index)
        there.update(operator.outputs)
    if not there.issuperset(graph.outputs):
        raise DamagedError("nothing computes one of its outputs")


def check_sums(graph: SubgraphFacts) -> None:
    """Sums of integers bring both sides to a common scale and that to the answer's; LiteRT's process ends where it cannot."""
    for operator in graph.operators:
        tensors = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
        if operator.code not in (ADD, SUB) or [len(tensor.scales) for tensor in tensors] != [1, 1, 1]:
            continue
        shift = _WIDENED.get(tensors[-1].dtype)
        if shift is None:
            continue
        left, right, answer = (tensor.scales[0] for tensor in tensors)
        # The kernel computes this product in float32, where it may become infinite.
        with np.errstate(over="ignore"):
            unit = float(np.float32(1 << shift) * np.float32(answer))
        factor = 2 * max(left, right) / unit if unit > 0 else np.inf
        if factor <= 0 or (operator.code == ADD and factor >= 1):
            raise DamagedError("the scales of a sum lie too far apart for its integers")


def check_calls(subgraphs: Sequence[SubgraphFacts]) -> None:
    """Subgraphs run others that are there, and never themselves."""
    calls = [sorted({other for operator in graph.operators for other in operator.calls}) for graph in subgraphs]
    for called in calls:
        for other in called:
            within(other, subgraphs, "subgraph")
    finished: set[int] = set()
    for start in range(len(subgraphs)):
        open_calls: list[tuple[int, Iterator[int]]] = [(start, iter(calls[start]))]
        active = {start}
        while open_calls:
            here, rest = open_calls[-1]
            other = next((item for item in rest if item not in finished), -1)
            if other < 0:
                finished.add(here)
                active.discard(here)
                open_calls.pop()
            elif other in active:
                raise DamagedError("a part of the network runs itself")
            else:
                active.add(other)
                open_calls.append((other, iter(calls[other])))
