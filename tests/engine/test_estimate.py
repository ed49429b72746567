"""Estimates of devices that are not here: work from shapes, the roofline, its fit, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.estimate.coefficients import ClassCoefficients, Coefficients, load_fit
from edge_ai.engine.estimate.estimate import estimate, memory_fit
from edge_ai.engine.estimate.fitting import LEVEL, Measured, band_of, fit, fit_class, search
from edge_ai.engine.estimate.machine import Machine, check_estimable
from edge_ai.engine.estimate.roofline import Bound, Roof, run_us, time_of
from edge_ai.engine.estimate.run import run_estimate
from edge_ai.engine.estimate.trace import read_trace, trace
from edge_ai.engine.estimate.work import OperatorClass, OperatorWork, TensorShape, work_of
from edge_ai.engine.formats.onnx_cost import count_macs
from edge_ai.engine.plan import DeviceFacts, plan_benchmark
from edge_ai.engine.spec import EstimateSpec, Format, spec_from_json, spec_to_json

BOARD = Machine(
    name="Board",
    peak_gflops_fp32=100.0,
    peak_tops_int8=0.4,
    memory_bandwidth_gb_s=10.0,
    cpu_cores=4,
    cpu_frequency_mhz=2000,
    memory_mb=1024,
    sources={"peak_gflops_fp32": "a data sheet", "memory_bandwidth_gb_s": "another", "peak_tops_int8": "a third"},
)
EVERY_CLASS = ClassCoefficients(compute_efficiency=0.5, bandwidth_factor=2.0, dispatch_us=3.0)
HALF = Coefficients(classes=dict.fromkeys(OperatorClass, EVERY_CLASS), run_us=10.0, call_us=1.0, parallel=0.8)


class Silent:
    """Progress that nobody reads."""

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Nothing."""

    def log(self, level: Any, message: str) -> None:
        """Nothing."""


def shaped(*shapes: tuple[int, ...], dtype: str = "float") -> list[TensorShape]:
    return [TensorShape(dtype=dtype, shape=shape) for shape in shapes]


def replace_weight(inputs: list[TensorShape], shape: tuple[int, ...]) -> list[TensorShape]:
    return [*inputs[:3], replace(inputs[3], shape=shape), *inputs[4:]]


