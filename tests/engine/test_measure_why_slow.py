"""Reasons for slower variants: from real profiles, and from facts made for the purpose."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from edge_ai import sample
from edge_ai.engine.measure.slow_facts import Facts, Times, gather_facts
from edge_ai.engine.measure.why_slow import MOST_REASONS, explain_slower, reasons
from edge_ai.engine.spec import Format
from tests.engine.graphs import model_of, samples, save, value, weight

FAST_CPU = ("avx2", "avx512_vnni")


def convolutions(path: Path) -> Path:
    """Return three convolutions with 16 channels on pictures of 24 × 24."""
    nodes = [
        helper.make_node("Conv", [f"x{n}", f"w{n}"], [f"x{n + 1}"], name=f"conv{n}", pads=[1, 1, 1, 1])
        for n in range(3)
    ]
    weights = [weight(f"w{n}", 16, 16, 3, 3, seed=n, scale=0.1) for n in range(3)]
    return save(model_of(nodes, [value("x0", [1, 16, 24, 24])], [value("x3", [1, 16, 24, 24])], weights), path)


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Two samples of the network's input."""

    def __init__(self) -> None:
        self._left = [{"x0": samples(1, 16, 24, 24, seed=n)} for n in range(2)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def times(**ms: float) -> Times:
    return Times(ms=ms, counts=dict.fromkeys(ms, 1))


def onnx_facts(before: Times, after: Times, **more: object) -> Facts:
    given = {"source": Format.ONNX, "target": Format.ONNX, "cpu_flags": FAST_CPU} | more
    return Facts(before=before, after=after, **given)  # type: ignore[arg-type]


def codes(facts: Facts) -> list[str]:
    return [reason["code"] for reason in reasons(facts)]


def test_dynamic_convolutions_are_found_in_a_real_variant(tmp_path: Path) -> None:
    source = convolutions(tmp_path / "source.onnx")
    quantize_dynamic(source, tmp_path / "dynamic.onnx", weight_type=QuantType.QUInt8)
    found = explain_slower(source, Format.ONNX, tmp_path / "dynamic.onnx", Format.ONNX)
    telling = next(reason for reason in found if reason["code"] == "dynamic_convolution")
    assert "%" in telling["detail"]
    assert "exclude_layers" in telling["fix"]
    assert all(reason.keys() == {"code", "detail", "fix"} and all(reason.values()) for reason in found)


def test_signed_activations_are_seen_in_the_file(tmp_path: Path) -> None:
    source = convolutions(tmp_path / "source.onnx")
    for name, kind in (("signed", QuantType.QInt8), ("unsigned", QuantType.QUInt8)):
        target = tmp_path / f"{name}.onnx"
        quantize_static(source, target, Samples(), quant_format=QuantFormat.QDQ, activation_type=kind)
        facts = gather_facts(source, Format.ONNX, target, Format.ONNX)
        assert ("signed_activations" in codes(facts)) == (name == "signed")
        assert facts.after is not None
        assert facts.after.counts["QLinearConv"] == 3
        assert facts.after.total_ms > 0


def test_a_model_beside_itself_has_no_fault_of_its_operators(tmp_path: Path) -> None:
    source = convolutions(tmp_path / "source.onnx")
    found = {reason["code"] for reason in explain_slower(source, Format.ONNX, source, Format.ONNX)}
    assert not found & {"dynamic_convolution", "conversions", "left_in_float", "casts", "signed_activations"}


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (
            onnx_facts(times(MatMul=2.0), times(QLinearMatMul=1.0, QuantizeLinear=0.5, DequantizeLinear=0.5)),
            "conversions",
        ),
        (onnx_facts(times(MatMul=2.0, Add=1.0), times(QGemm=4.0, Add=1.0)), "slower_kernels"),
        (onnx_facts(times(LSTM=2.0, Conv=1.0), times(LSTM=2.0, QLinearConv=0.8)), "left_in_float"),
        (onnx_facts(times(Conv=2.0), times(Conv=2.0, Cast=0.4)), "casts"),
        (onnx_facts(times(Conv=0.02), times(QLinearConv=0.03)), "tiny"),
        (onnx_facts(times(Conv=2.0), times(QLinearConv=2.0), cpu_flags=("avx2",)), "no_integer_instructions"),
        (onnx_facts(times(Conv=2.0), times(QLinearConv=2.0), activations=frozenset({"int16"})), "int16_activations"),
        (onnx_facts(times(Conv=2.0), times(Conv=3.0), target=Format.ORT), "ort_format"),
        (
            Facts(source=Format.ONNX, target=Format.OPENVINO, after=times(LSTMSequence=9.0), cpu_flags=FAST_CPU),
            "recurrent_in_openvino",
        ),
        (Facts(source=Format.ONNX, target=Format.TFLITE, cpu_flags=FAST_CPU), "other_runtime"),
        (
            Facts(
                source=Format.TFLITE,
                target=Format.TFLITE,
                operators={"QUANTIZE": 3, "DEQUANTIZE": 2, "FULLY_CONNECTED": 5},
                cpu_flags=FAST_CPU,
            ),
            "conversions",
        ),
    ],
)
def test_a_fact_becomes_its_reason(facts: Facts, code: str) -> None:
    assert code in codes(facts)


def test_what_takes_longer_is_told_by_how_much() -> None:
    (found,) = [
        reason
        for reason in reasons(onnx_facts(times(MatMul=2.0, Add=1.0), times(QGemm=4.0, Add=1.0)))
        if reason["code"] == "slower_kernels"
    ]
    assert "matrix products take 2.0 times as long" in found["detail"]
    assert "1 QGemm" in found["detail"]


def test_the_weightiest_come_first_and_are_few() -> None:
    facts = onnx_facts(
        times(Conv=0.04, MatMul=0.01),
        times(ConvInteger=0.5, DynamicQuantizeLinear=0.1, Cast=0.1, MatMul=0.5),
        activations=frozenset({"int8"}),
        cpu_flags=("avx2",),
    )
    found = codes(facts)
    assert len(found) == MOST_REASONS
    assert found[0] in ("dynamic_convolution", "slower_kernels")


def test_a_faster_variant_on_a_good_processor_has_no_reasons() -> None:
    assert codes(onnx_facts(times(Conv=4.0, Add=1.0), times(QLinearConv=2.0, Add=1.0))) == []


def test_a_tensorflow_lite_file_tells_its_operators() -> None:
    facts = gather_facts(sample.TFLITE_MODEL, Format.TFLITE, sample.TFLITE_MODEL, Format.TFLITE)
    assert facts.operators["CONV_2D"] >= 1
    assert (facts.before, facts.after, facts.activations) == (None, None, frozenset())
