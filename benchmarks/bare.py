"""The bare library calls that a person would write in a script: ``python -m benchmarks.bare CASE MODEL OUT [SAMPLES COUNT]``.

Prints one JSON object: the seconds that the call itself took, after all imports, for each of ``--repeat`` runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def samples_of(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the calibration samples, one feed each, with a leading axis of 1."""
    import numpy as np

    with np.load(arguments.samples, allow_pickle=False) as arrays:
        inputs = {name: arrays[name][: arguments.count] for name in arrays.files if name != "labels"}
    for row in range(len(next(iter(inputs.values())))):
        yield {name: array[row : row + 1] for name, array in inputs.items()}


def onnx_int8(arguments: argparse.Namespace) -> Callable[[], object]:
    """Static int8 by onnxruntime: QDQ, uint8 activations, int8 weights per channel, MinMax."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.feeds = samples_of(arguments)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    return lambda: quantize_static(
        arguments.model,
        arguments.out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=arguments.per_channel,
    )


def onnx_int8_dynamic(arguments: argparse.Namespace) -> Callable[[], object]:
    """Dynamic int8 by onnxruntime."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    return lambda: quantize_dynamic(
        arguments.model, arguments.out, weight_type=QuantType.QUInt8, op_types_to_quantize=["MatMul", "Gemm", "LSTM"]
    )


def saved_model_tflite(arguments: argparse.Namespace) -> Callable[[], object]:
    """Fp16, or int8 with samples, by TensorFlow's converter."""
    import tensorflow as tf

    folder = arguments.out.with_suffix(".model")
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(arguments.model) as archive:
        archive.extractall(folder)
    root = next(folder.rglob("saved_model.pb")).parent

    def convert() -> None:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(root))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if arguments.samples:
            converter.representative_dataset = lambda: samples_of(arguments)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        else:
            converter.target_spec.supported_types = [tf.float16]
        arguments.out.write_bytes(converter.convert())

    return convert


def onnx_tflite(arguments: argparse.Namespace) -> Callable[[], object]:
    """Float32 TensorFlow Lite by onnx2tf."""
    import onnx
    from onnx2tf import convert

    copy = arguments.out.with_suffix(".copy.onnx")
    shutil.copy(arguments.model, copy)
    names = [value.name for value in onnx.load(copy).graph.input]
    return lambda: convert(
        input_onnx_file_path=str(copy),
        output_folder_path=str(arguments.out.with_suffix(".out")),
        tflite_backend="flatbuffer_direct",
        not_use_onnxsim=True,
        copy_onnx_input_output_names_to_tflite=True,
        keep_shape_absolutely_input_names=names,
        non_verbose=True,
    )


def onnx_openvino(arguments: argparse.Namespace) -> Callable[[], object]:
    """Fp16 weights by OpenVINO."""
    import openvino

    return lambda: openvino.save_model(openvino.convert_model(arguments.model), arguments.out.with_suffix(".xml"))


CASES: dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {
    "onnx-int8": onnx_int8,
    "onnx-int8-dynamic": onnx_int8_dynamic,
    "saved-model-tflite": saved_model_tflite,
    "onnx-tflite": onnx_tflite,
    "onnx-openvino": onnx_openvino,
}


def main() -> int:
    """Do one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("samples", type=Path, nargs="?")
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--per-channel", action="store_true")
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    call = CASES[arguments.case](arguments)
    seconds = []
    for _ in range(arguments.repeat):
        began = time.monotonic()
        with contextlib.redirect_stdout(sys.stderr):
            call()
        seconds.append(time.monotonic() - began)
    print(json.dumps({"seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
