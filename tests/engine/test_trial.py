"""Which of several variants is kept."""

from pathlib import Path

import pytest

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.evaluate.distance import OutputParity
from edge_ai.engine.evaluate.parity import MetricChange, Parity
from edge_ai.engine.quantize.trial import Trial, choose_best
from edge_ai.engine.spec import OptimizationLevel, Precision


def trial(
    folder: Path,
    name: str,
    sqnr_db: float,
    *,
    drop: float | None = None,
    size_bytes: int = 100,
    fault: str | None = None,
) -> Trial:
    path = folder / f"{name}.onnx"
    path.write_bytes(bytes(size_bytes))
    metric = None if drop is None else MetricChange(name="top1", reference=0.9, variant=0.9 - drop, samples=500)
    output = OutputParity(name="y", sqnr_db=sqnr_db, cosine=1.0, max_abs_error=0.0)
    parity = Parity(outputs=(output,), samples=500, data="dataset", metric=metric)
    return Trial(name=name, path=path, settings={}, make=lambda path: None, parity=parity, fault=fault)


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


@pytest.mark.parametrize("code", ["nothing_to_quantize", "unsupported_operator"])
def test_when_nothing_came_of_it_the_reason_is_told(tmp_path: Path, code: str) -> None:
    failed = trial(tmp_path, "a", 1.0)
    failed.parity, failed.failure = None, UnsupportedError("No such luck.", code=code)
    with pytest.raises(UnsupportedError, match="No such luck") as caught:
        chosen(failed)
    assert caught.value.code == code
