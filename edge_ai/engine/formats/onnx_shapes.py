"""Shapes of the activations of an ONNX graph, and the memory that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx
from onnx import helper

from edge_ai.engine.formats.onnx import PACKED_BITS, constant_value, elements, shape_of, true_inputs

Shape = Sequence[int]

#: Constants larger than this say nothing about shapes but their own.
MAX_TELLING_ELEMENTS: Final = 4096
#: onnxruntime's own operators whose answer has the shape and the type of what they read first.
ALIKE: Final = frozenset(
    {
        "BiasGelu",
        "FastGelu",
        "Gelu",
        "LayerNormalization",
        "QLinearAdd",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearSigmoid",
        "QuickGelu",
        "RotaryEmbedding",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)
#: Those that compute what a standard operator computes, of the same first inputs.
STANDARD: Final = {"FusedConv": "Conv", "FusedGemm": "Gemm", "FusedMatMul": "MatMul", "DynamicQuantizeMatMul": "MatMul"}
MICROSOFT: Final = "com.microsoft"
#: Where a tensor's values are, or where they are said to be.
_VALUES: Final = ("raw_data", "float_data", "int32_data", "int64_data", "external_data", "data_location")
STAND_IN: Final = "::stand_in"


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What is known of a graph's tensors before it runs, for a batch of one: full shapes and element types."""

    shapes: Mapping[str, Shape]
    types: Mapping[str, int]


def infer(model: onnx.ModelProto) -> Inferred:
    """Infer the shapes of a model for a batch of one; only fully known ones are returned.

    A free first axis of an input is taken for the batch. The model is not changed.
    """
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
    for tensor in copy.graph.initializer:
        if elements(tensor) > MAX_TELLING_ELEMENTS:
            for name in _VALUES:
                tensor.ClearField(name)
    _stand_in(copy.graph)
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        inferred = copy
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        types[value.name] = value.type.tensor_type.elem_type
        if value.type.tensor_type.HasField("shape"):
            shape = shape_of(value)
            if all(isinstance(axis, int) for axis in shape):
                shapes[value.name] = [axis for axis in shape if isinstance(axis, int)]
    for tensor in model.graph.initializer:
        shapes[tensor.name] = list(tensor.dims)
    for node in model.graph.node:
        held = constant_value(node)
        if held is not None:
            shapes[node.output[0]] = list(held.dims)
    return Inferred(shapes=shapes, types=types)


def peak_activation_bytes(model: onnx.ModelProto, known: Inferred) -> int | None:
    """Return how many bytes of activations live at once at most, one sample at a time.

    An activation lives from the operator that makes it to the last that reads it; inputs from the start and outputs to the
    end. Nothing is taken to be computed in place, as runtimes do where they can.

    Returns
    -------
    int or None
        ``None`` where a shape or type is only known when the model runs, or the model decides then what to compute.
    """
    graph = model.graph
    if any(
        item.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
        for node in graph.node
        for item in node.attribute
    ):
        return None
    constant = constant_names(graph)
    steps = [node for node in graph.node if any(name and name not in constant for name in node.output)]
    last = {name: place for place, node in enumerate(steps) for name in node.input}
    last |= {value.name: len(steps) for value in graph.output}
    sizes: dict[str, int] = {}
    given = [value.name for value in true_inputs(graph)]
    for name in (*given, *(name for node in steps for name in node.output)):
        # An output that nobody reads is not made.
        if name and (name in last or name in given):
            size = _bytes(name, known)
            if size is None:
                return None
            sizes[name] = size
    alive = {name: sizes[name] for name in given if name in sizes}
    peak = sum(alive.values())
    for place, node in enumerate(steps):
        alive |= {name: sizes[name] for name in node.output if name in sizes}
        peak = max(peak, sum(alive.values()))
        for name in {*node.input, *node.output} & alive.keys():
            if last.get(name, -1) <= place:
                del alive[name]
    return peak


def constant_names(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors of a graph that follow from constants alone, which runtimes compute when they load it."""
    names = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" or (node.input and all(not name or name in names for name in node.input)):
            if node.op_type.startswith("Random"):
                continue
            names.update(node.output)
    return names


def _bytes(name: str, known: Inferred) -> int | None:
    shape, kind = known.shapes.get(name), known.types.get(name, 0)
    if shape is None or kind in {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}:
        return None
    bits = PACKED_BITS.get(onnx.TensorProto.DataType.Name(kind))
    if bits is None:
        bits = 8 * int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
    return (prod(shape) * bits + 7) // 8


def _stand_in(graph: onnx.GraphProto) -> None:
    """Put standard operators in the place of onnxruntime's own, so that onnx can infer the shapes behind them."""
    dims = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.domain != MICROSOFT:
            continue
        facts = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if node.op_type in ALIKE:
            _become(node, "Identity", [node.input[0]], node.output[:1])
        elif node.op_type in STANDARD and not facts.get("transA") and not facts.get("transB"):
            kind = STANDARD[node.op_type]
            count = 2 if kind == "MatMul" else 3
            keep = [item for item in node.attribute if kind != "MatMul" and not item.name.startswith("activation")]
            _become(node, kind, node.input[:count], node.output[:1], keep)
        elif node.op_type == "MatMulIntegerToFloat":
            # The types of integers do not fit those of a MatMul; the shapes do.
            _become(node, "MatMulInteger", node.input[:2], node.output[:1])
        elif node.op_type == "MatMulNBits" and {"K", "N"} <= facts.keys():
            _become(node, "MatMul", [node.input[0], _weight(graph, node, [facts["K"], facts["N"]])], node.output[:1])
        elif node.op_type == "DynamicQuantizeLSTM" and len(dims.get(node.input[1], ())) == 3:
            w, r = dims[node.input[1]], dims.get(node.input[2], [0, 0, 0])
            turned = [_weight(graph, node, [w[0], w[2], w[1]], "w"), _weight(graph, node, [r[0], r[2], r[1]], "r")]
            _become(node, "LSTM", [node.input[0], *turned], node.output, list(node.attribute))


def _weight(graph: onnx.GraphProto, node: onnx.NodeProto, shape: Shape, role: str = "") -> str:
    name = f"{node.output[0]}{STAND_IN}{role}"
    graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return name


def _become(
    node: onnx.NodeProto,
    kind: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Sequence[onnx.AttributeProto] = (),
) -> None:
    kept = [onnx.AttributeProto.FromString(item.SerializeToString()) for item in attributes]
    inputs, outputs = list(inputs), list(outputs)
    node.Clear()
    node.op_type = kind
    node.input.extend(inputs)
    node.output.extend(outputs)
    node.attribute.extend(kept)
