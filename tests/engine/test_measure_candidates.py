"""Models measured by turns in processes of their own: ratios only, since times depend on the machine."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edge_ai.engine.errors import CODES, EngineError
from edge_ai.engine.measure.candidates import Candidate, measure_ratios
from edge_ai.engine.measure.compare import Verdict
from edge_ai.engine.measure.interleave import MIN_ROUNDS, Blocks, ratio_of
from edge_ai.engine.spec import Format
from tests.engine.graphs import model_of, samples, save, save_raw, value, weight


def dense(folder: Path, layers: int) -> Candidate:
    """Return a chain of dense layers, 256 → 256; two of different length do the same work by the layer."""
    nodes = [helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(layers)]
    weights = [weight(f"w{n}", 256, 256, seed=n, scale=0.05) for n in range(layers)]
    model = model_of(nodes, [value("x0", [1, 256])], [value(f"x{layers}", [1, 256])], weights)
    path = save(model, folder / f"dense-{layers}.onnx")
    return Candidate(path=path, format=Format.ONNX, feeds=[{"x0": samples(1, 256, seed=n)} for n in range(3)], name="d")


def blocks(ratio: float, *, rounds: int = 10, noise: float = 0.01, drift: float = 0.0, seed: int = 0) -> Blocks:
    """Return the blocks of two models in the order A B B A on a machine that becomes slower by ``drift`` a block."""
    random = np.random.default_rng(seed)
    slower = 1.0 + drift * np.arange(rounds * 4).reshape(rounds, 2, 2)
    # On the way back the second model comes first.
    slower[:, 1] = slower[:, 1, ::-1]
    noisy: Blocks = np.array([1e6, 1e6 * ratio]) * slower * np.exp(noise * random.standard_normal((rounds, 2, 2)))
    return noisy


def test_a_model_is_not_faster_than_itself(tmp_path: Path) -> None:
    net = dense(tmp_path, 8)
    # One interval in twenty misses: three in a row do not.
    verdicts = (measure_ratios([net, net], threads=1, max_seconds=2.0)[1].verdict for _ in range(3))
    assert any(verdict in ("same", "inconclusive") for verdict in verdicts)


def test_more_work_takes_longer(tmp_path: Path) -> None:
    short, long = dense(tmp_path, 4), dense(tmp_path, 16)
    first, slower = measure_ratios([short, long], threads=1, max_seconds=3.0)
    assert (first.ratio, first.ci95, first.verdict) == (1.0, (1.0, 1.0), "same")
    assert slower.verdict == "slower"
    assert 1.5 < slower.ci95[0] <= slower.ratio <= slower.ci95[1]
    assert slower.p50_ms > first.p50_ms
    assert slower.blocks == first.blocks >= 2
    assert first.samples > slower.samples


def test_a_model_slower_than_the_whole_time_is_measured_once_all_the_same(tmp_path: Path) -> None:
    short, long = dense(tmp_path, 4), dense(tmp_path, 16)
    _, measured = measure_ratios([short, long], threads=1, max_seconds=0.01)
    assert measured.blocks == 2
    assert measured.ratio > 1


def test_a_model_that_does_not_load_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    fine = dense(tmp_path, 4)
    with pytest.raises(EngineError) as caught:
        measure_ratios(
            [fine, Candidate(path=broken, format=Format.ONNX, feeds=fine.feeds, name="int8")],
            threads=1,
            max_seconds=1.0,
        )
    assert caught.value.code == "model_unreadable"
    assert caught.value.details is not None
    assert (caught.value.details["candidate"], caught.value.details["name"]) == (1, "int8")
    assert str(tmp_path) not in caught.value.message


def test_a_model_that_does_not_run_is_named(tmp_path: Path) -> None:
    fine = dense(tmp_path, 4)
    wrong = Candidate(path=fine.path, format=Format.ONNX, feeds=[{"x0": samples(1, 9)}], name="wrong")
    with pytest.raises(EngineError) as caught:
        measure_ratios([fine, wrong], threads=1, max_seconds=1.0)
    assert caught.value.code in CODES
    assert caught.value.details is not None
    assert caught.value.details["candidate"] == 1


def test_texts_are_fed_whatever_holds_them(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model = model_of([node], [value("x", [None], 8)], [value("y", [None], 8)])
    path = save_raw(model, tmp_path / "texts.onnx")
    texts = [{"x": np.array(["ab", "c"], dtype=object)}, {"x": np.array(["ab"])}]
    one = Candidate(path=path, format=Format.ONNX, feeds=texts)
    (only,) = measure_ratios([one], threads=1, max_seconds=0.2)
    assert only.p50_ms > 0


def test_the_interval_holds_the_ratio_and_decides() -> None:
    found = ratio_of([blocks(1.3)], 0, 1, margin=0.02)
    assert found.ci95[0] <= found.ratio <= found.ci95[1]
    assert found.ratio == pytest.approx(1.3, rel=0.02)
    assert found.verdict is Verdict.SLOWER
    assert ratio_of([blocks(1.3)], 1, 0, margin=0.02).verdict is Verdict.FASTER


def test_a_machine_that_slows_down_does_not_favour_the_first() -> None:
    steady, drifting = blocks(1.0), blocks(1.0, drift=0.01)
    assert ratio_of([drifting], 0, 1, margin=0.02).ratio == pytest.approx(
        ratio_of([steady], 0, 1, margin=0.02).ratio, abs=0.005
    )


def test_one_start_never_proves_that_two_models_are_the_same_and_many_may() -> None:
    one = ratio_of([blocks(1.0, noise=0.001)], 0, 1, margin=0.02)
    many = ratio_of([blocks(1.0, noise=0.001, seed=seed) for seed in range(5)], 0, 1, margin=0.02)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert many.verdict is Verdict.SAME


def test_starts_that_differ_widen_the_interval() -> None:
    alike = [blocks(1.1, seed=seed) for seed in range(5)]
    unlike = [blocks(1.1 + 0.1 * (seed - 2), seed=seed) for seed in range(5)]
    width = [np.subtract(*ratio_of(starts, 0, 1, margin=0.02).ci95[::-1]) for starts in (alike, unlike)]
    assert width[1] > 3 * width[0]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_few_pairs_decide_great_differences_only(rounds: int) -> None:
    assert rounds < MIN_ROUNDS
    seeds = range(20)
    slight = [ratio_of([blocks(1.1, rounds=rounds, noise=0.05, seed=seed)], 0, 1, margin=0.02) for seed in seeds]
    great = [ratio_of([blocks(9.0, rounds=rounds, noise=0.05, seed=seed)], 0, 1, margin=0.02) for seed in seeds]
    assert sum(found.verdict is Verdict.INCONCLUSIVE for found in slight) >= 18
    assert sum(found.verdict is Verdict.SLOWER for found in great) >= 18
