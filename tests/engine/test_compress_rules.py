"""Which options of compression go together."""

import subprocess
import sys
from typing import Any

import pytest

from edge_ai.engine.compress.rules import check_options
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.routes import find_route
from edge_ai.engine.spec import Format, Precision


@pytest.mark.parametrize(
    ("options", "precision", "target"),
    [
        ({}, "int8", "tflite"),
        ({"simplify": True, "deduplicate": True, "prune": "2:4"}, "int8", "onnx"),
        ({"prune": "unstructured", "sparsity": 0.8}, "int8_dynamic", "ort"),
        ({"prune": "unstructured"}, "fp16", "tflite"),
        ({"cluster": 16}, "fp32", "onnx"),
        ({"cluster": 256}, "fp16", "onnx"),
        ({"cluster": 256}, "auto", "onnx"),
    ],
)
def test_what_makes_sense_is_let_through(options: dict[str, Any], precision: str, target: str) -> None:
    check_options(OptimizeOptions(**options), Precision(precision), find_route(Format.ONNX, Format(target)))


@pytest.mark.parametrize(
    ("options", "precision", "target", "source", "field", "nearest"),
    [
        ({"cluster": 16}, "int8", "onnx", "onnx", "cluster", {"target_format": "onnx", "precision": "fp32"}),
        ({"cluster": 16}, "fp32", "ort", "onnx", "cluster", {"target_format": "onnx", "precision": "fp32"}),
        (
            {"cluster": 16, "fp16_mode": "full"},
            "fp16",
            "onnx",
            "onnx",
            "cluster",
            {"options": {"fp16_mode": "weights"}},
        ),
        ({"sparsity": 0.8}, "int8", "onnx", "onnx", "sparsity", None),
        ({"sparsity": 0.8, "prune": "2:4"}, "int8", "onnx", "onnx", "sparsity", None),
        ({"sparsity": 0.0, "prune": "unstructured"}, "int8", "onnx", "onnx", "sparsity", None),
        ({"prune": "2:4"}, "int8", "tflite", "keras", "prune", {"target_format": "onnx"}),
        ({"simplify": True}, "fp32", "tflite", "saved_model", "simplify", {"target_format": "onnx"}),
    ],
)
def test_what_makes_none_is_refused_with_what_does(
    options: dict[str, Any], precision: str, target: str, source: str, field: str, nearest: dict[str, Any] | None
) -> None:
    with pytest.raises(UserInputError) as refused:
        check_options(OptimizeOptions(**options), Precision(precision), find_route(Format(source), Format(target)))
    error = refused.value
    assert (error.code, error.field) == ("invalid_request", f"options.{field}")
    assert error.fix
    assert (error.details or {}).get("nearest") == nearest


def test_the_rules_load_no_heavy_library() -> None:
    code = (
        "import sys, edge_ai.engine.compress.rules\n"
        "assert not {'numpy', 'onnx', 'onnxruntime', 'onnxslim'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
