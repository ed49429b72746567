"""What is said of a variant that was measured to be slower than the original."""

from pathlib import Path

import pytest

from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.quantize.fp16 import compute_in_fp16
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.spec import Format, OptimizationLevel, Precision
from edge_ai.engine.verdict import Latency, slower_caution

from . import graphs


@pytest.fixture
def context(tmp_path: Path) -> LaneContext:
    return LaneContext(
        model=graphs.save(graphs.conv_net(), tmp_path / "m.onnx"),
        format=Format.ONNX,
        inputs=(),
        outputs=(),
        precision=Precision.FP16,
        level=OptimizationLevel.BALANCED,
        options=OptimizeOptions(),
        calibration=(),
        sample=None,
        workdir=tmp_path,
        progress=graphs.Told(),
    )


@pytest.fixture
def variant(context: LaneContext) -> Trial:
    path = context.workdir / "v.onnx"
    compute_in_fp16(context.model, path, keep_io=True)
    return Trial(name="fp16 arithmetic", path=path, settings={}, make=lambda path: None)


def measured(verdict: str, ratio: float = 1.42) -> Latency:
    ratios = {"fp16 arithmetic": {"ratio": ratio, "ci95": [1.3, 1.55], "verdict": verdict}}
    return Latency(against="original", method="interleaved processes", ratios=ratios)


def test_a_slower_variant_is_told_with_its_figure_its_interval_and_what_to_do(
    context: LaneContext, variant: Trial
) -> None:
    (caution,) = slower_caution(variant, measured("slower"), context, Format.ONNX)
    assert caution.code == "variant_slower"
    assert "1.42 times as long as the original (95 % interval 1.30 to 1.55, one thread)" in caution.detail
    assert caution.fix


@pytest.mark.parametrize("verdict", ["faster", "same", "inconclusive"])
def test_nothing_is_said_of_a_variant_that_is_not(context: LaneContext, variant: Trial, verdict: str) -> None:
    assert slower_caution(variant, measured(verdict), context, Format.ONNX) == []


def test_nothing_is_said_of_what_was_not_measured(context: LaneContext, variant: Trial) -> None:
    assert slower_caution(variant, Latency(reason="nothing runs it"), context, Format.ONNX) == []
