"""What can never work is refused before anything is queued, with the nearest that does."""

from dataclasses import replace
from typing import Any

import pytest

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.fit import check_dataset
from edge_ai.engine.formats.onnx_analysis import describe
from edge_ai.engine.plan import DeviceFacts, Plan, plan_benchmark, plan_optimization, resolve_precision
from edge_ai.engine.routes import LANES
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
    names = [stage.name for stage in found.stages]
    assert names == ["load", "prepare", "calibrate", "quantize", "parity", "measure", "finish"]
    assert (found.route, found.precision) == (("onnx", "onnx"), "int8")


def test_a_conversion_names_every_format_on_its_way_and_compression_its_step() -> None:
    host = replace(HOST, formats=())
    found = plan(CONV, Precision.FP32, target_format=Format.TFLITE, device=host, options={"simplify": True})
    assert found.route == ("onnx", "tflite")
    assert [stage.name for stage in found.stages] == [
        "load",
        "compress",
        "convert",
        "quantize",
        "parity",
        "measure",
        "finish",
    ]
    keras = plan({}, Precision.FP16, source_format=Format.KERAS, target_format=Format.COREML, device=host)
    assert keras.route == ("keras", "saved_model", "coreml")
    assert "not_measured_here" in {caution.code for caution in keras.warnings}


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


@pytest.mark.parametrize("precision", [Precision.INT16X8, Precision.FP32])
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


def test_a_format_that_nothing_makes_names_one_that_can_be_made() -> None:
    error = refusal(CONV, Precision.FP16, target_format=Format.KERAS)
    assert error.code == "unsupported_conversion"
    assert (error.details or {})["nearest"]["target_format"] == "onnx"


def test_formats_that_are_only_kept_are_no_source() -> None:
    assert refusal({}, Precision.FP16, source_format=Format.GGUF).code == "unsupported_conversion"


def test_text_and_branches_have_no_way_to_tflite() -> None:
    host = replace(HOST, formats=(), precisions=())
    text = {"inputs": [{"name": "source", "dtype": "string", "shape": [None]}]}
    for source in (Format.SAVED_MODEL, Format.ONNX):
        error = refusal(text, Precision.FP16, source_format=source, target_format=Format.TFLITE, device=host)
        assert error.code == "unsupported_operator" and "'source'" in error.message
    error = refusal(CONV | {"control_flow": ["If"]}, Precision.FP16, target_format=Format.TFLITE, device=host)
    assert error.code == "unsupported_operator" and "If" in error.message
    assert plan(CONV | {"control_flow": ["If"]}, Precision.FP16).stages


def test_a_missing_tool_is_named_with_what_to_install() -> None:
    error = refusal(
        CONV,
        Precision.FP32,
        target_format=Format.TFLITE,
        device=replace(HOST, formats=()),
        missing_tools=frozenset({"onnx2tf"}),
    )
    assert error.code == "unsupported_conversion"
    assert "onnx2tf" in error.message and "sne4onnx" in error.fix
    assert plan(CONV, Precision.FP16, missing_tools=frozenset({"onnx2tf"})).stages


def test_a_model_that_cannot_fit_into_a_jobs_memory_is_refused() -> None:
    error = refusal(CONV, Precision.FP16, size_bytes=10**9, memory_bytes=2 * 10**9)
    assert error.code == "resource_limit" and "ENGINE_MEMORY_BYTES" in error.fix
    assert plan(CONV, Precision.FP16, size_bytes=10**8, memory_bytes=2 * 10**9).stages


def test_a_plan_goes_another_way_where_a_tool_is_missing() -> None:
    found = plan(
        CONV,
        Precision.FP16,
        target_format=Format.TFLITE,
        device=replace(HOST, formats=()),
        missing_tools=frozenset({"ai-edge-quantizer"}),
    )
    assert found.route == ("onnx", "saved_model", "tflite")


LARGE = CONV | {
    "weight_bytes": 40 << 20,
    "weight_bytes_by_dtype": {"float32": 40 << 20},
    "peak_activation_bytes": 4 << 20,
}


def test_a_model_larger_than_a_devices_memory_is_refused() -> None:
    error = refusal(LARGE, Precision.FP16, device=replace(HOST, memory_mb=20))
    assert (error.code, error.field) == ("resource_limit", "device_profile")
    assert "at least 22.0 MiB in fp16" in error.message and "20 MiB" in error.message
    assert error.details == {"needed_bytes": 22 << 20, "available_bytes": 20 << 20}


