"""Honest files of every format, small, made by code."""

from __future__ import annotations

import io
import json
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fuzz.parts import floats as floats
from benchmarks.fuzz.parts import zipped as zipped
from benchmarks.fuzz.tensorflow_seeds import add_node as add_node
from benchmarks.fuzz.tensorflow_seeds import hdf5 as hdf5
from benchmarks.fuzz.tensorflow_seeds import keras_archive as keras_archive
from benchmarks.fuzz.tensorflow_seeds import keras_config as keras_config
from benchmarks.fuzz.tensorflow_seeds import keras_weights as keras_weights
from benchmarks.fuzz.tensorflow_seeds import legacy_h5 as legacy_h5
from benchmarks.fuzz.tensorflow_seeds import saved_model as saved_model
from benchmarks.fuzz.tensorflow_seeds import saved_model_graph as saved_model_graph
from edge_ai.engine.spec import Format


def onnx_model() -> Any:
    """Return a network of a convolution, a branch, a loop, a function of its own, and metadata."""
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    then = helper.make_graph([helper.make_node("Neg", ["d"], ["t"])], "then", [], [value("t", 1, None)])
    other = helper.make_graph([helper.make_node("Identity", ["d"], ["e"])], "else", [], [value("e", 1, None)])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Mul", ["h", "two"], ["k"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("h", 1, [1, 4])],
        [value("on", TensorProto.BOOL, []), value("k", 1, [1, 4])],
    )
    scaled = helper.make_function(
        "local", "Scaled", ["a"], ["b"], [helper.make_node("Mul", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [
        helper.make_node("Conv", ["x", "cw", "cb"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["d"]),
        helper.make_node("If", ["flag"], ["g"], then_branch=then, else_branch=other),
        helper.make_node("Loop", ["three", "flag", "g"], ["l"], body=body),
        helper.make_node("Scaled", ["l"], ["s"], domain="local"),
        helper.make_node("Reshape", ["s", "shape"], ["p"]),
        helper.make_node("Softmax", ["p"], ["y"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(floats(2, 1, 3, 3, seed=1), "cw"),
        numpy_helper.from_array(floats(2, seed=2), "cb"),
        numpy_helper.from_array(floats(18, 4, seed=3), "w"),
        numpy_helper.from_array(np.array(2, np.float32), "two"),
        numpy_helper.from_array(np.array(3, np.int64), "three"),
        numpy_helper.from_array(np.array(True), "flag"),
        numpy_helper.from_array(np.array([1, 4], np.int64), "shape"),
    ]
    graph = helper.make_graph(nodes, "seed", [value("x", 1, ["batch", 1, 6, 6])], [value("y", 1, [1, 4])], weights)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        functions=[scaled],
        producer_name="seed",
    )
    model.ir_version = 9
    model.metadata_props.add(key="task", value="none")
    return model


def dense_onnx() -> Any:
    """Return one dense layer, 4 → 3."""
    from onnx import helper, numpy_helper

    value = helper.make_tensor_value_info
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Sigmoid", ["h"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "dense",
        [value("x", 1, ["n", 4])],
        [value("y", 1, ["n", 3])],
        [numpy_helper.from_array(floats(4, 3), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model


def _onnx() -> list[bytes]:
    outside = dense_onnx()
    tensor = outside.graph.initializer[0]
    weights = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="weights.bin")
    packed = zipped({"model.onnx": outside.SerializeToString(), "weights.bin": weights})
    return [onnx_model().SerializeToString(), dense_onnx().SerializeToString(), packed]


def _ort() -> list[bytes]:
    import onnxruntime

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate((onnx_model(), dense_onnx())):
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.optimized_model_filepath = str(Path(folder) / f"{number}.ort")
            options.add_session_config_entry("session.save_model_format", "ORT")
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            found.append(Path(options.optimized_model_filepath).read_bytes())
    return found


def tflite_model(*, change: Callable[[Any], None] | None = None) -> bytes:
    """Return a network of a convolution and a dense layer; ``change`` is given the schema's object before it is packed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, shape: list[int], buffer: int, kind: int = schema.TensorType.FLOAT32) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name.encode(), np.array(shape, np.int32), buffer, kind
        return made

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, np.array(inputs, np.int32), np.array(outputs, np.int32)
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    conv, dense = schema.Conv2DOptionsT(), schema.FullyConnectedOptionsT()
    conv.strideW = conv.strideH = conv.dilationWFactor = conv.dilationHFactor = 1
    conv.padding = schema.Padding.SAME
    buffers = []
    for content in (
        b"",
        floats(2, 3, 3, 1).tobytes(),
        floats(2).tobytes(),
        floats(4, 32).tobytes(),
        floats(4).tobytes(),
    ):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8) if content else None
        buffers.append(buffer)
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = [
        tensor("x", [1, 4, 4, 1], 0),
        tensor("cw", [2, 3, 3, 1], 1),
        tensor("cb", [2], 2),
        tensor("c", [1, 4, 4, 2], 0),
        tensor("dw", [4, 32], 3),
        tensor("db", [4], 4),
        tensor("y", [1, 4], 0),
    ]
    graph.inputs, graph.outputs = np.array([0], np.int32), np.array([6], np.int32)
    graph.operators = [
        operator(0, [0, 1, 2], [3], schema.BuiltinOptions.Conv2DOptions, conv),
        operator(1, [3, 4, 5], [6], schema.BuiltinOptions.FullyConnectedOptions, dense),
    ]
    codes = []
    for number in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        codes.append(code)
    model = schema.ModelT()
    model.version, model.description = 3, b"seed"
    model.operatorCodes, model.subgraphs, model.buffers = codes, [graph], buffers
    if change is not None:
        change(model)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def openvino_model(*, change: Callable[[str], str] = lambda text: text) -> bytes:
    """Return a zipped OpenVINO model; ``change`` is given its ``.xml``."""
    from edge_ai.engine.runtime.openvino import openvino

    op = openvino.opset13
    x = op.parameter([1, 4], np.float32, name="x")
    y = op.relu(op.matmul(x, op.constant(floats(4, 3)), False, False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(openvino.Model([y], [x], "seed"), path, compress_to_fp16=False)
        text = change(path.read_text(encoding="utf-8"))
        return zipped({"model.xml": text.encode(), "model.bin": path.with_suffix(".bin").read_bytes()})


def gguf(*, version: int = 3, tensors: int = 1, entries: int = 2) -> bytes:
    """Return a GGUF file; the counts are what its header claims."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", version, tensors, entries)
    head += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    head += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    head += text("w") + struct.pack("<I", 2) + struct.pack("<QQ", 4, 3) + struct.pack("<IQ", 0, 0)
    return head + bytes(-len(head) % 32) + bytes(floats(4, 3).tobytes())


def coreml_spec() -> bytes:
    """Return a Core ML specification of one dense layer."""
    from edge_ai.engine.formats.coreml import load_messages

    spec = load_messages().Model()
    spec.specificationVersion = 4
    for side, name, size in ((spec.description.input, "x", 4), (spec.description.output, "y", 3)):
        array = side.add(name=name).type.multiArrayType
        array.shape.append(size)
        array.dataType = 65568
    layer = spec.neuralNetwork.layers.add(name="dense", input=["x"], output=["y"])
    layer.innerProduct.inputChannels, layer.innerProduct.outputChannels = 4, 3
    layer.innerProduct.weights.floatValue.extend(floats(12).tolist())
    return bytes(spec.SerializeToString())


def _coreml() -> list[bytes]:
    package = {"m/Manifest.json": b"{}", "m/Data/com.apple.CoreML/model.mlmodel": coreml_spec()}
    return [coreml_spec(), zipped(package)]


PARAM: Final = """7767517
3 3
Input x 0 1 x 0=4
InnerProduct dense 1 1 x h 0=3 1=1 2=12
ReLU relu 1 1 h y
"""


def ncnn_model(param: str = PARAM) -> bytes:
    """Return a zipped NCNN model."""
    return zipped({"model.param": param.encode(), "model.bin": bytes(4) + floats(12).tobytes() + floats(3).tobytes()})


def safetensors(header: Mapping[str, Any] | None = None, data: bytes = bytes(48)) -> bytes:
    """Return weights as safetensors keep them."""
    given = header or {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]},
    }
    text = json.dumps(given).encode()
    return struct.pack("<Q", len(text)) + text + data


def dataset(**arrays: Any) -> bytes:
    """Return a data set."""
    held = io.BytesIO()
    np.savez_compressed(held, allow_pickle=False, **(arrays or {"x": floats(6, 4), "labels": np.arange(6)}))
    return held.getvalue()


SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "onnx": _onnx,
    "ort": _ort,
    "tflite": lambda: [tflite_model()],
    "keras": lambda: [keras_archive()],
    "h5": lambda: [legacy_h5()],
    "saved_model": lambda: [saved_model()],
    "openvino": lambda: [openvino_model()],
    "gguf": lambda: [gguf()],
    "coreml": _coreml,
    "ncnn": lambda: [ncnn_model()],
    "safetensors": lambda: [safetensors()],
    "npz": lambda: [dataset()],
}
#: What each is taken for; a data set is no model.
FORMATS: Final[dict[str, Format | None]] = {
    "onnx": Format.ONNX,
    "ort": Format.ORT,
    "tflite": Format.TFLITE,
    "keras": Format.KERAS,
    "h5": Format.KERAS,
    "saved_model": Format.SAVED_MODEL,
    "openvino": Format.OPENVINO,
    "gguf": Format.GGUF,
    "coreml": Format.COREML,
    "ncnn": Format.NCNN,
    "safetensors": Format.OTHER,
    "npz": None,
}
