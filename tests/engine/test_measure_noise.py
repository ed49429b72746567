"""The verdict about noise, and the kernel's counters that it rests on."""

import os
import time
from pathlib import Path

import pytest

from edge_ai.engine.measure.noise import Counters, NoiseSignals, judge_noise, read_counters, signals_between

QUIET = NoiseSignals(run_delay=0.001, others_busy=0.01, steal=0.0, drift=0.01, cv=0.02)


def test_a_quiet_run_is_called_quiet() -> None:
    verdict = judge_noise(QUIET)
    assert verdict.verdict == "quiet"
    assert verdict.to_json() == {"verdict": "quiet", "cv": 0.02, "detail": verdict.detail}


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        (NoiseSignals(run_delay=0.05, others_busy=0.0, steal=0.0, drift=0.0, cv=0.0), "waited for a processor 5.0%"),
        (NoiseSignals(run_delay=0.0, others_busy=0.4, steal=0.0, drift=0.0, cv=0.0), "other processes used 40%"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.03, drift=0.0, cv=0.0), "hypervisor took 3.0%"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.0, drift=0.1, cv=0.0), "10.0% slower"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.0, drift=-0.1, cv=0.0), "10.0% faster"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.0, drift=0.0, cv=0.3), "spreads by 30.0%"),
    ],
)
def test_each_signal_alone_makes_a_run_noisy_and_is_named(signals: NoiseSignals, said: str) -> None:
    verdict = judge_noise(signals)
    assert verdict.verdict == "noisy"
    assert said in verdict.detail


def test_counters_that_the_system_hides_are_named_and_not_guessed() -> None:
    verdict = judge_noise(NoiseSignals(run_delay=None, others_busy=None, steal=None, drift=0.0, cv=0.0))
    assert verdict.verdict == "quiet"
    assert "not visible on this system: waiting for a processor, other processes, the hypervisor" in verdict.detail


def test_fractions_between_two_readings() -> None:
    before = Counters(wall_s=10.0, own_s=1.0, run_delay_s=0.5, busy_s=100.0, steal_s=3.0)
    after = Counters(wall_s=14.0, own_s=4.0, run_delay_s=0.7, busy_s=105.0, steal_s=3.4)
    signals = signals_between(before, after, processors=2, drift=0.0, cv=0.0)
    assert signals.run_delay == pytest.approx(0.05)
    assert signals.others_busy == pytest.approx((5.0 - 3.0) / 8.0)
    assert signals.steal == pytest.approx(0.05)


def test_processor_seconds_are_read_from_the_watched_processors_only(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    lines = [
        "cpu  999 999 999 999 999 999 999 999 0 0",
        f"cpu0 {ticks} 0 {ticks} 5 7 0 0 {2 * ticks} 0 0",
        f"cpu1 {9 * ticks} 0 0 5 7 0 0 {9 * ticks} 0 0",
    ]
    (tmp_path / "stat").write_text("\n".join(lines))
    counters = read_counters([0], proc=tmp_path)
    assert (counters.busy_s, counters.steal_s) == (2.0, 2.0)
    assert counters.run_delay_s is None


def test_this_process_counters_grow_with_work() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    before = read_counters(cpus)
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    after = read_counters(cpus)
    assert after.own_s > before.own_s
    assert after.wall_s > before.wall_s
