"""What can be asked for, its bounds, and its way through JSON."""

import json
import subprocess
import sys
from typing import Any

import pytest

from edge_ai.engine.errors import CODES, EngineError, UserInputError
from edge_ai.engine.spec import (
    AnalyzeSpec,
    BenchmarkSpec,
    ComparisonSpec,
    Format,
    OptimizationLevel,
    OptimizeOptions,
    OptimizeSpec,
    Precision,
    Spec,
    spec_from_json,
    spec_to_json,
)

ANALYZE = AnalyzeSpec(model_path="model.onnx", format=Format.ONNX)
OPTIMIZE = OptimizeSpec(
    model_path="model.onnx",
    source_format=Format.ONNX,
    target_format=Format.ONNX,
    precision=Precision.INT8,
    optimization_level=OptimizationLevel.SIZE,
    dataset_path="dataset.npz",
    options={"accuracy_budget": 0.05},
)
BENCHMARK = BenchmarkSpec(model_path="model.onnx", format=Format.ONNX, threads=2, cpus=(0, 1), max_seconds=20)

COMPARISON = ComparisonSpec(
    model_paths=("a.onnx", "b.tflite"), formats=(Format.ONNX, Format.TFLITE), names=("A", "B"), margin=0.05
)


@pytest.mark.parametrize("spec", [ANALYZE, OPTIMIZE, BENCHMARK, COMPARISON], ids=lambda spec: spec.kind)
def test_every_spec_survives_json(spec: Spec) -> None:
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("kind", {"kind": "nothing"}),
        ("threads", {"threads": 0}),
        ("threads", {"threads": 257}),
        ("batch_size", {"batch_size": 1025}),
        ("min_seconds", {"min_seconds": float("nan")}),
        ("max_seconds", {"max_seconds": 601.0}),
        ("max_seconds", {"min_seconds": 9.0, "max_seconds": 8.0}),
        ("format", {"format": "docx"}),
        ("colour", {"colour": "red"}),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_its_name(field: str, change: dict[str, Any]) -> None:
    with pytest.raises(UserInputError) as caught:
        spec_from_json(spec_to_json(BENCHMARK) | change)
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)


@pytest.mark.parametrize(
    "options",
    [
        {"accuracy_budget": 1.5},
        {"accuracy_budget": "much"},
        {"accuracy_budget": True},
        {"calibration_samples": 0},
        {"calibration_samples": 10.5},
        {"seed": -1},
        {"fp16_mode": "halves"},
        {"accuracy_bugdet": 0.1},
    ],
)
def test_options_are_checked_by_name_and_value(options: dict[str, object]) -> None:
    with pytest.raises(UserInputError) as caught:
        OptimizeOptions.read(options)
    assert caught.value.code == "invalid_request"
    assert caught.value.field == f"options.{next(iter(options))}"


def test_a_spec_with_a_wrong_option_cannot_be_made() -> None:
    with pytest.raises(UserInputError):
        spec_from_json(spec_to_json(OPTIMIZE) | {"options": {"fp16_mode": "halves"}})


def test_every_code_says_what_to_do() -> None:
    assert all(code.title and code.meaning and code.fix for code in CODES.values())


def test_an_error_carries_what_a_person_needs() -> None:
    error = EngineError("It broke.", code="internal_error", fix="Mend it.", details={"a": 1}, field="file")
    assert (str(error), error.fix, error.details, error.field, error.retryable) == (
        "It broke.",
        "Mend it.",
        {"a": 1},
        "file",
        False,
    )


def test_the_light_modules_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import edge_ai.engine.spec, edge_ai.engine.errors, edge_ai.engine.sniff, edge_ai.engine.fit, edge_ai.engine.plan\n"
        "import edge_ai.engine.progress, edge_ai.engine.__main__\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'tensorflow', 'google.protobuf', 'django'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("models", {"model_paths": ["a.onnx"], "formats": ["onnx"], "names": []}),
        ("models", {"model_paths": ["a.onnx"] * 9, "formats": ["onnx"] * 9, "names": []}),
        ("formats", {"formats": ["onnx"]}),
        ("formats", {"formats": ["onnx", "docx"]}),
        ("margin", {"margin": 0.0}),
        ("margin", {"margin": 0.6}),
        ("max_seconds", {"max_seconds": 0.0}),
        ("max_seconds", {"max_seconds": 601.0}),
        ("threads", {"threads": 0}),
    ],
)
def test_a_comparison_has_bounds_as_well(field: str, change: dict[str, Any]) -> None:
    with pytest.raises(UserInputError) as caught:
        spec_from_json(spec_to_json(COMPARISON) | change)
    assert (caught.value.code, caught.value.field) == ("invalid_request", field)
