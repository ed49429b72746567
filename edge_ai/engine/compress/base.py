"""What every step of compression gives back, and how weights are found with those that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import onnx

from edge_ai.engine.convert.onnx_prepare import drop_weight_inputs, lift_constants
from edge_ai.engine.formats.onnx import DEFAULT_DOMAINS

FLOATS: Final = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
"""Types of weights that are pruned and clustered."""

MICROSOFT: Final = "com.microsoft"

_PASSED_ON: Final = frozenset({"Identity", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze", "Flatten"})
_RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A step that was done.

    Parameters
    ----------
    model
        The outcome; the model that was given may have been changed, and is not to be used any more.
    settings
        What was asked for, ready for JSON.
    done
        What came of it, ready for JSON.
    note
        What a person should know of it, in a sentence or two.
    """

    step: str
    model: onnx.ModelProto
    settings: Mapping[str, Any]
    done: Mapping[str, Any]
    note: str


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A node that reads a weight at input ``place``.

    ``axes`` says which axis of the weight each axis is that the node sees; ``None`` where a Reshape lies between them.
    """

    node: onnx.NodeProto
    place: int
    axes: tuple[int, ...] | None

    @property
    def operator(self) -> str:
        """Such as ``Conv``, or ``com.microsoft.Attention``."""
        domain = self.node.domain
        return self.node.op_type if domain in DEFAULT_DOMAINS else f"{domain}.{self.node.op_type}"

    @property
    def input_axis(self) -> int | None:
        """The weight's axis over which a product is summed; ``None`` where the node multiplies with no such weight."""
        if self.axes is None:
            return None
        seen = _summed_axis(self.node, self.place, len(self.axes))
        return None if seen is None or not 0 <= seen < len(self.axes) else self.axes[seen]

    @property
    def output_axis(self) -> int | None:
        """The weight's axis of which each place makes one output channel; ``None`` where there is none, or no one axis."""
        if self.axes is None:
            return None
        rank = len(self.axes)
        summed = _summed_axis(self.node, self.place, rank)
        if summed is None or rank < 2:
            return None
        if self.node.op_type in _RECURRENT or self.node.op_type == "ConvTranspose":
            seen = 1
        elif self.node.op_type.endswith("Conv"):
            seen = 0
        else:
            seen = rank - 1 if summed == rank - 2 else rank - 2
        return self.axes[seen]

    @property
    def multiplies(self) -> bool:
        """The weight is the matrix or the kernel of a layer."""
        return _summed_axis(self.node, self.place, 3) is not None


@dataclass(kw_only=True)
class Slot:
    """An initializer of a graph, with every node that reads it, in the graphs inside too."""

    tensor: onnx.TensorProto
    graph: onnx.GraphProto
    readers: list[Reader] = field(default_factory=list)
    is_output: bool = False

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        count = 1
        for axis in self.tensor.dims:
            count *= axis
        return count


def ready(model: onnx.ModelProto) -> None:
    """Put every weight where the steps look for it: initializers, not inputs and not Constant nodes. Changes the model."""
    drop_weight_inputs(model)
    lift_constants(model)


def slots(model: onnx.ModelProto) -> list[Slot]:
    """Return the initializers of all graphs with their readers, in the order in which the file has them."""
    found: list[Slot] = []
    _walk(model.graph, {}, found)
    return found


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def defined(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names that a graph gives a meaning to, without those of the graphs inside."""
    for value in graph.input:
        yield value.name
    for tensor in graph.initializer:
        yield tensor.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield from (name for name in node.output if name)


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Give a graph these nodes, which may be its own."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def replace_initializers(graph: onnx.GraphProto, tensors: Sequence[onnx.TensorProto]) -> None:
    """Give a graph these initializers, which may be its own."""
    copies = []
    for tensor in tensors:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copies.append(copy)
    del graph.initializer[:]
    graph.initializer.extend(copies)


def _walk(graph: onnx.GraphProto, outside: Mapping[str, Slot], found: list[Slot]) -> None:
    visible = dict(outside)
    for name in defined(graph):
        visible.pop(name, None)
    outputs = {value.name for value in graph.output}
    for tensor in graph.initializer:
        slot = Slot(tensor=tensor, graph=graph, is_output=tensor.name in outputs)
        found.append(slot)
        visible[tensor.name] = slot
    for name in outputs & outside.keys() & visible.keys():
        visible[name].is_output = True
    passed: dict[str, tuple[Slot, tuple[int, ...] | None]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            slot_axes = passed.get(name)
            if slot_axes is None and name in visible:
                slot = visible[name]
                slot_axes = (slot, tuple(range(len(slot.tensor.dims))))
            if slot_axes is None:
                continue
            slot, axes = slot_axes
            if place == 0 and node.op_type in _PASSED_ON and node.domain in DEFAULT_DOMAINS and node.output:
                passed[node.output[0]] = (slot, _seen_axes(node, axes))
                slot.is_output = slot.is_output or node.output[0] in outputs
            else:
                slot.readers.append(Reader(node=node, place=place, axes=axes))
        for inner in inner_graphs(node):
            _walk(inner, visible, found)


def _seen_axes(node: onnx.NodeProto, axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if axes is None or node.op_type in {"Identity", "Cast"}:
        return axes
    if node.op_type != "Transpose":
        return None
    order = next((list(item.ints) for item in node.attribute if item.name == "perm"), list(range(len(axes)))[::-1])
    return tuple(axes[place] for place in order) if sorted(order) == list(range(len(axes))) else None


def _summed_axis(node: onnx.NodeProto, place: int, rank: int) -> int | None:
    """Return the axis over which a node sums, for a weight of this rank at this place."""
    kind = node.op_type
    if node.domain not in DEFAULT_DOMAINS | {MICROSOFT}:
        return None
    if kind in {"Conv", "FusedConv"}:
        return 1 if place == 1 else None
    if kind == "ConvTranspose":
        return 0 if place == 1 else None
    if kind in _RECURRENT:
        return 2 if place in {1, 2} else None
    if kind == "Attention" and node.domain == MICROSOFT:
        return 0 if place == 1 else None
    if kind in {"Gemm", "FusedGemm"} and place in {0, 1}:
        turned = any(item.name == ("transA", "transB")[place] and item.i for item in node.attribute)
        return int(turned) if place == 1 else int(not turned)
    if kind in {"MatMul", "FusedMatMul"} and place in {0, 1} and rank >= 2:
        turned = any(item.name == ("transA", "transB")[place] and item.i for item in node.attribute)
        return rank - 1 if turned == (place == 1) else rank - 2
    return None
