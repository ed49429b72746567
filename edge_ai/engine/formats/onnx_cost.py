"""Multiply-accumulates of an ONNX graph, counted from shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx import helper

from edge_ai.engine.formats.onnx import subgraphs
from edge_ai.engine.formats.onnx_shapes import Inferred, Shape, infer

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


def count_macs(model: onnx.ModelProto, known: Inferred | None = None) -> Cost:
    """Count the multiply-accumulates of a model.

    Parameters
    ----------
    model
        With its weights or without. A free first axis of an input is taken for the batch, and for 1. It is not changed.
    known
        Its shapes, where they were inferred already.

    Returns
    -------
    Cost
        Convolutions, matrix products and recurrent layers are counted, as is usual; element-wise work is not.
    """
    shapes = (known or infer(model)).shapes
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
            except (KeyError, IndexError, ValueError):
                unknown.add(node.op_type)
    total = None if unknown else sum(counted.values())
    return Cost(total=total, by_operator=counted, unknown=tuple(sorted(unknown)))


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


def _quantized_gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    facts = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    left, right = shapes[node.input[0]], shapes[node.input[3]]
    rows, inner = (left[1], left[0]) if facts.get("transA") else (left[0], left[1])
    return rows * inner * (right[0] if facts.get("transB") else right[1])


def _packed_matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    facts = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return prod(shapes[node.input[0]]) * int(facts["N"])


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    # onnxruntime's own, with the projection to queries, keys and values inside; ONNX's has none, and other inputs.
    if node.domain != "com.microsoft":
        raise KeyError(node.op_type)
    batch, length, _ = shapes[node.input[0]]
    wide, projected = shapes[node.input[1]]
    return batch * length * wide * projected + 2 * batch * length * length * projected // 3


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
    "MatMulNBits": _packed_matmul,
    "QGemm": _quantized_gemm,
    "Attention": _attention,
    "QAttention": _attention,
    "DeformConv": _conv,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
    "DynamicQuantizeLSTM": _dynamic_lstm,
}

#: Operators that multiply matrices in ways that are not counted here.
OPAQUE = frozenset({"MultiHeadAttention", "Einsum"})