def network() -> onnx.ModelProto:
    """A convolution, a depthwise one, and a matrix product behind them."""
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=16),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "w3"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [weight("w1", 16, 16, 3, 3), weight("w2", 16, 1, 3, 3), weight("w3", 10, 16)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_work_follows_from_shapes() -> None:
    conv = work_of("c", "Conv", shaped((1, 16, 32, 32), (8, 16, 3, 3), (8,)), shaped((1, 8, 32, 32)))
    assert conv.operator_class is OperatorClass.CONVOLUTION
    assert conv.flops == 2 * 8 * 32 * 32 * 16 * 9
    assert conv.size_bytes == 4 * (16 * 1024 + 8 * 16 * 9 + 8 + 8 * 1024)
    depthwise = work_of("d", "Conv", shaped((1, 16, 8, 8), (16, 1, 3, 3)), shaped((1, 16, 8, 8)))
    assert depthwise.operator_class is OperatorClass.DEPTHWISE and depthwise.flops == 2 * 16 * 64 * 9
    of_one_channel = work_of("d", "Conv", shaped((1, 1, 8, 8), (16, 1, 3, 3)), shaped((1, 16, 8, 8)))
    assert of_one_channel.operator_class is OperatorClass.CONVOLUTION, "every output reads the one channel"
    turned = work_of("g", "Gemm", shaped((7, 3), (7, 5)), shaped((3, 5)))
    assert turned.flops == 2 * 3 * 5 * 7, "the left matrix was turned"
    product = work_of("m", "MatMul", shaped((2, 4, 8), (8, 6)), shaped((2, 4, 6)))
    assert product.flops == 2 * 2 * 4 * 6 * 8
    lstm = work_of("l", "LSTM", shaped((9, 1, 5), (1, 16, 5), (1, 16, 4)), shaped((9, 1, 1, 4)))
    assert lstm.operator_class is OperatorClass.RECURRENT and lstm.flops == 2 * 9 * (16 * 5 + 16 * 4)
    integers = shaped((1, 3, 8, 8), (), (), (4, 3, 3, 3), (), (), (), (), dtype="uint8")
    quantized = work_of("q", "QLinearConv", integers, shaped((1, 4, 8, 8), dtype="uint8"))
    assert quantized.operator_class is OperatorClass.INT8_NARROW and quantized.flops == 2 * 4 * 64 * 27
    assert quantized.fill == 4 / 16, "four of sixteen lanes have something to do"
    wide = replace_weight(integers, (32, 3, 3, 3))
    assert work_of("q", "QLinearConv", wide, shaped((1, 32, 8, 8))).operator_class is OperatorClass.INT8_CONVOLUTION
    last = shaped((1, 8, 8, 16), (), (), (16, 1, 3, 3), dtype="uint8")
    assert work_of("q", "QLinearConv", last, shaped((1, 8, 8, 16))).operator_class is OperatorClass.INT8_DEPTHWISE
    of_one = shaped((1, 8, 8, 1), (), (), (32, 1, 3, 3), dtype="uint8")
    assert work_of("q", "QLinearConv", of_one, shaped((1, 8, 8, 32))).operator_class is OperatorClass.INT8_CONVOLUTION
    view = work_of("r", "Reshape", shaped((4, 4)), shaped((16,)))
    assert view.size_bytes == 0, "nothing is moved"
    added = work_of("a", "Add", shaped((4, 4), (1,)), shaped((4, 4)))
    assert (added.flops, added.size_bytes) == (16, 4 * 33)
    unknown = work_of("?", "TreeEnsembleRegressor", shaped((1, 3)), shaped((1, 1)))
    assert unknown.operator_class is OperatorClass.OTHER
    assert work_of("s", "MatMul", [], []).operator_class is OperatorClass.OTHER, "without shapes nothing is known"


def test_an_operator_takes_the_longer_of_computing_and_moving_and_its_dispatch() -> None:
    roof = Roof(flops_per_us=1000.0, int8_ops_per_us=4000.0, bytes_per_us=100.0)
    work = OperatorWork(
        name="c", type="Conv", operator_class=OperatorClass.CONVOLUTION, flops=50_000.0, size_bytes=4000.0
    )
    alone = time_of(work, roof, HALF)
    assert (alone.compute_us, alone.bandwidth_us, alone.total_us) == (100.0, 20.0, 103.0)
    assert alone.bound is Bound.COMPUTE
    assert time_of(replace(work, size_bytes=40_000.0), roof, HALF).bound is Bound.BANDWIDTH
    assert time_of(replace(work, flops=500.0, size_bytes=40.0), roof, HALF).bound is Bound.DISPATCH
    shared = time_of(work, replace(roof, threads=4), HALF)
    assert shared.compute_us == pytest.approx(100 * (0.2 + 0.8 / 4)), "Amdahl"
    assert shared.bandwidth_us == 20.0, "all threads share the memory"
    integer = replace(work, operator_class=OperatorClass.INT8_CONVOLUTION)
    assert time_of(integer, roof, HALF).compute_us == 25.0
    with pytest.raises(ValueError, match="int8"):
        time_of(integer, replace(roof, int8_ops_per_us=None), HALF)
    assert run_us([work, replace(work, calls=2.0)], roof, HALF) == pytest.approx(3 * 103 + 10 + 3)
    assert run_us([work], replace(roof, slowness=2.0), HALF) == pytest.approx(100 + 2 * (3 + 10 + 1))


def test_shapes_come_from_the_runtimes_own_graph(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    feeds = [{"x": np.zeros((1, 16, 32, 32), np.float32)}] * 3
    traced = trace(path, ort_format=False, feeds=feeds, prefix=tmp_path / "profile")
    work = [each.work for each in traced]
    macs = {each.type: each.flops * each.calls / 2 for each in work if each.type in {"Gemm"}}
    assert macs == {"Gemm": 160}
    convolutions = sum(each.flops for each in work if each.type in {"Conv", "FusedConv"}) / 2
    assert convolutions == count_macs(model).by_operator["Conv"], "counted as the analysis counts"
    assert {each.operator_class for each in work} >= {OperatorClass.CONVOLUTION, OperatorClass.DEPTHWISE}
    assert all(each.work.calls == 1 and len(each.durations_us) == 2 for each in traced), "the first run is left out"
    assert list(tmp_path.iterdir()) == [path], "the profile is deleted"


def test_a_profile_tells_the_calls_of_a_loop() -> None:
    def event(name: str, kind: str, at: int, shape: list[int]) -> dict[str, Any]:
        args = {"op_name": kind, "node_index": "1", "input_type_shape": [{"float": shape}, {}], "output_type_shape": []}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": at, "dur": 5, "args": args}

    runs = [{"name": "model_run", "ts": at, "dur": 90, "cat": "Session"} for at in (0, 100)]
    events = [
        *runs,
        *(event("add", "Add", at, [2, 2]) for at in (10, 20, 30, 110, 120, 130)),
        event("loop", "Loop", 5, [1]),
    ]
    (only,) = read_trace(events)
    assert (only.work.calls, only.work.flops, len(only.durations_us)) == (3.0, 4.0, 6)
    (later,) = read_trace(events, skip_runs=1)
    assert later.work.calls == 3.0 and len(later.durations_us) == 3
    assert read_trace([]) == []


def test_an_estimate_says_what_it_is_and_what_it_rests_on() -> None:
    fitted = replace(load_fit(), coefficients=HALF)
    work = OperatorWork(name="c", type="Conv", operator_class=OperatorClass.CONVOLUTION, flops=5e7, size_bytes=4000.0)
    found = estimate([work, replace(work, name="d", flops=0.0)], BOARD, fitted, held_bytes=10**6).to_json()
    slowness = fitted.clock_mhz / 2000
    compute_us = 5e7 / (25_000 * 0.5) * (0.2 + 0.8 / 4)
    moved_us = 4000 / (10_000 * 2.0)
    expected_us = compute_us + moved_us + slowness * (3 + 3 + 10 + 2)
    assert found["kind"] == "estimated"
    assert found["latency_ms"]["p50"] == pytest.approx(expected_us / 1e3)
    assert found["latency_ms"]["low"] < found["latency_ms"]["p50"] < found["latency_ms"]["high"]
    measured_only = ("mean", "std", "min", "p90", "p95", "p99", "max", "ci95", "samples")
    assert all(found["latency_ms"][name] is None for name in measured_only)
    for name in ("throughput_per_s", "load_ms", "cpu_percent", "energy_mj", "accuracy", "noise", "comparison"):
        assert found[name] is None and found["not_measured"][name], "null, with the reason"
    assert [each["bound"] for each in found["operators"]] == ["compute", "dispatch"]
    assert sum(each["total_ms"] for each in found["operators"]) + found["overhead_ms"] == pytest.approx(
        found["latency_ms"]["p50"]
    )
    sources = " ".join(each["source"] for each in found["assumptions"])
    assert "a data sheet" in sources and "another" in sources and "a third" not in sources, "no int8 in this model"
    assert all(each["name"] and each["value"] and each["source"] for each in found["assumptions"])
    json.dumps(found, allow_nan=False)
    fewer = estimate([work], BOARD, fitted, threads=1).to_json()
    assert fewer["latency_ms"]["p50"] > estimate([work], BOARD, fitted).to_json()["latency_ms"]["p50"]
    assert estimate([work], BOARD, fitted, threads=64).to_json()["environment"]["threads"] == 4


def test_a_long_graph_is_cut_and_adds_up() -> None:
    work = OperatorWork(name="a", type="Add", operator_class=OperatorClass.ELEMENTWISE, flops=1.0, size_bytes=12.0)
    found = estimate([work] * 450, BOARD, load_fit()).to_json()
    assert len(found["operators"]) == 400 and found["operators"][-1]["name"] == "51 shorter operators"
    total = sum(each["total_ms"] for each in found["operators"]) + found["overhead_ms"]
    assert total == pytest.approx(found["latency_ms"]["p50"])


@pytest.mark.parametrize(
    ("machine", "missing"),
    [
        (replace(BOARD, peak_gflops_fp32=None), ["peak_gflops_fp32"]),
        (replace(BOARD, memory_bandwidth_gb_s=None), ["memory_bandwidth_gb_s"]),
        (Machine(name="Bare"), ["peak_gflops_fp32", "memory_bandwidth_gb_s"]),
    ],
)
def test_a_profile_without_peaks_is_refused_with_what_to_add(machine: Machine, missing: list[str]) -> None:
    with pytest.raises(UnsupportedError) as refused:
        check_estimable(Format.ONNX, machine)
    assert refused.value.code == "device_not_here" and refused.value.field == "device_profile"
    assert (refused.value.details or {})["missing"] == missing
    assert all(name in refused.value.fix for name in missing)


def test_int8_needs_a_peak_of_its_own_and_other_formats_are_not_estimated() -> None:
    work = OperatorWork(name="q", type="QGemm", operator_class=OperatorClass.INT8_MATRIX, flops=1.0, size_bytes=1.0)
    with pytest.raises(UnsupportedError) as refused:
        estimate([work], replace(BOARD, peak_tops_int8=None), load_fit())
    assert (refused.value.details or {})["missing"] == ["peak_tops_int8"]
    with pytest.raises(UnsupportedError, match="ONNX and ORT"):
        check_estimable(Format.TFLITE, BOARD)
    with pytest.raises(UnsupportedError, match="not onnx"):
        check_estimable(Format.ONNX, replace(BOARD, formats=("tflite",)))


def test_memory_fits_or_does_not_or_lies_within_the_band() -> None:
    fitted = load_fit()
    assert memory_fit(BOARD, fitted, 10**6).verdict == "fits"
    assert memory_fit(BOARD, fitted, 10**10).verdict == "does_not_fit"
    edge = memory_fit(BOARD, fitted, 10**8).needed_mb
    assert edge is not None and edge.low <= edge.value <= edge.high and edge.low >= 100
    between = replace(BOARD, memory_mb=math.ceil((edge.low + edge.high) / 2 * 1e6 / 2**20))
    assert memory_fit(between, fitted, 10**8).verdict == "tight"
    assert memory_fit(replace(BOARD, memory_mb=None), fitted, 10**6).verdict == "unknown"
    assert memory_fit(BOARD, fitted, None).needed_mb is None


def test_a_plan_says_that_it_estimates() -> None:
    facts: dict[str, Any] = {"architecture": "arm64", "extensions": (), "formats": (), "precisions": ()}
    device = DeviceFacts(name="Board", is_host=False, memory_mb=1024, machine=BOARD, **facts)
    planned = plan_benchmark(analysis={}, format=Format.ONNX, device=device, dataset=None, batch_size=1)
    assert [stage.name for stage in planned.stages] == ["trace", "estimate"]
    assert [caution.code for caution in planned.warnings] == ["estimated"]


def test_an_estimate_is_a_job_of_the_engine(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "model.onnx")
    spec = EstimateSpec(
        model_path="model.onnx", format=Format.ONNX, machine=BOARD.to_json(), batch_size=2, held_bytes=10**6
    )
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == replace(
        spec, machine=json.loads(json.dumps(BOARD.to_json()))
    )
    found = run_estimate(spec, tmp_path, Silent())
    assert found["kind"] == "estimated" and found["latency_ms"]["p50"] > 0
    assert found["input"] == {"kind": "random", "shapes": {"x": [2, 16, 32, 32]}}
    one = run_estimate(replace(spec, batch_size=1), tmp_path, Silent())
    assert one["latency_ms"]["p50"] < found["latency_ms"]["p50"]


#: As they are fitted: what multiplies no matrices is bound by the memory, and views by neither.
KNOWN = replace(
    HALF,
    classes={
        OperatorClass.CONVOLUTION: EVERY_CLASS,
        OperatorClass.ELEMENTWISE: replace(EVERY_CLASS, compute_efficiency=None),
        OperatorClass.VIEW: replace(EVERY_CLASS, compute_efficiency=None, bandwidth_factor=None),
    },
)


def made_up(count: int, spread: float, roof: Roof, seed: int = 0) -> list[Measured]:
    """Networks whose times follow from known coefficients, but for a known spread."""
    random = np.random.default_rng(seed)
    kinds = (OperatorClass.CONVOLUTION, OperatorClass.ELEMENTWISE, OperatorClass.VIEW)
    models = []
    for number in range(count):
        works = tuple(
            OperatorWork(
                name="op",
                type="op",
                operator_class=kinds[int(random.integers(0, 3))],
                flops=float(10 ** random.uniform(3, 8)),
                size_bytes=float(10 ** random.uniform(2, 6)),
            )
            for _ in range(40)
        )
        times = tuple(time_of(work, roof, KNOWN).total_us * float(np.exp(random.normal(0, 0.1))) for work in works)
        total = run_us(works, roof, KNOWN) * float(np.exp(random.normal(0, spread)))
        gained = run_us(works, replace(roof, threads=2), KNOWN) / run_us(works, roof, KNOWN)
        models.append(
            Measured(
                name=f"m{number}",
                network=f"m{number}",
                total_us=total,
                two_threads=gained,
                works=works,
                times_us=times,
            )
        )
    return models


def test_the_fit_finds_the_coefficients_that_the_times_were_made_with() -> None:
    roof = Roof(flops_per_us=50_000.0, int8_ops_per_us=None, bytes_per_us=5000.0)
    found = fit(made_up(12, 0.02, roof), roof)
    conv, added = found.of(OperatorClass.CONVOLUTION), found.of(OperatorClass.ELEMENTWISE)
    assert conv.compute_efficiency == pytest.approx(0.5, rel=0.15)
    assert conv.dispatch_us == pytest.approx(3.0, rel=0.3)
    assert added.bandwidth_factor == pytest.approx(2.0, rel=0.15) and added.compute_efficiency is None
    assert found.of(OperatorClass.VIEW).bandwidth_factor is None
    assert found.parallel == pytest.approx(0.8, abs=0.1)
    assert found.of(OperatorClass.INT8_DEPTHWISE) == conv, "what was not measured has a stand-in"
    assert found.of(OperatorClass.OTHER) == found.of(OperatorClass.REDUCTION) == added


def test_a_class_without_operators_that_move_is_fitted_by_what_it_computes() -> None:
    roof = Roof(flops_per_us=1000.0, int8_ops_per_us=None, bytes_per_us=100.0)
    flops = np.logspace(3, 7, 30)
    points = np.stack([flops, flops, flops / (1000 * 0.01) + 2.0, np.ones(30)], axis=1)
    found = fit_class(OperatorClass.MATH, points, roof)
    assert found.compute_efficiency == pytest.approx(0.01, rel=0.05) and found.bandwidth_factor is None
    assert search(lambda place: (place[:, 0] - 0.3) ** 2, [(-1.0, 1.0)])[0] == pytest.approx(0.3, abs=0.01)


def test_the_band_holds_what_it_claims_of_networks_that_it_has_not_seen() -> None:
    random = np.random.default_rng(1)
    held = []
    for _ in range(300):
        errors = random.normal(0.1, 0.3, 21)
        low, high = band_of({f"n{place}": [error] for place, error in enumerate(errors[:20])})
        held.append(low <= errors[20] <= high)
    assert LEVEL - 0.05 <= float(np.mean(held)) <= 0.97
    low, high = band_of({"a": [0.0], "b": [1.0]})
    assert (low, high) == (0.0, 1.0), "with two networks the band is all that there is"
    many = {"a": [5.0] * 50} | {f"n{place}": [place / 100] for place in range(19)}
    assert band_of(many)[1] <= 5.0 and band_of(many)[0] <= 0.01, "fifty variants of one network count once"


def test_the_fit_that_comes_with_the_studio_holds_what_it_claims() -> None:
    fitted = load_fit()
    assert fitted.validation["networks"] == len(fitted.models) >= 10
    assert 0.85 <= fitted.validation["coverage"] <= 1.0
    assert fitted.band.level == LEVEL and fitted.band.low < 1 < fitted.band.high
    assert {OperatorClass.CONVOLUTION, OperatorClass.MATRIX, OperatorClass.ELEMENTWISE} <= set(
        fitted.coefficients.classes
    )
    assert all(fitted.coefficients.of(kind).dispatch_us > 0 for kind in OperatorClass)
    assert fitted.machine["peak_source"] and fitted.measured_at and fitted.libraries["onnxruntime"]
