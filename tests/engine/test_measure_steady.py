"""When warm-up and recording end, with work whose duration is set by the test."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from edge_ai.engine.measure.steady import CI_TARGET, PROLONGED_SHARE, record, warm_up


class Work:
    """Counts its calls and takes about the time that it is told for each of them."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.seconds = seconds
        self.calls = 0

    def __call__(self) -> None:
        end = time.perf_counter() + self.seconds(self.calls)
        self.calls += 1
        while time.perf_counter() < end:
            pass


def test_recording_keeps_every_run_in_order_and_stops_by_the_interval() -> None:
    work = Work(lambda _: 0.0005)
    steady = record(work, min_seconds=0.2, max_seconds=20.0)
    assert steady.reason == "ci"
    assert steady.within <= CI_TARGET
    assert steady.started_ns[0] == 0
    assert (steady.started_ns[1:] >= steady.started_ns[:-1] + steady.latency_ns[:-1]).all()
    assert (steady.latency_ns >= 500_000).all()
    assert steady.started_ns[-1] + steady.latency_ns[-1] >= 0.2 * 1e9 * 0.99


def test_recording_stops_when_the_time_is_used_up_and_says_so() -> None:
    # Twenty durations in turn: what interrupts some of them spreads them further.
    work = Work(lambda call: 0.0005 * (1 + call % 20))
    steady = record(work, min_seconds=0.05, max_seconds=0.5)
    assert steady.reason == "budget"
    assert steady.within > CI_TARGET
    assert len(steady.latency_ns) <= work.calls


def test_one_run_longer_than_the_budget_is_still_recorded() -> None:
    work = Work(lambda _: 0.05)
    steady = record(work, min_seconds=0.01, max_seconds=0.02)
    assert (work.calls, len(steady.latency_ns), steady.reason) == (1, 1, "budget")


def test_a_disturbed_recording_lasts_twice_as_long_at_most() -> None:
    quiet_ns: list[int] = []

    def disturbed(latency_ns: npt.NDArray[np.int64]) -> bool:
        quiet_ns.append(int(latency_ns.sum()))
        return True

    steady = record(Work(lambda _: 0.001), min_seconds=0.1, max_seconds=20.0, disturbed=disturbed)
    lasted_ns = steady.started_ns[-1] + steady.latency_ns[-1]
    assert steady.prolonged_seconds > 0
    assert lasted_ns / 1e9 == pytest.approx(2 * (lasted_ns / 1e9 - steady.prolonged_seconds), rel=0.2)
    assert len(quiet_ns) > 1
    assert steady.runs > len(steady.latency_ns)


def test_a_disturbed_recording_ends_when_it_is_calm_as_a_whole() -> None:
    answers = iter([True, False])
    steady = record(Work(lambda _: 0.001), min_seconds=0.1, max_seconds=20.0, disturbed=lambda _: next(answers))
    assert list(answers) == []
    assert steady.prolonged_seconds > 0
    assert steady.reason == "ci"


def test_a_disturbed_recording_outlasts_its_budget_by_a_quarter_only() -> None:
    work = Work(lambda call: 0.001 if call % 2 else 0.002)
    steady = record(work, min_seconds=0.05, max_seconds=0.4, disturbed=lambda _: True)
    assert steady.prolonged_seconds > 0
    # But for inferences at the end that something else interrupts.
    assert (steady.started_ns[-1] - steady.started_ns[0]) / 1e9 < 0.4 * (1 + PROLONGED_SHARE) + 0.25


def test_warm_up_runs_as_often_as_asked() -> None:
    work = Work(lambda _: 0.0)
    warmed = warm_up(work, runs=7, max_seconds=1.0)
    assert (work.calls, warmed.runs, warmed.stable) == (7, 7, None)
    assert warm_up(work, runs=0, max_seconds=1.0).runs == 0
    assert work.calls == 7


def test_warm_up_waits_until_the_latency_has_settled() -> None:
    work = Work(lambda call: max(0.002, 0.03 * 0.8**call))
    warmed = warm_up(work, runs=None, max_seconds=20.0)
    assert warmed.stable is True
    assert warmed.runs == work.calls > 15


@pytest.mark.parametrize("budget_s", [0.0, 0.3])
def test_warm_up_gives_up_when_its_time_is_used_up(budget_s: float) -> None:
    work = Work(lambda call: 0.002 * 1.3**call)
    warmed = warm_up(work, runs=None, max_seconds=budget_s)
    assert warmed.stable is False
    assert warmed.runs == work.calls >= 1
