"""TensorFlow Lite to ONNX with tf2onnx; integers become QDQ, fp16 weights are widened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from ai_edge_litert.interpreter import Interpreter
from tf2onnx.convert import from_tflite

from edge_ai.engine.convert.base import Conversion, Converted
from edge_ai.engine.convert.tensorflow_onnx import OPSET, converted, finish, rename
from edge_ai.engine.convert.tflite_custom import handlers, safe_interpreter
from edge_ai.engine.evaluate.pairing import pair
from edge_ai.engine.formats.onnx import describe_value
from edge_ai.engine.runtime.base import Tensor


def convert(conversion: Conversion) -> Converted:
    """Write the ONNX file of a TensorFlow Lite file; see :func:`edge_ai.engine.convert.base.convert`."""
    custom = handlers(conversion.source)
    with safe_interpreter():
        model = converted(lambda: from_tflite(str(conversion.source), opset=OPSET, custom_op_handlers=custom or None))
    names = signature_names(conversion.source)
    rename(model.graph, names)
    # The source may be known under names of a signature, or of its tensors.
    found = pair(conversion.inputs, [_tensor(value) for value in model.graph.input])
    return Converted(settings=finish(model, conversion.target, {new: old for old, new in found.items()}))


def signature_names(path: Path) -> Mapping[str, str]:
    """Return what a file's only signature calls the tensors that are its inputs and outputs."""
    interpreter: Any = Interpreter(model_path=str(path))
    signatures = interpreter._get_full_signature_list()
    if len(signatures) != 1:
        return {}
    (signature,) = signatures.values()
    tensors = {item["index"]: item["name"] for item in interpreter.get_tensor_details()}
    return {
        tensors[place]: name
        for kind in ("inputs", "outputs")
        for name, place in signature[kind].items()
        if place in tensors
    }


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    described = describe_value(value)
    shape = described["shape"]
    return Tensor(name=value.name, dtype=described["dtype"], shape=None if shape is None else tuple(shape))
