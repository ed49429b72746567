"""ONNX to TensorFlow Lite in float32, with onnx2tf's own writer: no TensorFlow is loaded."""

from __future__ import annotations

import shutil

from edge_ai.engine.convert.base import Conversion, Converted
from edge_ai.engine.convert.onnx2tf_run import run_onnx2tf, settings
from edge_ai.engine.errors import UnsupportedError


def convert(conversion: Conversion) -> Converted:
    """Write the float32 file; see :func:`edge_ai.engine.convert.base.convert`."""
    out = run_onnx2tf(conversion, saved_model=False)
    made = next(iter(sorted(out.glob("*_float32.tflite"))), None)
    if made is None:
        raise UnsupportedError(
            "onnx2tf wrote no TensorFlow Lite file for this network.",
            code="unsupported_operator",
            fix="Keep the model as ONNX, or choose OpenVINO as the target format.",
            details={"nearest": {"target_format": "onnx", "precision": "fp16"}},
        )
    shutil.move(made, conversion.target)
    shutil.rmtree(out.parent, ignore_errors=True)
    return Converted(settings=settings())
