"""The work and the memory of a TensorFlow Lite network, from its shapes; free axes count as the file's shapes have them: 1."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_ai.engine.formats.tflite_facts import OperatorFacts, SubgraphFacts, TensorFacts

LOOPS: Final = frozenset({"WHILE", "STABLEHLO_WHILE"})
Rule = Callable[[Sequence[TensorFacts | None], TensorFacts], int]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Multiply-accumulates of one inference.

    Parameters
    ----------
    unknown
        The operators whose work depends on what is only known when the model runs.
    """

    by_operator: Mapping[str, int]
    unknown: Sequence[str]

    @property
    def total(self) -> int | None:
        """All of it, ``None`` where a part is not known."""
        return None if self.unknown else sum(self.by_operator.values())


def count_macs(subgraphs: Sequence[SubgraphFacts], name_of: Callable[[OperatorFacts], str]) -> Work:
    """Count the multiply-accumulates of convolutions, matrix products and recurrent layers.

    Both branches of a condition count; the body of a loop makes its work unknown.
    """
    counted: Counter[str] = Counter()
    unknown: dict[str, None] = {}
    for graph in subgraphs:
        for operator in graph.operators:
            name = name_of(operator)
            if name in LOOPS and _works(operator.calls, subgraphs, name_of):
                unknown[name] = None
            macs = macs_of(graph, operator, name)
            if macs is None:
                unknown[name] = None
            elif name in _RULES:
                counted[name] += macs
    return Work(by_operator=dict(counted.most_common()), unknown=tuple(unknown))


def macs_of(graph: SubgraphFacts, operator: OperatorFacts, name: str) -> int | None:
    """Count those of one operator: 0 for kinds that are not counted, ``None`` where shapes are not known or it is custom."""
    if operator.custom is not None:
        return None
    rule = _RULES.get(name)
    if rule is None:
        return 0
    output = graph.tensors[operator.outputs[0]] if operator.outputs else None
    if output is None or _is_free(output):
        return None
    try:
        return rule([None if index < 0 else graph.tensors[index] for index in operator.inputs], output)
    except (AttributeError, IndexError, ValueError):
        return None


def peak_activation_bytes(graph: SubgraphFacts) -> int:
    """Return the most bytes that tensors alive at once take, when each lives from its writer to its last reader."""
    last = len(graph.operators)
    born, dies = dict.fromkeys(graph.inputs, 0), dict.fromkeys(graph.inputs, 0)
    for place, operator in enumerate(graph.operators):
        for index in operator.outputs:
            born[index] = dies[index] = place
        for index in operator.inputs:
            if index in born:
                dies[index] = place
    for index in graph.outputs:
        if index in born:
            dies[index] = last
    change = [0] * (last + 2)
    for index, place in born.items():
        change[place] += graph.tensors[index].size_bytes
        change[dies[index] + 1] -= graph.tensors[index].size_bytes
    alive = most = 0
    for step in change:
        alive += step
        most = max(most, alive)
    return most


def _is_free(tensor: TensorFacts) -> bool:
    """Whether an axis behind the batch has no size."""
    return any(axis < 0 for axis in tensor.signature[1:])


def _works(calls: Sequence[int], subgraphs: Sequence[SubgraphFacts], name_of: Callable[[OperatorFacts], str]) -> bool:
    return any(
        name_of(operator) in _RULES or _works(operator.calls, subgraphs, name_of)
        for number in calls
        for operator in subgraphs[number].operators
    )


def _shape(tensors: Sequence[TensorFacts | None], place: int) -> tuple[int, ...]:
    tensor = tensors[place]
    if tensor is None:
        raise ValueError("left out")
    return tensor.shape


def _convolution(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    """The filter is [out, height, width, in]; depthwise [1, height, width, out]."""
    return output.elements * math.prod(_shape(tensors, 1)[1:])


def _depthwise(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    return output.elements * math.prod(_shape(tensors, 1)[1:3])


def _transposed(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    """Each value of the input meets the filter [out, height, width, in], but for its last axis."""
    return math.prod(_shape(tensors, 2)) * math.prod(_shape(tensors, 1)[:3])


def _volume(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    """The filter is [depth, height, width, in, out]."""
    return output.elements * math.prod(_shape(tensors, 1)[:4])


def _dense(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    """The weights are [out, in]."""
    return output.elements * _shape(tensors, 1)[-1]


def _product(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    """The right one is [..., k, n] or [..., n, k]; what both have in common is k."""
    left, right = _shape(tensors, 0), _shape(tensors, 1)
    rows, columns = output.shape[-2:]
    # left × right = (rows·k)·(k·columns) for one product of the batch.
    squared = math.prod(left[-2:]) * math.prod(right[-2:])
    return output.elements * (math.isqrt(squared // (rows * columns)) if rows * columns else 0)


def _recurrent(tensors: Sequence[TensorFacts | None], output: TensorFacts) -> int:
    """Every matrix of weights meets each step of each sample: the input [steps, batch, in] or [batch, steps, in]."""
    first = tensors[0]
    matrices = [item for item in tensors[1:] if item is not None and item.data is not None and len(item.shape) == 2]
    if first is None:
        raise ValueError("left out")
    return math.prod(first.shape[:-1]) * sum(item.elements for item in matrices)


_RULES: Final[Mapping[str, Rule]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "CONV_3D": _volume,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _product,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _recurrent,
    "BIDIRECTIONAL_SEQUENCE_RNN": _recurrent,
    "LSTM": _recurrent,
    "RNN": _recurrent,
    "SVDF": _recurrent,
}
