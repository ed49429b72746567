"""The whole comparison and its method: intervals against closed forms, and a real run with accuracy and samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ai.engine.errors import EngineError
from edge_ai.engine.fit import check_comparable
from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.measure.compare_models import MIN_STARTS, Compared, compare_models, pair_of
from edge_ai.engine.measure.comparison import SAMPLES_FILE, run_comparison
from edge_ai.engine.measure.interleave import Blocks, Start, ratio_of
from edge_ai.engine.spec import ComparisonSpec, Format
from edge_ai.sample import EVALUATION_DATA, ONNX_MODEL, TFLITE_MODEL
from tests.engine.graphs import Told, model_of, save, value
from tests.engine.test_measure_compare_models import dense


def starts_of(log_ratios: list[float]) -> list[Blocks]:
    """Return starts in which the second model takes exactly so much of the first one's time."""
    return [np.broadcast_to(np.array([1.0, math.exp(each)]), (5, 2, 2)).copy() for each in log_ratios]


def test_the_interval_of_four_starts_is_students() -> None:
    logs = [0.10, 0.12, 0.11, 0.13]
    found = ratio_of(starts_of(logs), 0, 1, margin=0.02)
    half = 3.182446 * np.std(logs, ddof=1) / 2
    assert math.log(found.ratio) == pytest.approx(0.115)
    assert np.log(found.ci95) == pytest.approx([0.115 - half, 0.115 + half], abs=1e-5)
    sure = ratio_of(starts_of(logs), 0, 1, margin=0.02, confidence=0.99)
    assert np.log(sure.ci95[1] / sure.ratio) == pytest.approx(half * 5.840909 / 3.182446, rel=1e-4)


def test_a_start_that_went_wrong_is_trimmed_and_widens_little() -> None:
    logs = [0.10, 0.101, 0.099, 0.1, 0.102, 0.098, 0.1, 0.101, 0.099, 0.1]
    fine = ratio_of(starts_of(logs), 0, 1, margin=0.02)
    disturbed = ratio_of(starts_of([*logs[:-1], 5.0]), 0, 1, margin=0.02)
    assert disturbed.ratio == pytest.approx(fine.ratio, rel=0.002)
    assert disturbed.verdict is fine.verdict is Verdict.SLOWER


@pytest.mark.parametrize("count", [4, 6, 10, 20])
@pytest.mark.parametrize("spread", [0.01, 0.05, 0.5])
def test_equal_models_are_hardly_ever_told_apart(count: int, spread: float) -> None:
    random = np.random.default_rng(count)
    verdicts = [
        ratio_of(starts_of(list(random.normal(0.0, spread, count))), 0, 1, margin=0.02, confidence=0.99).verdict
        for _ in range(300)
    ]
    assert sum(verdict in (Verdict.FASTER, Verdict.SLOWER) for verdict in verdicts) <= 6


def test_one_start_decides_nothing() -> None:
    compared = Compared(
        opened=(),
        starts=(Start(blocks=np.array([[[1.0, 5.0], [1.0, 5.0]]]), latency_ns=(), noise=(), runtimes=()),),
        fed="random",
        samples=1,
        threads=1,
        cpus=(0,),
        stop="time",
        seconds=1.0,
    )
    assert pair_of(0, 1, ["a", "b"], compared, 0.02)["verdict"] == "inconclusive"


def test_five_percent_are_found_where_starts_differ_by_two() -> None:
    random = np.random.default_rng(1)
    found = [
        ratio_of(starts_of(list(random.normal(math.log(1.05), 0.02, 20))), 0, 1, margin=0.02).verdict
        for _ in range(100)
    ]
    assert found.count(Verdict.SLOWER) >= 90


