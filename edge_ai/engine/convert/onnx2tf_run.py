"""onnx2tf: from ONNX to TensorFlow Lite without TensorFlow, and to a SavedModel with it."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

from edge_ai.engine.convert.base import Conversion
from edge_ai.engine.convert.onnx_prepare import (
    drop_unused_domains,
    drop_weight_inputs,
    fold,
    lift_constants,
    raise_opset,
)
from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.formats.onnx import opset_of, read_model, subgraphs, true_inputs, write_model
from edge_ai.engine.installed import version_of
from edge_ai.engine.quantize.trial import QUANTIZER_FAILURES

BRANCHES: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
OLDEST_OPSET: Final = 11
TOOL: Final = "onnx2tf"
#: What onnx2tf computes with the channels last, and what passes that on.
CHANNELS_LAST: Final = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "BatchNormalization",
        "InstanceNormalization",
        "Resize",
        "DepthToSpace",
        "SpaceToDepth",
    }
)
KEEPS_LAYOUT: Final = frozenset(
    {
        "Add",
        "Cast",
        "Clip",
        "Concat",
        "Div",
        "Elu",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Split",
        "Sub",
        "Tanh",
    }
)
#: From here on it matters where the channels are: batch, channels, length.
LEAST_AXES_WITH_LAYOUT: Final = 3

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
_MAX_MESSAGE: Final = 300
# It raises whatever its parts raise, and leaves with sys.exit where it gives up.
_FAILURES: Final = (*QUANTIZER_FAILURES, OSError, SystemExit)


def run_onnx2tf(conversion: Conversion, *, saved_model: bool) -> Path:
    """Convert an ONNX file and return the folder with what onnx2tf wrote.

    The layout of every input stays as it is, free sizes become those of the sample, and names are kept.

    Raises
    ------
    UnsupportedError
        ``unsupported_operator`` naming what onnx2tf cannot express.
    """
    folder = conversion.workdir / "onnx2tf"
    folder.mkdir(exist_ok=True)
    source = folder / "model.onnx"
    model = _prepare(conversion)
    if saved_model:
        _plain_names(model)
    # onnx2tf rewrites its input in place: it gets a copy.
    write_model(model, source)
    from onnx2tf import convert

    said = io.StringIO()
    mending = _mended() if saved_model else contextlib.nullcontext()
    try:
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            _within(folder),
            _no_progress(),
            mending,
        ):
            convert(
                input_onnx_file_path=str(source),
                output_folder_path=str(folder / "out"),
                tflite_backend="flatbuffer_direct",
                flatbuffer_direct_output_saved_model=saved_model,
                not_use_onnxsim=True,
                copy_onnx_input_output_names_to_tflite=True,
                keep_shape_absolutely_input_names=[value.name for value in true_inputs(model.graph)],
                non_verbose=True,
            )
    except _FAILURES as error:
        raise _refusal(error, said.getvalue()) from None
    return folder / "out"


def settings() -> dict[str, Any]:
    """Return what the recipe says of the tool."""
    return {"converter": TOOL, "version": version_of(TOOL), "backend": "flatbuffer_direct"}


def _prepare(conversion: Conversion) -> onnx.ModelProto:
    """Return the graph with fixed sizes, its weights where onnx2tf looks for them, and no branches."""
    model = read_model(conversion.source)
    found = {node.op_type for graph in subgraphs(model.graph) for node in graph.node}
    branches = sorted(found & BRANCHES)
    if branches:
        raise UnsupportedError(
            f"The model decides while it runs what to compute ({', '.join(branches)}), which TensorFlow Lite cannot express "
            "here.",
            code="unsupported_operator",
            fix="Export the model without control flow, or keep it as ONNX.",
            details={"operators": branches, "nearest": {"target_format": "onnx", "precision": "int8_dynamic"}},
        )
    drop_weight_inputs(model)
    lift_constants(model)
    if (opset_of(model) or 0) < OLDEST_OPSET:
        model = raise_opset(model, OLDEST_OPSET) or model
    _fix_sizes(model, conversion)
    _narrow_doubles(model)
    _drop_lone_joins(model)
    model = _folded(model, conversion.workdir)
    _pin_layouts(model)
    return model


def _pin_layouts(model: onnx.ModelProto) -> None:
    """Reshape each output of several axes to its own shape, where that is known.

    onnx2tf computes with the channels last, and hands out what comes of a convolution like that; a Reshape makes it put the
    channels back first. Answers that come from elsewhere are right, and are left alone.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    for number, value in enumerate(model.graph.output):
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if len(shape) < LEAST_AXES_WITH_LAYOUT or min(shape) <= 0 or not _has_channels_last(value.name, makers):
            continue
        # onnx2tf tells names apart by their first part alone.
        inner, target = f"laid_out_{number}", f"laid_out_shape_{number}"
        for node in model.graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == value.name:
                        names[place] = inner
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), target))
        model.graph.node.append(
            onnx.helper.make_node("Reshape", [inner, target], [value.name], name=f"lay_out_{number}")
        )


