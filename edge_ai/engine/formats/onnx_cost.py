"""Multiply-accumulates of an ONNX graph, counted from shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx

from edge_ai.engine.formats.onnx import constant_value, shape_of, subgraphs, true_inputs

Shape = Sequence[int]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Multiply-accumulates of one inference of one sample.

    Parameters
    ----------
    total
        ``None`` where a shape that matters cannot be known before the model runs.
    by_operator
        Of the operators whose cost is known.
    unknown
        The operators whose cost is not.
    """

    total: int | None
    by_operator: Mapping[str, int]
    unknown: tuple[str, ...]


def count_macs(model: onnx.ModelProto) -> Cost:
    """Count the multiply-accumulates of a model.

    Parameters
    ----------
    model
        With its weights or without. A free first axis of an input is taken for the batch, and for 1. It is not changed.

    Returns
    -------
    Cost
        Convolutions, matrix products and recurrent layers are counted, as is usual; element-wise work is not.
    """
    shapes = _shapes(model)
    counted: dict[str, int] = {}
    unknown: set[str] = set()
    for graph in subgraphs(model.graph):
        for node in graph.node:
            counter = COUNTERS.get(node.op_type)
            if counter is None:
                if node.op_type in OPAQUE:
                    unknown.add(node.op_type)
                continue
            try:
                # How often a branch or the body of a loop runs is not known before it does.
                if graph is not model.graph:
                    raise KeyError(node.op_type)
                counted[node.op_type] = counted.get(node.op_type, 0) + counter(node, shapes)
            except (KeyError, IndexError):
                unknown.add(node.op_type)
    total = None if unknown else sum(counted.values())
    return Cost(total=total, by_operator=counted, unknown=tuple(sorted(unknown)))


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Infer the shapes for a batch of one; only fully known ones are returned."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in true_inputs(copy.graph):
        axes = value.type.tensor_type.shape.dim
        if axes and (axes[0].WhichOneof("value") != "dim_value" or axes[0].dim_value <= 0):
            axes[0].dim_value = 1
    # What exporters declare for a free batch contradicts the 1; it is inferred again.
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        if value.type.WhichOneof("value") == "tensor_type":
            value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        inferred = copy
    shapes: dict[str, Shape] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.HasField("shape"):
            shape = shape_of(value)
            if all(isinstance(axis, int) for axis in shape):
                shapes[value.name] = [axis for axis in shape if isinstance(axis, int)]
    for tensor in model.graph.initializer:
        shapes[tensor.name] = list(tensor.dims)
    for node in model.graph.node:
        tensor = constant_value(node)
        if tensor is not None:
            shapes[node.output[0]] = list(tensor.dims)
    return shapes


def _conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Weights are [out, in / groups, *kernel]: one output element takes in / groups × kernel products.
    weight = shapes[node.input[3 if node.op_type == "QLinearConv" else 1]]
    return prod(shapes[node.output[0]]) * prod(weight[1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Weights are [in, out / groups, *kernel]: one input element is spread over out / groups × kernel.
    return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(item.name == "transA" and item.i for item in node.attribute)
    inner = shapes[node.input[0]][0 if transposed else 1]
    return prod(shapes[node.output[0]]) * inner


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _recurrent(gates: int) -> Callable[[onnx.NodeProto, Shapes], int]:
    def count(node: onnx.NodeProto, shapes: Shapes) -> int:
        layout = any(item.name == "layout" and item.i for item in node.attribute)
        x, w, r = shapes[node.input[0]], shapes[node.input[1]], shapes[node.input[2]]
        steps, batch = (x[1], x[0]) if layout else (x[0], x[1])
        hidden = r[-1]
        if w[1] != gates * hidden:
            raise KeyError(node.input[1])
        return steps * batch * w[0] * gates * hidden * (w[-1] + hidden)

    return count


def _dynamic_lstm(node: onnx.NodeProto, shapes: Shapes) -> int:
    # Its weights are transposed: [directions, input, 4 × hidden] and [directions, hidden, 4 × hidden].
    x, w, r = shapes[node.input[0]], shapes[node.input[1]], shapes[node.input[2]]
    return x[0] * x[1] * w[0] * w[2] * (w[1] + r[1])


COUNTERS: Mapping[str, Callable[[onnx.NodeProto, Shapes], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "FusedConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "FusedMatMul": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "DynamicQuantizeLSTM": _dynamic_lstm,
}

#: Operators that multiply matrices in ways that are not counted here.
OPAQUE = frozenset({"Attention", "QAttention", "MultiHeadAttention", "Einsum", "MatMulNBits", "DeformConv"})
