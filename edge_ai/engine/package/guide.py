"""What it takes to run each format: which distributions, and how it is loaded. Read by people, in a bundle's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edge_ai.engine.spec import Format

RUNTIMES: Final[Mapping[Format, tuple[str, ...]]] = {
    Format.ONNX: ("onnxruntime",),
    Format.ORT: ("onnxruntime",),
    Format.TFLITE: ("ai-edge-litert",),
    Format.OPENVINO: ("openvino",),
    Format.KERAS: ("tensorflow", "keras"),
    Format.SAVED_MODEL: ("tensorflow",),
    Format.COREML: ("coremltools",),
    Format.NCNN: ("ncnn",),
    Format.GGUF: ("gguf",),
}
"""What a program that opens the model installs, beside NumPy. TensorRT comes with the device."""

SNIPPETS: Final[Mapping[Format, str]] = {
    Format.ONNX: """\
import onnxruntime

session = onnxruntime.InferenceSession("{model}", providers=["CPUExecutionProvider"])
answers = session.run(None, {{item.name: array for item, array in zip(session.get_inputs(), arrays)}})""",
    Format.ORT: """\
import onnxruntime

options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.load_model_format", "ORT")
session = onnxruntime.InferenceSession("{model}", options, providers=["CPUExecutionProvider"])
answers = session.run(None, {{item.name: array for item, array in zip(session.get_inputs(), arrays)}})""",
    Format.TFLITE: """\
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("{model}")
interpreter.allocate_tensors()
for item, array in zip(interpreter.get_input_details(), arrays):
    interpreter.set_tensor(item["index"], array)
interpreter.invoke()
answers = [interpreter.get_tensor(item["index"]) for item in interpreter.get_output_details()]""",
    Format.OPENVINO: """\
import openvino

model = openvino.Core().compile_model("{model}", "CPU")
answers = model(arrays)""",
    Format.KERAS: """\
import keras

model = keras.saving.load_model("{model}", compile=False)
answers = model.predict(arrays)""",
    Format.SAVED_MODEL: """\
import tensorflow as tf

model = tf.saved_model.load("{model}")
answers = next(iter(model.signatures.values()))(**inputs_by_name)""",
    Format.COREML: """\
import coremltools  # predicts on macOS only

model = coremltools.models.MLModel("{model}")
answers = model.predict(inputs_by_name)""",
    Format.NCNN: """\
import ncnn

net = ncnn.Net()
net.load_param("{model}")
net.load_model("model.bin")
extractor = net.create_extractor()
extractor.input(input_name, ncnn.Mat(array))
status, answer = extractor.extract(output_name)""",
    Format.GGUF: "llama-cli --model {model}",
    Format.TENSORRT: "trtexec --loadEngine={model}",
    Format.OTHER: """\
from safetensors.numpy import load_file

weights = load_file("{model}")  # the network that they belong to is not in the file""",
}
WHERE: Final[Mapping[Format, str]] = {
    Format.COREML: "Core ML runs on Apple's devices. On a Mac, with coremltools:",
    Format.NCNN: "NCNN is for phones and boards; its Python binding shows how the two files are opened:",
    Format.GGUF: "GGUF is for llama.cpp and what is built on it:",
    Format.TENSORRT: "A TensorRT engine runs on the kind of GPU, and in the version of TensorRT, that it was built with:",
    Format.OTHER: "The file holds weights alone; whoever has the network's code loads them into it:",
}
"""Of the formats that run elsewhere only."""


def distributions(format: Format, analysis: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what has to be installed to open a model, NumPy included."""
    found = RUNTIMES.get(format, ())
    if format is Format.KERAS and str(analysis.get("producer") or "").startswith("keras 2"):
        found = (*found, "tf_keras")
    return (*found, "numpy") if found else ()


def snippet(format: Format, model: str) -> str:
    """Return the lines that load and run a model."""
    return SNIPPETS[format].format(model=model)