def _has_channels_last(name: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a tensor comes from an operator that computes with the channels last, through others that keep the layout."""
    waiting, seen = [name], set[str]()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type in CHANNELS_LAST:
            return True
        if node.op_type in KEEPS_LAYOUT:
            waiting.extend(node.input)
    return False


def _narrow_doubles(model: onnx.ModelProto) -> None:
    """Compute in float32 what the network computes in float64, for which LiteRT has few kernels."""
    double, single = onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT
    for graph in subgraphs(model.graph):
        for tensor in graph.initializer:
            if tensor.data_type == double:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
        for value in (*graph.output, *graph.input, *graph.value_info):
            if value.type.tensor_type.elem_type == double:
                value.type.tensor_type.elem_type = single
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == double:
                    attribute.i = single
                elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == double:
                    narrowed = numpy_helper.to_array(attribute.t).astype(np.float32)
                    attribute.t.CopyFrom(numpy_helper.from_array(narrowed, attribute.t.name))


def _drop_lone_joins(model: onnx.ModelProto) -> None:
    """Turn a Concat of one tensor into what it does; onnx2tf makes a custom operator of it."""
    for graph in subgraphs(model.graph):
        for node in graph.node:
            if node.op_type == "Concat" and len(node.input) == 1:
                node.op_type = "Identity"
                del node.attribute[:]


def _fix_sizes(model: onnx.ModelProto, conversion: Conversion) -> None:
    """Give every free axis of the inputs the sample's size; inferred shapes are forgotten, since they contradict that."""
    fixed = False
    for value in true_inputs(model.graph):
        shape = value.type.tensor_type.shape
        sample = None if conversion.sample is None else conversion.sample.get(value.name)
        for place, axis in enumerate(shape.dim):
            if axis.dim_value > 0:
                continue
            known = sample is not None and sample.ndim == len(shape.dim)
            axis.dim_value = int(sample.shape[place]) if known and sample is not None else 1
            fixed = True
    if not fixed:
        return
    del model.graph.value_info[:]
    for value in model.graph.output:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_value <= 0:
                axis.Clear()


def _folded(model: onnx.ModelProto, workdir: Path) -> onnx.ModelProto:
    """Compute what the fixed sizes made constant, such as the targets of Reshape; the graph itself where that fails."""
    before, after = workdir / "fixed.onnx", workdir / "folded.onnx"
    write_model(model, before)
    if fold(before, after):
        model = read_model(after)
        lift_constants(model)
        drop_unused_domains(model)
        after.unlink()
    before.unlink()
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return model


def _plain_names(model: onnx.ModelProto) -> None:
    """Give inputs, outputs and nodes names that TensorFlow takes as they are, lest onnx2tf lose sight of them.

    ``x:0`` becomes ``x__0``, as TensorFlow's own tools have it; other signs become underscores.
    """
    graph = model.graph
    renamed = {
        value.name: re.sub(r"[^A-Za-z0-9_.]", "_", value.name.replace(":", "__"))
        for value in (*graph.input, *graph.output)
    }
    if len(set(renamed.values())) < len(renamed):
        return
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = renamed.get(value.name, value.name)
    for place, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{place}"
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)


