"""What can never work is refused before anything is queued, with the nearest that does."""

from typing import Any

import pytest

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.fit import check_dataset
from edge_ai.engine.formats.onnx_analysis import describe
from edge_ai.engine.plan import DeviceFacts, Plan, plan_benchmark, plan_optimization, resolve_precision
from edge_ai.engine.sniff import ArraySpec, DatasetHeader
from edge_ai.engine.spec import Format, OptimizationLevel, Precision

from . import graphs

HOST = DeviceFacts(
    name="This machine",
    is_host=True,
    architecture="x86_64",
    extensions=("avx2",),
    formats=("onnx",),
    precisions=("fp32", "fp16", "int8", "int8_dynamic"),
    memory_mb=None,
)
CONV = describe(graphs.conv_net())
DENSE = describe(graphs.dense_net())
TREES = describe(graphs.trees())


def header(*arrays: tuple[str, str, tuple[int, ...]], samples: int = 80, labels: bool = False) -> DatasetHeader:
    specs = tuple(ArraySpec(name=name, dtype=dtype, shape=shape) for name, dtype, shape in arrays)
    return DatasetHeader(arrays=specs, samples=samples, has_labels=labels)


PICTURES = header(("x", "float32", (80, 2, 6, 6)))


def plan(analysis: dict[str, Any], precision: Precision, **changes: Any) -> Plan:
    asked: dict[str, Any] = {
        "size_bytes": 4000,
        "source_format": Format.ONNX,
        "target_format": Format.ONNX,
        "optimization_level": OptimizationLevel.BALANCED,
        "options": {},
        "device": HOST,
        "dataset": None,
    }
    return plan_optimization(analysis=analysis, precision=precision, **(asked | changes))


def refusal(analysis: dict[str, Any], precision: Precision, **changes: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        plan(analysis, precision, **changes)
    return caught.value


def test_the_stages_of_int8_are_known_before_it_runs() -> None:
    found = plan(CONV, Precision.INT8, dataset=PICTURES)
    assert [stage.name for stage in found.stages] == ["load", "prepare", "calibrate", "quantize", "parity", "finish"]
    assert found.route == ("onnx", "onnx")


def test_the_expected_size_counts_what_becomes_integers_and_what_fp16() -> None:
    # Conv 4·2·9 and Gemm 144·5 weights with their biases are all read by operators that int8 changes.
    floats = 4 * (72 + 4 + 720 + 5)
    assert plan(CONV, Precision.FP16).expected_size_bytes == 4000 - floats // 2
    assert plan(CONV, Precision.INT8, dataset=PICTURES).expected_size_bytes == round(4000 - floats * 0.73)


def test_int8_needs_data() -> None:
    error = refusal(CONV, Precision.INT8)
    assert isinstance(error, UserInputError)
    assert (error.code, error.field) == ("dataset_required", "dataset")
    assert error.details == {"nearest": {"target_format": "onnx", "precision": "fp16"}}


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT8_DYNAMIC, Precision.FP16])
def test_trees_have_nothing_to_quantize(precision: Precision) -> None:
    error = refusal(TREES, precision)
    assert isinstance(error, UnsupportedError)
    assert error.code == "nothing_to_quantize"
    assert "trees" in error.message


@pytest.mark.parametrize("precision", [Precision.INT4, Precision.FP8, Precision.INT16X8, Precision.FP32])
def test_precisions_that_are_not_made_here_name_one_that_is(precision: Precision) -> None:
    error = refusal(CONV, precision)
    assert error.code == "unsupported_precision"
    nearest = (error.details or {})["nearest"]["precision"]
    assert nearest in {"int8", "fp16"}


def test_dynamic_int8_is_refused_for_convolutions_alone_and_int8_named() -> None:
    analysis = CONV | {"operators": {"Conv": 3, "Relu": 3}}
    error = refusal(analysis, Precision.INT8_DYNAMIC)
    assert error.code == "nothing_to_quantize"
    assert error.details == {"nearest": {"target_format": "onnx", "precision": "int8"}}


@pytest.mark.parametrize("precision", ["qdq-int8", "dynamic-int8", "qoperator-int8"])
def test_what_is_int8_already_is_not_made_int8_again(precision: str) -> None:
    assert refusal(CONV | {"precision": precision}, Precision.INT8).code == "nothing_to_quantize"


