"""What an ONNX file says about the values of its inputs: the size of the tables that they index, and their quantization."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edge_ai.engine.evaluate.representative import Range
from edge_ai.engine.formats.onnx import constant_value, describe_value, true_inputs

PASSES_INDICES_ON = frozenset({"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze"})


def input_ranges(model: onnx.ModelProto) -> dict[str, Range]:
    """Return the range of each input that the file tells one of."""
    found: dict[str, Range] = {}
    for value in true_inputs(model.graph):
        name, dtype = value.name, str(describe_value(value)["dtype"])
        known = _table_range(model, name) if dtype.startswith(("int", "uint")) else _quantized_range(model, name)
        if known is not None and "mask" not in name.lower():
            found[name] = known
    return found


def _table_range(model: onnx.ModelProto, name: str) -> Range | None:
    rows = _table_rows(model, name)
    return None if rows is None else Range(low=0, high=rows - 1)


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        tensor = constant_value(node)
        if tensor is not None:
            found[node.output[0]] = tensor
    return found


def _table_rows(model: onnx.ModelProto, name: str) -> int | None:
    """Return how many rows the smallest table has that an input picks from."""
    constants = _constants(model)
    widened = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in PASSES_INDICES_ON}
    names = {name}
    rows: list[int] = []
    for node in model.graph.node:
        if node.op_type in PASSES_INDICES_ON and node.input[0] in names:
            names.add(node.output[0])
        elif node.op_type == "Gather" and len(node.input) > 1 and node.input[1] in names:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            table = constants.get(node.input[0]) or constants.get(widened.get(node.input[0], ""))
            if table is not None and len(table.dims) > axis:
                rows.append(table.dims[axis])
    return min(rows, default=None)


def _quantized_range(model: onnx.ModelProto, name: str) -> Range | None:
    """Return the range that the scale and zero point of an input's QuantizeLinear can express."""
    constants = _constants(model)
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] != name or len(node.input) < 3:
            continue
        scale, zero = constants.get(node.input[1]), constants.get(node.input[2])
        if scale is None or zero is None or list(scale.dims) not in ([], [1]):
            continue
        point = numpy_helper.to_array(zero).reshape(-1)[0]
        limits = np.iinfo(point.dtype)
        step = float(numpy_helper.to_array(scale).reshape(-1)[0])
        return Range(low=(limits.min - int(point)) * step, high=(limits.max - int(point)) * step)
    return None
