"""Verdicts about two runs, on samples whose truth is known."""

import numpy as np
import pytest

from edge_ai.engine.measure.compare import Verdict, compare, judge


def normal(seed: int, median: float, count: int = 3000) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(median, median * 0.05, count)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.80, 0.90), Verdict.FASTER),
        ((1.10, 1.20), Verdict.SLOWER),
        ((0.99, 1.01), Verdict.SAME),
        ((0.90, 1.10), Verdict.INCONCLUSIVE),
        ((0.97, 0.99), Verdict.INCONCLUSIVE),
    ],
)
def test_verdict_of_an_interval(interval: tuple[float, float], verdict: Verdict) -> None:
    assert judge(interval, 0.02) is verdict


def test_the_same_model_twice_is_never_called_faster_or_slower() -> None:
    verdicts = {compare(normal(seed, 1e6), normal(seed + 100, 1e6))["verdict"] for seed in range(20)}
    assert verdicts <= {"same", "inconclusive"}


def test_the_same_model_twice_is_the_same_when_the_processes_are_known_to_agree() -> None:
    assert compare(normal(1, 1e6), normal(2, 1e6), between_runs_sd=0.0)["verdict"] == "same"


def test_twenty_percent_is_found_in_both_directions() -> None:
    slower = compare(normal(1, 1e6), normal(2, 1.2e6))
    assert slower["verdict"] == "slower"
    assert slower["ratio_p50"] == pytest.approx(1.2, rel=0.01)
    assert slower["ci95"][0] <= slower["ratio_p50"] <= slower["ci95"][1]
    assert compare(normal(1, 1.2e6), normal(2, 1e6))["verdict"] == "faster"


def test_a_disturbance_that_lasts_widens_the_interval() -> None:
    quiet, noisy = normal(1, 1e6), normal(2, 1e6)
    # Alternating stretches of the run at another speed: many samples, but few independent ones.
    noisy[: len(noisy) // 2] *= 1.2
    wide = compare(quiet, noisy, between_runs_sd=0.0)["ci95"]
    narrow = compare(quiet, normal(2, 1e6), between_runs_sd=0.0)["ci95"]
    assert wide[1] - wide[0] > 5 * (narrow[1] - narrow[0])


def test_a_single_sample_each_gives_an_answer() -> None:
    result = compare(np.array([100], dtype=np.int64), np.array([300], dtype=np.int64))
    assert result["ratio_p50"] == 3
    assert result["verdict"] == "slower"


def test_the_answer_is_repeatable() -> None:
    assert compare(normal(1, 1e6), normal(2, 1.1e6)) == compare(normal(1, 1e6), normal(2, 1.1e6))
