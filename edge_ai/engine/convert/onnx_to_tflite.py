"""ONNX to TensorFlow Lite in float32, with onnx2tf's own writer: no TensorFlow is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_ai.engine.convert.base import Conversion, Converted
from edge_ai.engine.convert.onnx2tf_run import run_onnx2tf, settings
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.tflite_analysis import custom_operators
from edge_ai.engine.formats.tflite_file import read_file


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
    _require_builtins(made)
    shutil.move(made, conversion.target)
    shutil.rmtree(out.parent, ignore_errors=True)
    return Converted(settings=settings())


def _require_builtins(made: Path) -> None:
    """Refuse a file with operators that LiteRT lacks, which onnx2tf writes where it knows no better."""
    custom = custom_operators(read_file(made))
    if not custom:
        return
    named = [name.removeprefix("ONNX_") for name in custom]
    raise UnsupportedError(
        f"TensorFlow Lite has no operators for {', '.join(named[:10])} as this network uses them.",
        code="unsupported_operator",
        fix="Keep the model as ONNX, or choose OpenVINO as the target format.",
        details={"operators": named[:10], "nearest": {"target_format": "onnx", "precision": "fp16"}},
    )
