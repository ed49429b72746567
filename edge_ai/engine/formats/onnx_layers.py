"""The layers of an ONNX graph: what each operator computes with, what it costs, and the weights that it is there for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx

from edge_ai.engine.formats.onnx import constant_value, dtype_name, subgraphs, weights
from edge_ai.engine.formats.onnx_cost import COUNTERS, OPAQUE
from edge_ai.engine.formats.onnx_parameters import AUXILIARY, PARAMETERS
from edge_ai.engine.formats.onnx_shapes import Inferred
from edge_ai.engine.layers import Layer, Shape, listed

#: What only hands weights on: the reader behind it is what they are there for.
PASSING: Final = frozenset(
    {"Cast", "DequantizeLinear", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A constant that nobody has read yet."""

    elements: int
    size_bytes: int
    dtype: str


def layers_of(model: onnx.ModelProto, known: Inferred) -> dict[str, Any]:
    """Return the ``layers`` of an analysis.

    Parameters
    ----------
    known
        The model's shapes for a batch of one. Those inside branches and loops are not known.
    """
    graphs = list(subgraphs(model.graph))
    count = sum(constant_value(node) is None for graph in graphs for node in graph.node)
    return listed(_layers(model, graphs, known), count=count)


def _layers(model: onnx.ModelProto, graphs: list[onnx.GraphProto], known: Inferred) -> Iterator[Layer]:
    held: dict[int, dict[str, _Held]] = {id(graph): {} for graph in graphs}
    for each in weights(model):
        found = _Held(elements=each.elements, size_bytes=each.size_bytes, dtype=each.dtype)
        held[id(each.graph)][each.name] = found
    for graph in graphs:
        # What the outer graph holds may be read inside; it counts where it is read first.
        constants = held[id(model.graph)] | held[id(graph)]
        names = set(constants)
        inner = graph is not model.graph
        for node in graph.node:
            if constant_value(node) is not None:
                continue
            read = _weights_read(node, constants, names)
            for name in node.input:
                held[id(model.graph)].pop(name, None)
            yield Layer(
                name=node.name or (node.output[0] if node.output else node.op_type),
                type=node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op_type}",
                inputs=[_shape(name, known, inner) for name in node.input if name and name not in names],
                outputs=[_shape(name, known, inner) for name in node.output if name],
                parameters=sum(each.elements for each in read),
                weight_bytes=sum(each.size_bytes for each in read),
                macs=_macs(node, known.shapes, inner),
                precision=_precision(node, read, known.types),
            )


def _weights_read(node: onnx.NodeProto, constants: dict[str, _Held], names: set[str]) -> list[_Held]:
    """Take from the constants those that a node is there to read; one that hands them on is left with none."""
    auxiliary = AUXILIARY.get(node.op_type, ())
    read = []
    for place, name in enumerate(node.input):
        if name not in names:
            continue
        found = constants.pop(name, None)
        if found is None or (place > 0 if auxiliary is None else place in auxiliary):
            continue
        if node.op_type in PASSING and node.output:
            if place == 0:
                constants[node.output[0]] = found
                names.add(node.output[0])
        elif found.dtype in PARAMETERS:
            read.append(found)
    return read


def _shape(name: str, known: Inferred, inner: bool) -> Shape | None:
    return None if inner or name not in known.shapes else list(known.shapes[name])


def _macs(node: onnx.NodeProto, shapes: Mapping[str, Any], inner: bool) -> int | None:
    counter = COUNTERS.get(node.op_type)
    if counter is None:
        return None if node.op_type in OPAQUE else 0
    if inner:
        return None
    try:
        return counter(node, shapes)
    except (KeyError, IndexError, ValueError):
        return None


def _precision(node: onnx.NodeProto, read: list[_Held], types: Mapping[str, int]) -> str | None:
    if read:
        return max(read, key=lambda each: each.size_bytes).dtype
    for name in (*node.output, *node.input):
        kind = types.get(name, onnx.TensorProto.UNDEFINED)
        if kind != onnx.TensorProto.UNDEFINED:
            return dtype_name(kind)
    return None
