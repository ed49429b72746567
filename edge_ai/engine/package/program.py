"""Runs the model that lies beside this file, once or many times, and says what it answered and how long that took.

Needs the runtime and NumPy in the versions of requirements.txt, and nothing else:

    python -m pip install -r requirements.txt
    python run.py                        random input, always the same
    python run.py --input data.npz       one array for each input, under its name
    python run.py --runs 200 --threads 1 --output answers.npz
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

FOLDER = Path(__file__).resolve().parent
WARM_UP_RUNS = 3
# What a free axis is when input is made up: the first is a batch, and those of four are a picture's sides.
PICTURE_SIZE, LENGTH = 224, 128

Run = Callable[[Sequence[Any]], Sequence[Any]]


def load_onnx(path: Path, threads: int | None, manifest: Mapping[str, Any]) -> tuple[Run, str]:
    """Load an ONNX or ORT file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    if manifest["format"] == "ort":
        options.add_session_config_entry("session.load_model_format", "ORT")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        answers: Sequence[Any] = session.run(None, dict(zip(names, arrays, strict=True)))
        return answers

    return run, f"onnxruntime {onnxruntime.__version__}"


def load_tflite(path: Path, threads: int | None, manifest: Mapping[str, Any]) -> tuple[Run, str]:
    """Load a TensorFlow Lite file in LiteRT."""
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count() or 1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shapes = [tuple(item["shape"].tolist()) for item in inputs]

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        for place, array in enumerate(arrays):
            if array.shape != shapes[place]:
                interpreter.resize_tensor_input(inputs[place]["index"], list(array.shape))
                shapes[place] = array.shape
                interpreter.allocate_tensors()
        for item, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(item["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(item["index"]) for item in outputs]

    return run, f"ai-edge-litert {version('ai-edge-litert')}"


def load_openvino(path: Path, threads: int | None, manifest: Mapping[str, Any]) -> tuple[Run, str]:
    """Compile an OpenVINO IR for the CPU."""
    import openvino

    # Without the second hint the plugin may compute in half precision where the processor can.
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", config)
    request = compiled.create_infer_request()

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        answers = request.infer(dict(enumerate(arrays)))
        return [np.array(answers[port]) for port in compiled.outputs]

    return run, f"openvino {openvino.get_version().partition('-')[0]}"


def load_keras(path: Path, threads: int | None, manifest: Mapping[str, Any]) -> tuple[Run, str]:
    """Load a Keras file; one that Keras 2 wrote may need the package tf_keras."""
    tf = _tensorflow(threads)
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError, AttributeError, LookupError) as refusal:
        try:
            import tf_keras
        except ImportError:
            raise refusal from None
        model = tf_keras.models.load_model(str(path), compile=False, safe_mode=True)
    tensors = list(model.inputs)
    form = getattr(model, "_inputs_struct", None)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def answer(*given: Any) -> Any:
        fed: Any = list(given)
        if form is not None:
            fed = tf.nest.pack_sequence_as(form, fed)
        elif len(fed) == 1:
            fed = fed[0]
        return tf.nest.flatten(model(fed, training=False))

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        fed = [tf.constant(array, dtype=tensor.dtype) for array, tensor in zip(arrays, tensors, strict=True)]
        return [item.numpy() for item in answer(*fed)]

    return run, f"tensorflow {tf.__version__}, keras {keras.__version__}"


def load_saved_model(path: Path, threads: int | None, manifest: Mapping[str, Any]) -> tuple[Run, str]:
    """Load a SavedModel's signature."""
    tf = _tensorflow(threads)
    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    key = "serving_default" if "serving_default" in signatures else next(iter(signatures))
    function = signatures[key]
    names = [item["name"] for item in manifest["inputs"]]
    answers = [item["name"] for item in manifest["outputs"]]
    types = {name: tensor.dtype for name, tensor in function.structured_input_signature[1].items()}

    def run(arrays: Sequence[Any], owner: Any = loaded) -> Sequence[Any]:
        # The owner holds the variables, and must live as long as the function.
        fed = {name: tf.constant(array, dtype=types[name]) for name, array in zip(names, arrays, strict=True)}
        found = function(**fed)
        return [found[name].numpy() for name in answers]

    return run, f"tensorflow {tf.__version__}"


def _tensorflow(threads: int | None) -> Any:
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


LOADERS = {
    "onnx": load_onnx,
    "ort": load_onnx,
    "tflite": load_tflite,
    "openvino": load_openvino,
    "keras": load_keras,
    "saved_model": load_saved_model,
}


def made_up(inputs: Sequence[Mapping[str, Any]], seed: int) -> list[Any]:
    """Return random input: floats in [0, 1), integers 0 or 1, every value for integers that stand for real numbers."""
    random = np.random.default_rng(seed)
    return [_made_up(item, random) for item in inputs]


def _made_up(item: Mapping[str, Any], random: Any) -> Any:
    if item["shape"] is None:
        sys.exit(f"The input {item['name']!r} may have any number of axes: give --input with real data.")
    free = PICTURE_SIZE if len(item["shape"]) == 4 else LENGTH
    shape = tuple(
        axis if isinstance(axis, int) and axis > 0 else (1 if place == 0 else free)
        for place, axis in enumerate(item["shape"])
    )
    dtype = item["dtype"]
    if dtype == "string":
        return np.full(shape, "text", dtype=object)
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.startswith("float"):
        return random.random(shape).astype(dtype)
    if item.get("quantization"):
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max + 1, shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)


