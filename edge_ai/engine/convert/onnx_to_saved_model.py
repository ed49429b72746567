"""ONNX to a TensorFlow SavedModel in float32, with onnx2tf."""

from __future__ import annotations

import shutil

from edge_ai.engine.convert.base import Conversion, Converted
from edge_ai.engine.convert.onnx2tf_run import run_onnx2tf, settings
from edge_ai.engine.errors import UnsupportedError


def convert(conversion: Conversion) -> Converted:
    """Write the folder of the SavedModel; see :func:`edge_ai.engine.convert.base.convert`."""
    out = run_onnx2tf(conversion, saved_model=True)
    if not (out / "saved_model.pb").is_file():
        raise UnsupportedError(
            "onnx2tf wrote no SavedModel for this network.",
            code="unsupported_operator",
            fix="Keep the model as ONNX, or choose TensorFlow Lite as the target format.",
            details={"nearest": {"target_format": "tflite", "precision": "fp32"}},
        )
    conversion.target.mkdir(parents=True)
    for name in ("saved_model.pb", "fingerprint.pb", "variables", "assets"):
        if (out / name).exists():
            shutil.move(out / name, conversion.target / name)
    shutil.rmtree(out.parent, ignore_errors=True)
    return Converted(settings=settings())
