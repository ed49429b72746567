"""Which of an ONNX graph's constants were learned, however they are stored.

A weight may be stored as integers that are widened by a Cast and a Mul, as an index into a palette, or as packed blocks. It
counts once, with the elements that it stands for; scales, zero points, palettes and tables are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx
from onnx import helper

from edge_ai.engine.formats.onnx import Weight, dtype_name

FLOATS: Final = frozenset({"float64", "float32", "float16", "bfloat16"})
NARROW: Final = frozenset(
    {
        "int8",
        "uint8",
        "int4",
        "uint4",
        "int2",
        "uint2",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "float4e2m1",
    }
)
#: Integers as wide as the others are indices, shapes and tables, not parameters that were learned.
PARAMETERS: Final = FLOATS | NARROW
#: The inputs of operators that hold scales and zero points; ``None``: all but the first.
AUXILIARY: Final[Mapping[str, Sequence[int] | None]] = {
    "QuantizeLinear": None,
    "DequantizeLinear": None,
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "MatMulNBits": (2, 3, 4),
    "GatherBlockQuantized": (2, 3),
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How many numbers of a graph were learned, and how many of them are stored in 8 bits or fewer to be widened."""

    count: int
    widened: int


@dataclass(kw_only=True)
class _Made:
    """What a constant stands for: its shape, the stored constant that holds its content, and whether that is widened."""

    shape: list[int]
    root: onnx.TensorProto
    widened: bool = False


@dataclass(kw_only=True)
class _Graph:
    """One graph, and what was counted in all of them, by stored constant."""

    stored: dict[str, onnx.TensorProto]
    made: dict[str, _Made]
    counts: dict[int, int]
    widened: set[int]


def count_parameters(graphs: Sequence[onnx.GraphProto], held: Sequence[Weight]) -> Parameters:
    """Count the learned numbers of a model.

    Parameters
    ----------
    graphs
        The main graph first, each before those inside its nodes, which may read its constants.
    held
        All constants.
    """
    counts: dict[int, int] = {}
    widened: set[int] = set()
    # A graph sees what those around it hold, and they come before it.
    seen: dict[str, _Made] = {}
    for graph in graphs:
        stored = {item.name: item.tensor for item in held if item.graph is graph}
        _walk(graph, _Graph(stored=stored, made=seen, counts=counts, widened=widened))
    return Parameters(count=sum(counts.values()), widened=sum(counts[key] for key in widened))


def _walk(graph: onnx.GraphProto, own: _Graph) -> None:
    read: set[str] = set()
    for name, tensor in own.stored.items():
        own.made[name] = _Made(shape=list(tensor.dims), root=tensor)
    scales: set[str] = set()
    for node in graph.node:
        if node.op_type == "Constant":
            continue
        if node.op_type == "DynamicQuantizeLinear":
            scales.add(node.output[1])
        if node.op_type == "Mul" and scales & set(node.input):
            # The scale of the weights, beside that of the activation.
            read.update(node.input)
            continue
        made = _unfolded(node, own)
        if made is not None:
            own.made[node.output[0]] = made
            read.update(name for name in node.input if name in own.stored)
            continue
        auxiliary = AUXILIARY.get(node.op_type, ())
        for place, name in enumerate(node.input):
            read.add(name)
            if name in own.made and place not in (range(1, 99) if auxiliary is None else auxiliary):
                _count(own, own.made[name], _packed_elements(node, place))
    for value in graph.output:
        if value.name in own.made:
            _count(own, own.made[value.name], None)
    for name in own.stored.keys() - read:
        # What a branch reads, or nobody.
        _count(own, own.made[name], None)


def _count(own: _Graph, made: _Made, packed: int | None) -> None:
    """Count what an operator reads, once for each stored constant."""
    name = dtype_name(made.root.data_type)
    # Biases of quantized layers are int32, with a scale.
    if name not in PARAMETERS and not (made.widened and name == "int32"):
        return
    size = prod(made.shape) if packed is None else packed
    own.counts[id(made.root)] = max(own.counts.get(id(made.root), 0), size)
    if (made.widened or packed is not None) and name in NARROW:
        own.widened.add(id(made.root))


def _packed_elements(node: onnx.NodeProto, place: int) -> int | None:
    """Return how many weights are packed into an input, ``None`` for one that is as large as it looks."""
    if node.op_type != "MatMulNBits" or place != 1:
        return None
    facts = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return int(facts.get("K", 0)) * int(facts.get("N", 0))


def _unfolded(node: onnx.NodeProto, own: _Graph) -> _Made | None:
    """Return what an operator makes of constants alone, for those that unfold weights."""
    inputs = [own.made[name] for name in node.input if name in own.made]
    if not inputs or len(inputs) != sum(bool(name) for name in node.input) or len(node.output) != 1:
        return None
    first = inputs[0]
    if node.op_type in {"Cast", "Identity", "DequantizeLinear"}:
        widened = first.widened or node.op_type != "Identity"
        return _Made(shape=first.shape, root=first.root, widened=widened)
    if node.op_type in {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}:
        return _Made(shape=[prod(first.shape)], root=first.root, widened=first.widened)
    if node.op_type in {"Mul", "Add", "Sub"} and len(inputs) == 2:
        return max(inputs, key=lambda item: prod(item.shape))
    if node.op_type == "Gather" and len(inputs) == 2 and first.shape:
        index = inputs[1]
        palette = dtype_name(index.root.data_type) in NARROW
        return _Made(
            shape=[*index.shape, *first.shape[1:]],
            root=index.root if palette else first.root,
            widened=palette or first.widened,
        )
    if node.op_type == "Concat":
        largest = max(inputs, key=lambda item: prod(item.shape))
        return _Made(shape=[sum(prod(item.shape) for item in inputs)], root=largest.root, widened=largest.widened)
    return None