def _refusal(error: BaseException, said: str) -> EngineError:
    lines = [_ANSI.sub("", line).strip() for line in said.splitlines()]
    told = [line for line in lines if re.search(r"error|unsupported|not supported|failed", line, re.IGNORECASE)]
    text = " ".join(str(error).split()) if not isinstance(error, SystemExit) else ""
    reason = text or (told[-1] if told else type(error).__name__)
    operators = sorted(set(re.findall(r"op_type[=: ]+'?\"?(\w+)", said + text)))[:10]
    named = f" (operators: {', '.join(operators)})" if operators else ""
    return UnsupportedError(
        f"onnx2tf cannot convert this network{named}: {reason[:_MAX_MESSAGE]}",
        code="unsupported_operator",
        fix="Keep the model as ONNX, or choose OpenVINO as the target format.",
        details={"operators": operators, "nearest": {"target_format": "onnx", "precision": "fp16"}},
    )


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    """Work in a folder of its own: onnx2tf leaves files where it is."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _no_progress() -> Iterator[None]:
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before


@contextlib.contextmanager
def _mended() -> Iterator[None]:
    """Compute depthwise convolutions rightly: onnx2tf's own hands four dilations to a function that takes two."""
    # Loads TensorFlow.
    from onnx2tf.tflite_builder import saved_model_exporter as exporter

    kernels = exporter._REGISTERED_KERNELS
    before = kernels["DEPTHWISE_CONV_2D"]
    kernels["DEPTHWISE_CONV_2D"] = _depthwise
    try:
        yield
    finally:
        kernels["DEPTHWISE_CONV_2D"] = before


def _depthwise(executor: Any, operator: Any, env: Any) -> None:
    """Compute TensorFlow Lite's DEPTHWISE_CONV_2D in TensorFlow, whose strides must be equal: others are taken after it."""
    # Loaded already where this is called.
    import tensorflow as tf
    from onnx2tf.tflite_builder.saved_model_exporter import _apply_fused_activation

    x, filters = (executor._resolve_tensor(name, env) for name in operator.inputs[:2])
    option = operator.options.get
    strides = (int(option("strideH", 1)), int(option("strideW", 1)))
    dilations = (int(option("dilationHFactor", 1)), int(option("dilationWFactor", 1)))
    padding = str(option("padding", "SAME")).upper()
    height, width = int(filters.shape[1]), int(filters.shape[2])
    channels = int(x.shape[3])
    kernel = tf.reshape(filters, [height, width, channels, int(filters.shape[3]) // channels])
    if strides[0] == strides[1]:
        y = tf.nn.depthwise_conv2d(x, kernel, strides=[1, *strides, 1], dilations=dilations, padding=padding)
    else:
        if padding == "SAME":
            sizes = zip(x.shape[1:3], (height, width), strides, dilations, strict=True)
            x = tf.pad(x, [[0, 0], *(_same_padding(*item) for item in sizes), [0, 0]])
        y = tf.nn.depthwise_conv2d(x, kernel, strides=[1, 1, 1, 1], dilations=dilations, padding="VALID")
        y = y[:, :: strides[0], :: strides[1], :]
    bias = executor._resolve_optional_tensor(operator.inputs[2], env) if len(operator.inputs) > 2 else None
    if bias is not None:
        y = tf.nn.bias_add(y, bias)
    executor._assign_outputs(
        operator, [_apply_fused_activation(y, str(option("fusedActivationFunction", "NONE")))], env
    )


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> list[int]:
    """Return what TensorFlow's ``SAME`` adds before and behind an axis."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-int(size) // stride) - 1) * stride + reach - int(size), 0)
    return [total // 2, total - total // 2]