def test_both_formats_of_the_sample_with_accuracy_and_every_sample(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(ONNX_MODEL.read_bytes())
    (tmp_path / "b.tflite").write_bytes(TFLITE_MODEL.read_bytes())
    (tmp_path / "data.npz").write_bytes(EVALUATION_DATA.read_bytes())
    told = Told()
    spec = ComparisonSpec(
        model_paths=("a.onnx", "b.tflite"),
        formats=(Format.ONNX, Format.TFLITE),
        names=("A", "B"),
        threads=1,
        dataset_path="data.npz",
        max_seconds=4.0,
    )
    result, (file,) = run_comparison(spec, tmp_path, told)
    first, second = result["runs"]
    assert [run["place"] for run in result["runs"]] == [0, 1]
    assert first["accuracy"]["top1"] > 0.9
    assert first["accuracy"] == second["accuracy"]
    assert first["delta"] is None
    assert second["size_bytes"] == len(TFLITE_MODEL.read_bytes())
    assert second["delta"]["size"] == pytest.approx(second["size_bytes"] / first["size_bytes"] - 1)
    assert second["delta"]["accuracy"] == 0
    (pair,) = result["pairs"]
    assert result["every_pair"] == [pair]
    assert (pair["a"], pair["b"]) == ("0", "1")
    assert second["delta"]["p50"] == pytest.approx(pair["ratio_p50"] - 1)
    assert len(pair["ratios_of_starts"]) == result["starts"] == result["environment"]["starts"] >= 1
    assert result["stop"]["reason"] in ("clear", "time", "starts")
    assert file.role == "samples"
    with np.load(tmp_path / SAMPLES_FILE, allow_pickle=False) as arrays:
        for place, run in enumerate(result["runs"]):
            kept = [arrays[f"latency_ns_{start}_{place}"] for start in range(result["starts"])]
            assert sum(map(len, kept)) == run["latency_ms"]["samples"]
        rounds = [len(arrays[f"block_ns_{start}"]) for start in range(result["starts"])]
    assert sum(rounds) == result["rounds"]
    assert [name for name, _, _ in told.stages][-1] == "accuracy"


def test_it_ends_early_once_all_is_clear(tmp_path: Path) -> None:
    short, long = dense(tmp_path / "a.onnx", 4), dense(tmp_path / "b.onnx", 24)
    result = compare_models(
        [(short, Format.ONNX), (long, Format.ONNX)], dataset=None, threads=1, max_seconds=60.0, workdir=tmp_path
    )
    assert result["stop"]["reason"] == "clear"
    assert MIN_STARTS <= result["starts"] < 20
    assert result["pairs"][0]["verdict"] == "slower"


def test_models_of_other_inputs_are_refused(tmp_path: Path) -> None:
    one = dense(tmp_path / "a.onnx", 2)
    other = save(
        model_of(
            [],
            [value("x", ["batch", 16])],
            [value("x", ["batch", 16])],
        ),
        tmp_path / "b.onnx",
    )
    with pytest.raises(EngineError) as caught:
        compare_models(
            [(one, Format.ONNX), (other, Format.ONNX)], dataset=None, threads=1, max_seconds=1.0, workdir=tmp_path
        )
    assert caught.value.code == "not_comparable"
    assert caught.value.details is not None
    assert caught.value.details["candidate"] == 1


def analysis(*shapes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": f"x{place}", "dtype": "float32", "shape": shape} for place, shape in enumerate(shapes)]}


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        ([[1, 3, 224, 224]], [[1, 224, 224, 3]], True),
        ([["batch", 1, 8, 8]], [[1, 8, 8, 1]], True),
        ([[None, 16]], [[1, 16]], True),
        ([[1, 16], [1, 4]], [[1, 4], [1, 16]], True),
        ([[1, None], [1, 4]], [[1, 4], [1, 4]], True),
        ([None], [[1, 4]], True),
        ([[1, 16]], [[1, 17]], False),
        ([[1, 16]], [[1, 16], [1, 16]], False),
        ([[1, 16]], [[1, 4, 4]], False),
        ([[1, 16], [1, 16]], [[1, 16], [1, 4]], False),
        ([], [[1]], False),
    ],
)
def test_inputs_are_held_against_each_other(ours: list[Any], theirs: list[Any], fits: bool) -> None:
    if fits:
        check_comparable([analysis(*ours), analysis(*theirs)], ["A", "B"])
        return
    with pytest.raises(EngineError) as caught:
        check_comparable([analysis(*ours), analysis(*theirs)], ["A", "B"])
    assert (caught.value.code, caught.value.field) == ("not_comparable", "models")
