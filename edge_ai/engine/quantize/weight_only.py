"""ONNX weights stored in 8 bits and widened when the model loads: the size of int8 at the speed of float.

A weight becomes integers, or 8-bit floats, and a Cast and a Mul with its scales. onnxruntime computes both once, when it loads
the model; a DequantizeLinear would be computed at every run instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edge_ai.engine.convert.onnx_prepare import drop_weight_inputs, lift_constants, raise_opset
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import elements, opset_of, read_model, subgraphs, write_model
from edge_ai.engine.quantize.fp16 import halve_weights

#: Below this many numbers, what widens them takes more room than it saves.
MIN_ELEMENTS: Final = 512
#: The axis along which an operator's weight has a scale of its own, its output channels, where that is not the first.
CHANNEL_AXIS: Final = {"ConvTranspose": 1, "MatMul": -1, "Gemm": -1, "LSTM": 1, "GRU": 1, "RNN": 1}
FP8_OPSET: Final = 19
INT8_MAX: Final = 127
FP8_MAX: Final = 448.0
WIDEN: Final = "::widen"

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Narrowed:
    """How many weights were stored in 8 bits, and how many bytes of float32 they were."""

    weights: int
    bytes_before: int


def store_weights_as_int8(source: Path, target: Path, *, per_channel: bool, spare: Sequence[str] = ()) -> Narrowed:
    """Write a model whose float32 weights are int8 with float32 scales.

    Parameters
    ----------
    per_channel
        One scale for each output channel instead of one for the whole weight.
    spare
        Names of nodes, or operators, whose weights stay as they are.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize``.
    """
    model = _prepared(source)
    done = narrow_weights(model, _to_int8, per_channel=per_channel, spare=spare)
    return _written(model, target, done)


def store_weights_as_fp8(source: Path, target: Path, *, per_channel: bool, spare: Sequence[str] = ()) -> Narrowed:
    """Write a model whose float32 weights are float8e4m3fn with float32 scales.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize``; ``unsupported_conversion`` where the operators cannot be raised to opset 19.
    """
    model = _prepared(source)
    if (opset_of(model) or 0) < FP8_OPSET:
        raised = raise_opset(model, FP8_OPSET)
        if raised is None:
            raise UnsupportedError(
                f"8-bit floats take opset {FP8_OPSET}, and the model's operators cannot be raised to it.",
                code="unsupported_conversion",
                fix="Choose int8 with weight_only, or export the model with a newer opset.",
                details={"nearest": {"target_format": "onnx", "precision": "int8"}},
            )
        model = raised
    done = narrow_weights(model, _to_fp8, per_channel=per_channel, spare=spare)
    return _written(model, target, done)


def narrow_weights(
    model: onnx.ModelProto,
    encode: Callable[[str, Array, Array], onnx.TensorProto],
    *,
    per_channel: bool,
    spare: Sequence[str] = (),
) -> Narrowed:
    """Store a model's weights in 8 bits, in place."""
    count = before = 0
    for graph in subgraphs(model.graph):
        axes = _channel_axes(graph, set(spare))
        widening: list[onnx.NodeProto] = []
        for tensor in list(graph.initializer):
            if tensor.name not in axes or tensor.data_type != onnx.TensorProto.FLOAT or elements(tensor) < MIN_ELEMENTS:
                continue
            values = numpy_helper.to_array(tensor)
            # What scales, shifts or normalizes channels is a vector, whose values may lie far apart: it stays in float.
            if values.size == max(values.shape) or not np.isfinite(values).all():
                continue
            before += values.nbytes
            count += 1
            widening += _narrow(graph, tensor, values, axes[tensor.name] if per_channel else None, encode)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
        del graph.node[:]
        graph.node.extend([*widening, *copies])
    return Narrowed(weights=count, bytes_before=before)


def narrow_spared(model: onnx.ModelProto, names: Sequence[str]) -> Narrowed:
    """Store the weights of some nodes as int8, in place: layers that compute in float need not be large."""
    kept = {node.name for node in model.graph.node} - set(names)
    return (
        narrow_weights(model, _to_int8, per_channel=True, spare=sorted(kept))
        if names
        else Narrowed(weights=0, bytes_before=0)
    )


