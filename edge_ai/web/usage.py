"""How an artifact is used where it is taken to: a few lines of code, with its own names in them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_ai.models import Artifact, ArtifactType, Model, seen


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What to do with a file, in which language, and what it needs."""

    words: str
    code: str
    needs: str = ""


ONNX = """import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({file!r}, providers=["CPUExecutionProvider"])
{inputs}
for output, value in zip(session.get_outputs(), session.run(None, inputs)):
    print(output.name, value.shape)
"""
ORT = """import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.load_model_format", "ORT")
session = onnxruntime.InferenceSession({file!r}, options, providers=["CPUExecutionProvider"])
{inputs}
for output, value in zip(session.get_outputs(), session.run(None, inputs)):
    print(output.name, value.shape)
"""
TFLITE = """import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path={file!r})
interpreter.allocate_tensors()
for given in interpreter.get_input_details():
    interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
interpreter.invoke()
for made in interpreter.get_output_details():
    print(made["name"], interpreter.get_tensor(made["index"]).shape)
"""
KERAS = """import keras

model = keras.saving.load_model({file!r})
model.summary()
"""
SAVED_MODEL = """import zipfile
import tensorflow as tf

zipfile.ZipFile({file!r}).extractall("model")
model = tf.saved_model.load("model")
print(model.signatures)
"""
OPENVINO = """import zipfile
from pathlib import Path

import openvino

zipfile.ZipFile({file!r}).extractall("model")
model = openvino.Core().compile_model(next(Path("model").rglob("*.xml")), "CPU")
print(model.inputs, model.outputs)
"""
NCNN = """import zipfile
from pathlib import Path

import ncnn

zipfile.ZipFile({file!r}).extractall("model")
net = ncnn.Net()
net.load_param(str(next(Path("model").rglob("*.param"))))
net.load_model(str(next(Path("model").rglob("*.bin"))))
print(net.input_names(), net.output_names())
"""
RUNS: dict[str, tuple[str, str, str]] = {
    "onnx": ("Runs in ONNX Runtime.", ONNX, "onnxruntime and numpy"),
    "ort": (
        "Runs in ONNX Runtime, which needs no more than the operators of this model.",
        ORT,
        "onnxruntime and numpy",
    ),
    "tflite": ("Runs in LiteRT.", TFLITE, "ai-edge-litert and numpy"),
    "keras": ("Opens in Keras 3.", KERAS, "keras and one of its backends"),
    "saved_model": ("Opens in TensorFlow.", SAVED_MODEL, "tensorflow"),
    "openvino": ("Runs in OpenVINO.", OPENVINO, "openvino"),
    "ncnn": ("Runs in NCNN.", NCNN, "ncnn"),
}
SAMPLES = """import numpy as np

with np.load({file!r}) as samples:
    for name in samples.files:
        print(name, samples[name].shape, samples[name].dtype)
"""
BUNDLE = """unzip {file} -d bundle && cd bundle
sha256sum -c SHA256SUMS
python -m pip install -r requirements.txt
python run.py
"""
CARD = """unzip {file} -d bundle && cd bundle
sha256sum -c SHA256SUMS
less README.md
"""
RECIPE = """python -m edge_ai.engine convert {source} --recipe {file} --output again{suffix}
"""
#: Types of ONNX inputs as NumPy calls them, where that is another name.
NUMPY = {"bool": "bool_", "string": "object_"}


def usage_of(artifact: Artifact, *, runs_here: bool) -> Usage | None:
    """Return how an artifact is used; ``None`` where nothing can be said of it."""
    file = artifact.file_name
    match artifact.artifact_type:
        case ArtifactType.OPTIMIZED_MODEL:
            return _model_usage(artifact.model, file)
        case ArtifactType.BENCHMARK_SAMPLES:
            return Usage(
                words="Every measured latency, for your own statistics.", code=SAMPLES.format(file=file), needs="numpy"
            )
        case ArtifactType.BUNDLE:
            words = "Everything that it takes to run the model somewhere else; README.md inside says what is what."
            return Usage(words=words, code=(BUNDLE if runs_here else CARD).format(file=quoted(file)))
        case ArtifactType.RECIPE:
            return _recipe_usage(artifact, file)
    return None


def _recipe_usage(artifact: Artifact, file: str) -> Usage:
    words = "What was done, with every setting, checksum and version of a library: with the engine it makes the variant again."
    job = artifact.optimization_job
    origin: Model | None = None if job is None else seen(job, "model")
    source = "original.onnx" if origin is None else origin.file_name
    made: Model | None = seen(artifact, "model")
    suffix = "" if made is None else f".{made.file_name.rpartition('.')[2]}"
    code = RECIPE.format(source=quoted(source), file=quoted(file), suffix=suffix)
    return Usage(words=words, code=code, needs="the studio’s engine")


def _model_usage(model: Model, file: str) -> Usage | None:
    known = RUNS.get(model.format)
    if known is None:
        return None
    words, code, needs = known
    return Usage(words=words, code=code.format(file=file, inputs=_inputs(model)), needs=needs)


def _inputs(model: Model) -> str:
    """Return the lines that make up input of the right names, shapes and types; a free axis is 1."""
    lines = ["inputs = {"]
    for each in (model.analysis or {}).get("inputs") or []:
        shape = tuple(axis if isinstance(axis, int) and axis > 0 else 1 for axis in each.get("shape") or ())
        dtype = str(each.get("dtype"))
        dtype = dtype if dtype.isidentifier() else "float32"
        lines.append(f"    {each['name']!r}: np.zeros({shape}, np.{NUMPY.get(dtype, dtype)}),")
    return "\n".join([*lines, "}"])


def quoted(name: str) -> str:
    """Return a text as a shell takes it."""
    return "'" + name.replace("'", "'\\''") + "'"
