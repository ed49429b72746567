"""Which of several variants is kept."""

from pathlib import Path

import pytest

from edge_ai.engine.choose import choose_best
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.evaluate.distance import OutputParity
from edge_ai.engine.evaluate.parity import MetricChange, Parity
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.spec import OptimizationLevel, Precision


def trial(
    folder: Path,
    name: str,
    sqnr_db: float,
    *,
    drop: float | None = None,
    size_bytes: int = 100,
    fault: str | None = None,
    latency_ratio: float | None = None,
    latency_ci95: tuple[float, float] | None = None,
) -> Trial:
    path = folder / f"{name}.onnx"
    metric = None if drop is None else MetricChange(name="top1", reference=0.9, variant=0.9 - drop, samples=500)
    output = OutputParity(name="y", sqnr_db=sqnr_db, cosine=1.0, max_abs_error=0.0)
    parity = Parity(outputs=(output,), samples=500, data="dataset", metric=metric)
    return Trial(
        name=name,
        path=path,
        settings={},
        make=lambda path: None,
        parity=parity,
        fault=fault,
        size_bytes=size_bytes,
        latency_ratio=latency_ratio,
        latency_ci95=latency_ci95,
    )


def chosen(*trials: Trial, level: OptimizationLevel = OptimizationLevel.BALANCED) -> str:
    return choose_best(trials, level, Precision.INT8).name


def test_without_labels_the_closest_is_kept(tmp_path: Path) -> None:
    assert chosen(trial(tmp_path, "a", 20.0), trial(tmp_path, "b", 25.0), trial(tmp_path, "c", 22.0)) == "b"


def test_labels_count_more_than_closeness(tmp_path: Path) -> None:
    assert chosen(trial(tmp_path, "a", 30.0, drop=0.015), trial(tmp_path, "b", 20.0, drop=0.0)) == "b"


def test_metrics_too_close_to_tell_apart_leave_it_to_closeness(tmp_path: Path) -> None:
    assert chosen(trial(tmp_path, "a", 30.0, drop=0.002), trial(tmp_path, "b", 20.0, drop=0.0)) == "a"


def test_a_variant_at_fault_is_kept_only_when_all_are(tmp_path: Path) -> None:
    faulty = trial(tmp_path, "a", 40.0, fault="top1 falls")
    assert chosen(faulty, trial(tmp_path, "b", 10.0)) == "b"
    assert chosen(faulty) == "a"


def test_size_takes_the_smallest_that_passes(tmp_path: Path) -> None:
    trials = (
        trial(tmp_path, "a", 30.0, size_bytes=300),
        trial(tmp_path, "b", 20.0, size_bytes=200),
        trial(tmp_path, "c", 10.0, size_bytes=100, fault="too far off"),
    )
    assert chosen(*trials, level=OptimizationLevel.SIZE) == "b"


def test_speed_takes_the_fastest_that_passes_and_among_equals_the_closest(tmp_path: Path) -> None:
    trials = (
        trial(tmp_path, "a", 40.0, latency_ratio=1.0),
        trial(tmp_path, "b", 20.0, latency_ratio=0.5),
        trial(tmp_path, "c", 25.0, latency_ratio=0.51),
        trial(tmp_path, "d", 2.0, latency_ratio=0.1, fault="too far off"),
    )
    assert chosen(*trials, level=OptimizationLevel.SPEED) == "c"


def test_speed_without_a_measurement_takes_the_closest(tmp_path: Path) -> None:
    assert chosen(trial(tmp_path, "a", 20.0), trial(tmp_path, "b", 25.0), level=OptimizationLevel.SPEED) == "b"


@pytest.mark.parametrize(
    ("ratios", "sizes", "sqnr_db", "best"),
    [
        # Twice as fast and just as small: worth 10 dB.
        ((0.5, 1.0), (100, 100), (30.0, 40.0), "a"),
        # A tenth faster: not worth 20 dB.
        ((0.9, 1.0), (100, 100), (15.0, 35.0), "b"),
        # Half the size at the same speed and closeness.
        ((1.0, 1.0), (50, 100), (30.0, 30.0), "a"),
    ],
)
def test_balanced_takes_the_knee(
    tmp_path: Path, ratios: tuple[float, float], sizes: tuple[int, int], sqnr_db: tuple[float, float], best: str
) -> None:
    trials = [
        trial(tmp_path, name, sqnr_db[place], size_bytes=sizes[place], latency_ratio=ratios[place])
        for place, name in enumerate("ab")
    ]
    assert chosen(*trials) == best


@pytest.mark.parametrize("code", ["nothing_to_quantize", "unsupported_operator"])
def test_when_nothing_came_of_it_the_reason_is_told(tmp_path: Path, code: str) -> None:
    failed = trial(tmp_path, "a", 1.0)
    failed.parity, failed.failure = None, UnsupportedError("No such luck.", code=code)
    with pytest.raises(UnsupportedError, match="No such luck") as caught:
        chosen(failed)
    assert caught.value.code == code


def test_what_needs_a_word_of_warning_is_not_kept_where_another_does_not(tmp_path: Path) -> None:
    small = trial(tmp_path, "small", 29.4, size_bytes=80, latency_ratio=0.9)
    near = trial(tmp_path, "near", 54.1, size_bytes=100, latency_ratio=1.0)
    assert choose_best([small, near], OptimizationLevel.BALANCED, Precision.FP16).name == "near"


def test_a_difference_in_time_that_cannot_be_told_decides_nothing(tmp_path: Path) -> None:
    near = trial(tmp_path, "near", 35.0, latency_ratio=1.2, latency_ci95=(0.9, 1.5))
    quick = trial(tmp_path, "quick", 30.0, latency_ratio=1.0, latency_ci95=(0.8, 1.3))
    assert chosen(near, quick) == "near"
    slow = trial(tmp_path, "slow", 35.0, latency_ratio=1.9, latency_ci95=(1.8, 2.0))
    assert chosen(slow, quick) == "quick"
