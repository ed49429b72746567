"""How much arithmetic an ONNX graph is: multiply-accumulate operations from shapes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

Shape = tuple[int, ...]

#: Where an operator keeps its weights, when it is not its second input.
_WEIGHT_PLACE = {"QLinearConv": 3, "QLinearMatMul": 3}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
COUNTED = frozenset(
    {
        "Conv", "ConvInteger", "QLinearConv", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul",
        "FusedMatMul", "LSTM", "GRU", "RNN",
    }
)  # fmt: skip


def known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes of tensors by name, with a free batch taken as 1; tensors with other free axes are left out."""
    working = onnx.ModelProto()
    working.CopyFrom(model)
    initializers = {tensor.name for tensor in working.graph.initializer}
    for item in working.graph.input:
        dims = item.type.tensor_type.shape.dim
        if item.name not in initializers and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    for tensor in working.graph.output:
        # Declared output shapes with a free batch would contradict what is inferred for a batch of 1.
        tensor.type.tensor_type.ClearField("shape")
    try:
        working = onnx.shape_inference.infer_shapes(working, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return _declared(working)
    return _declared(working)


def _declared(model: onnx.ModelProto) -> dict[str, Shape]:
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for item in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        kind = item.type.tensor_type
        if not item.type.HasField("tensor_type") or not kind.HasField("shape"):
            continue
        if all(dim.HasField("dim_value") for dim in kind.shape.dim):
            found.setdefault(item.name, tuple(dim.dim_value for dim in kind.shape.dim))
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found.setdefault(node.output[0], tuple(attribute.t.dims))
    return found


def count_macs(model: onnx.ModelProto) -> dict[str, int] | None:
    """Count multiply-accumulate operations of one inference with a batch of 1, by operator.

    Returns
    -------
    dict or None
        None when the graph holds arithmetic whose shapes are free or lie in a branch, so that any number would be a guess.
    """
    shapes = known_shapes(model)
    totals: Counter[str] = Counter()
    for node in model.graph.node:
        if any(attribute.HasField("g") and _has_arithmetic(attribute.g) for attribute in node.attribute):
            return None
        if node.op_type not in COUNTED:
            continue
        macs = _macs(node, shapes)
        if macs is None:
            return None
        totals[node.op_type] += macs
    return dict(totals)


def _has_arithmetic(graph: onnx.GraphProto) -> bool:
    return any(
        node.op_type in COUNTED
        or any(attribute.HasField("g") and _has_arithmetic(attribute.g) for attribute in node.attribute)
        for node in graph.node
    )


def _macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    data = shapes.get(node.input[0])
    weight = shapes.get(node.input[_WEIGHT_PLACE.get(node.op_type, 1)])
    out = shapes.get(node.output[0]) if node.output else None
    if node.op_type in {"Conv", "ConvInteger", "QLinearConv"}:
        if weight is None or out is None:
            return None
        return math.prod(out) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        if weight is None or data is None:
            return None
        return data[0] * math.prod(data[2:]) * math.prod(weight)
    if node.op_type in _GATES:
        return _recurrent(node.op_type, data, weight)
    if node.op_type == "Gemm":
        if data is None or out is None:
            return None
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(out) * data[0 if transposed else 1]
    if data is None or out is None or not data:
        return None
    return math.prod(out) * data[-1]


def _recurrent(kind: str, data: Sequence[int] | None, weight: Sequence[int] | None) -> int | None:
    # X is [steps, batch, inputs] and W is [directions, gates x hidden, inputs].
    if data is None or weight is None or len(data) != 3 or len(weight) != 3:
        return None
    directions, rows, inputs = weight
    hidden = rows // _GATES[kind]
    return data[0] * data[1] * directions * rows * (inputs + hidden)