def narrow_tables(model: onnx.ModelProto, spare: Sequence[str] = ()) -> Narrowed:
    """Store the tables that rows are looked up in, embeddings, as int8 with a scale for each row, in place."""
    looked_up = {node.name for node in model.graph.node if node.op_type == "Gather"} - set(spare)
    return narrow_spared(model, () if "Gather" in spare else sorted(looked_up))


def _prepared(source: Path) -> onnx.ModelProto:
    model = read_model(source)
    drop_weight_inputs(model)
    lift_constants(model)
    return model


def _written(model: onnx.ModelProto, target: Path, done: Narrowed) -> Narrowed:
    if done.weights == 0:
        raise UnsupportedError(
            "The model has no float32 weights that would be smaller in 8 bits.",
            code="nothing_to_quantize",
            fix="Choose fp16, or keep the model as it is.",
            details={"nearest": {"target_format": "onnx", "precision": "fp16"}},
        )
    # What is left in float is stored in half the room; scales are small enough to be left alone.
    halve_weights(model)
    write_model(model, target)
    return done


def _channel_axes(graph: onnx.GraphProto, spare: set[str]) -> dict[str, int]:
    """Return the tensors of a graph that may be narrowed, with the axis of their channels.

    What reads them does not matter, since they are widened again before; operators that are not known have their channels
    first.
    """
    outputs = {value.name for value in graph.output}
    axes: dict[str, int] = {}
    spared: set[str] = set()
    for inner in subgraphs(graph):
        for node in inner.node:
            transposed = node.op_type == "Gemm" and any(item.name == "transB" and item.i for item in node.attribute)
            for name in node.input:
                axes.setdefault(name, 0 if transposed else CHANNEL_AXIS.get(node.op_type, 0))
                if spare & {node.name, node.op_type}:
                    spared.add(name)
    return {name: axis for name, axis in axes.items() if name not in spared | outputs}


def _narrow(
    graph: onnx.GraphProto,
    tensor: onnx.TensorProto,
    values: Array,
    axis: int | None,
    encode: Callable[[str, Array, Array], onnx.TensorProto],
) -> list[onnx.NodeProto]:
    """Replace a weight by its narrow form and return the nodes that widen it."""
    name = tensor.name
    if axis is None or values.ndim < 2:
        peaks = np.abs(values).max(keepdims=True).reshape([1] * values.ndim)
    else:
        others = tuple(place for place in range(values.ndim) if place != axis % values.ndim)
        peaks = np.abs(values).max(axis=others, keepdims=True)
    peaks = np.where(peaks > 0, peaks, 1.0).astype(np.float32)
    narrow, scale = encode(f"{name}::8bit", values, peaks), f"{name}::scale"
    tensor.CopyFrom(narrow)
    limit = FP8_MAX if narrow.data_type == onnx.TensorProto.FLOAT8E4M3FN else INT8_MAX
    graph.initializer.append(numpy_helper.from_array((peaks / np.float32(limit)).astype(np.float32), scale))
    wide = f"{name}::wide"
    return [
        helper.make_node("Cast", [narrow.name], [wide], name=f"{name}{WIDEN}", to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [wide, scale], [name], name=f"{name}::scaled"),
    ]


def _to_int8(name: str, values: Array, peaks: Array) -> onnx.TensorProto:
    integers = np.clip(np.rint(values / peaks * INT8_MAX), -INT8_MAX, INT8_MAX).astype(np.int8)
    return numpy_helper.from_array(integers, name)


def _to_fp8(name: str, values: Array, peaks: Array) -> onnx.TensorProto:
    scaled = np.clip(values / peaks * FP8_MAX, -FP8_MAX, FP8_MAX)
    dtype = helper.tensor_dtype_to_np_dtype(onnx.TensorProto.FLOAT8E4M3FN)
    return numpy_helper.from_array(scaled.astype(dtype), name)