def test_fp16_is_not_made_fp16_again() -> None:
    assert refusal(CONV | {"precision": "fp16"}, Precision.FP16).code == "nothing_to_quantize"


def test_other_target_formats_name_onnx() -> None:
    error = refusal(CONV, Precision.FP16, target_format=Format.TFLITE)
    assert error.code == "unsupported_conversion"
    assert (error.details or {})["nearest"]["target_format"] == "onnx"


def test_other_source_formats_are_refused() -> None:
    assert refusal({}, Precision.FP16, source_format=Format.TFLITE).code == "unsupported_conversion"


def test_a_device_that_does_not_run_onnx_is_refused() -> None:
    micro = DeviceFacts(
        name="STM32H7",
        is_host=False,
        architecture="armv7em",
        extensions=(),
        formats=("tflite",),
        precisions=("int8",),
        memory_mb=1,
    )
    error = refusal(CONV, Precision.INT8, dataset=PICTURES, device=micro)
    assert (error.code, error.field) == ("unsupported_conversion", "device_profile")


def test_a_wrong_option_is_refused_before_anything_runs() -> None:
    assert refusal(CONV, Precision.FP16, options={"fp16_mode": "halves"}).code == "invalid_request"


def test_few_samples_are_worth_a_warning() -> None:
    few = header(("x", "float32", (20, 2, 6, 6)), samples=20)
    codes = {caution.code for caution in plan(CONV, Precision.INT8, dataset=few).warnings}
    assert {"few_samples", "no_int8_instructions"} <= codes


@pytest.mark.parametrize(
    ("analysis", "dataset", "expected"),
    [
        (CONV, True, Precision.INT8),
        (CONV, False, Precision.FP16),
        (DENSE, False, Precision.INT8_DYNAMIC),
    ],
)
def test_auto_chooses_by_operators_and_data(analysis: dict[str, Any], dataset: bool, expected: Precision) -> None:
    assert resolve_precision(Precision.AUTO, analysis, has_dataset=dataset) is expected


@pytest.mark.parametrize(
    "array",
    [
        ("x", "float32", (80, 2, 6, 6)),
        ("x", "float64", (80, 2, 6, 6)),
        ("x", "float32", (80, 1, 2, 6, 6)),
        ("x", "float32", (80, 3, 2, 6, 6)),
    ],
)
def test_data_of_the_right_name_type_and_shape_fits(array: tuple[str, str, tuple[int, ...]]) -> None:
    check_dataset(CONV, header(array))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (("image", "float32", (80, 2, 6, 6)), "there is no array 'x'"),
        (("x", "int32", (80, 2, 6, 6)), "'x' is int32, not float32"),
        (("x", "float32", (80, 3, 6, 6)), "no stack of"),
        (("x", "float32", (80, 72)), "no stack of"),
    ],
)
def test_data_that_does_not_fit_is_told_with_what_is_expected_and_given(
    array: tuple[str, str, tuple[int, ...]], words: str
) -> None:
    with pytest.raises(UserInputError) as caught:
        check_dataset(CONV, header(array))
    assert caught.value.code == "dataset_mismatch"
    assert words in caught.value.message
    assert "Expected: x float32 [batch, 2, 6, 6]" in caught.value.message
    assert (caught.value.details or {})["given"][0]["name"] == array[0]


def test_a_benchmark_needs_a_device_that_is_here() -> None:
    elsewhere = DeviceFacts(
        name="Raspberry Pi 5",
        is_host=False,
        architecture="aarch64",
        extensions=(),
        formats=("onnx",),
        precisions=("fp32",),
        memory_mb=8192,
    )
    with pytest.raises(UnsupportedError) as caught:
        plan_benchmark(analysis=CONV, format=Format.ONNX, device=elsewhere, dataset=None, batch_size=1)
    assert caught.value.code == "device_not_here"
    assert (caught.value.details or {})["nearest"] == {"device_profile": "This machine"}


def test_a_benchmark_cannot_change_a_fixed_batch() -> None:
    fixed = describe(graphs.conv_net(batch=1))
    with pytest.raises(UserInputError) as caught:
        plan_benchmark(analysis=fixed, format=Format.ONNX, device=HOST, dataset=None, batch_size=4)
    assert (caught.value.code, caught.value.field) == ("invalid_request", "batch_size")
    assert plan_benchmark(analysis=CONV, format=Format.ONNX, device=HOST, dataset=None, batch_size=4).stages