def test_a_device_that_the_model_nearly_fills_is_told() -> None:
    codes = {
        memory_mb: [c.code for c in plan(LARGE, Precision.FP16, device=replace(HOST, memory_mb=memory_mb)).warnings]
        for memory_mb in (22, 43, 44)
    }
    assert ["memory_tight" in found for found in codes.values()] == [True, True, False]
    unknown = LARGE | {"weight_bytes_by_dtype": None}
    assert plan(unknown, Precision.FP16, device=replace(HOST, memory_mb=1)).stages


def test_entropy_is_refused_where_nothing_calibrates_with_it() -> None:
    asked = {"dataset": PICTURES, "options": {"calibration_method": "entropy"}, "device": replace(HOST, formats=())}
    assert plan(CONV, Precision.INT8, **asked).stages
    for target in (Format.TFLITE, Format.OPENVINO):
        error = refusal(CONV, Precision.INT8, target_format=target, **asked)
        assert (error.code, error.field) == ("invalid_request", "options.calibration_method")
    # Where nothing is calibrated, the option changes nothing.
    assert plan(CONV, Precision.FP16, target_format=Format.TFLITE, **asked).stages


@pytest.mark.parametrize("target", [Format.ONNX, Format.TFLITE, Format.OPENVINO])
def test_every_calibrated_target_needs_data_for_int8(target: Format) -> None:
    host = replace(HOST, formats=())
    assert refusal(CONV, Precision.INT8, target_format=target, device=host).code == "dataset_required"
    # Weights alone need none.
    assert plan(CONV, Precision.INT8, target_format=target, device=host, options={"weight_only": True}).stages


@pytest.mark.parametrize(
    ("target", "dataset", "expected"),
    [
        (Format.TFLITE, True, Precision.INT8),
        (Format.TFLITE, False, Precision.FP16),
        (Format.SAVED_MODEL, True, Precision.FP32),
        (Format.NCNN, True, Precision.FP16),
        (Format.ORT, False, Precision.INT8_DYNAMIC),
    ],
)
def test_auto_depends_on_the_target(target: Format, dataset: bool, expected: Precision) -> None:
    assert resolve_precision(Precision.AUTO, DENSE, target=target, has_dataset=dataset) is expected


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


TEXT = {"inputs": [{"name": "words", "dtype": "string", "shape": [None]}], "operators": {"StringSplit": 1}}
TABLES = {"inputs": [{"name": "ids", "dtype": "int64", "shape": [None]}], "operators": {"LookupTableFindV2": 1}}
ANYWHERE = replace(HOST, formats=(), precisions=())


@pytest.mark.parametrize("analysis", [TEXT, TABLES], ids=["text", "tables"])
@pytest.mark.parametrize("target", [Format.TFLITE, Format.ONNX, Format.OPENVINO, Format.COREML])
def test_text_survives_no_conversion(analysis: dict[str, Any], target: Format) -> None:
    error = refusal(
        analysis, LANES[target].precisions[0], source_format=Format.SAVED_MODEL, target_format=target, device=ANYWHERE
    )
    assert (error.code, error.field) == ("unsupported_operator", "model")


def test_text_may_stay_where_it_is_known() -> None:
    """ONNX has operators of text, and a quantizer leaves them alone."""
    words = DENSE | {"inputs": [{"name": "words", "dtype": "string", "shape": [None]}]}
    assert plan(words, Precision.FP16).route == ("onnx", "onnx")
    error = refusal(words, Precision.FP16, target_format=Format.OPENVINO, device=ANYWHERE)
    assert error.code == "unsupported_operator"


def test_a_runtime_that_is_not_installed_is_named() -> None:
    asked: dict[str, Any] = {"analysis": {}, "device": HOST, "dataset": None, "batch_size": 1}
    assert plan_benchmark(format=Format.OPENVINO, **asked).route == ("openvino",)
    with pytest.raises(UnsupportedError) as caught:
        plan_benchmark(format=Format.OPENVINO, missing_tools=frozenset({"openvino"}), **asked)
    assert (caught.value.code, caught.value.field) == ("unsupported_conversion", "model")
    assert "openvino" in caught.value.fix