def read_input(path: Path, inputs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the arrays of an .npz by the names of the inputs; the first samples where there are more than are taken."""
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"{path} cannot be read as an .npz of plain arrays: {error}")
    if len(inputs) == 1 and inputs[0]["name"] not in arrays and len(arrays) == 1:
        arrays = {inputs[0]["name"]: next(iter(arrays.values()))}
    missing = [item["name"] for item in inputs if item["name"] not in arrays]
    if missing:
        sys.exit(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(arrays))}.")
    return [_fitted(arrays[item["name"]], item) for item in inputs]


def _fitted(array: Any, item: Mapping[str, Any]) -> Any:
    shape = item["shape"]
    if shape and array.ndim == len(shape) and isinstance(shape[0], int) and 0 < shape[0] < len(array):
        array = array[: shape[0]]
    if shape is not None and not _fits(array.shape, shape):
        wanted = ", ".join(str(axis) if isinstance(axis, int) and axis > 0 else "any" for axis in shape)
        sys.exit(f"The input {item['name']!r} has the shape ({wanted}); the array given is {array.shape}.")
    if item["dtype"] != "string" and array.dtype.kind not in "biuf":
        sys.exit(f"The input {item['name']!r} is {item['dtype']}; the array given is {array.dtype}.")
    scale = item.get("quantization")
    if scale and array.dtype.kind == "f":
        # Real numbers for an input of integers that stand for such.
        limits = np.iinfo(item["dtype"])
        array = np.clip(np.round(array / scale["scale"]) + scale["zero_point"], limits.min, limits.max)
    return array.astype(object) if item["dtype"] == "string" else array.astype(item["dtype"])


def _fits(given: Sequence[int], declared: Sequence[Any]) -> bool:
    """Tell whether a shape has the declared axes; one that is no number above zero takes any length."""
    return len(given) == len(declared) and all(
        have == want or not (isinstance(want, int) and want > 0) for have, want in zip(given, declared, strict=True)
    )


def main() -> None:
    """Load, run, tell."""
    parser = argparse.ArgumentParser(description="Run the model of this bundle.")
    parser.add_argument("--input", type=Path, help="an .npz with one array for each input; default: random input")
    parser.add_argument("--output", type=Path, help="an .npz to write the answers of the last run to")
    parser.add_argument("--runs", type=int, default=20, help="how many runs are timed; default: 20")
    parser.add_argument("--threads", type=int, help="of one inference; default: as many as the runtime likes")
    parser.add_argument("--seed", type=int, default=0, help="of random input; default: 0")
    given = parser.parse_args()
    if given.runs < 1 or (given.threads is not None and given.threads < 1):
        parser.error("--runs and --threads must be at least 1")
    manifest = json.loads((FOLDER / "bundle.json").read_text(encoding="utf-8"))
    inputs, outputs = manifest["inputs"], manifest["outputs"]
    fed = made_up(inputs, given.seed) if given.input is None else read_input(given.input, inputs)
    begin = time.perf_counter()
    run, runtime = LOADERS[manifest["format"]](FOLDER / manifest["model"], given.threads, manifest)
    load_ms = 1000 * (time.perf_counter() - begin)
    for _ in range(min(WARM_UP_RUNS, given.runs)):
        run(fed)
    taken_ms: list[float] = []
    answers: Sequence[Any] = ()
    for _ in range(given.runs):
        begin = time.perf_counter()
        answers = run(fed)
        taken_ms.append(1000 * (time.perf_counter() - begin))
    names = [item["name"] for item in outputs]
    if given.output is not None:
        np.savez(given.output, **{name: _plain(array) for name, array in zip(names, answers, strict=True)})
    told = {
        "model": manifest["model"],
        "format": manifest["format"],
        "runtime": runtime,
        "input": "random" if given.input is None else str(given.input),
        "inputs": [_told(item["name"], array) for item, array in zip(inputs, fed, strict=True)],
        "outputs": [_told(name, array) for name, array in zip(names, answers, strict=True)],
        "latency_ms": {
            "median": statistics.median(taken_ms),
            "min": min(taken_ms),
            "max": max(taken_ms),
            "runs": given.runs,
        },
        "load_ms": load_ms,
        "threads": given.threads,
    }
    print(json.dumps(told, indent=1))


def _plain(array: Any) -> Any:
    """Return an array that an .npz holds without pickles."""
    array = np.asarray(array)
    return array.astype(str) if array.dtype == object else array


def _told(name: str, array: Any) -> dict[str, Any]:
    array = np.asarray(array)
    return {"name": name, "dtype": "string" if array.dtype.kind in "OSU" else str(array.dtype), "shape": array.shape}


if __name__ == "__main__":
    main()
