"""The verdict about noise, and the kernel's counters that it rests on."""

import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edge_ai.engine.measure.noise import (
    Counters,
    NoiseSignals,
    frequency_fall,
    judge_noise,
    read_counters,
    read_frequency,
    read_load,
    signals_between,
)

QUIET = NoiseSignals(run_delay=0.001, others_busy=0.01, steal=0.0, drift=0.01, cv=0.02)


def test_a_quiet_run_is_called_quiet() -> None:
    verdict = judge_noise(QUIET)
    assert verdict.verdict == "quiet"
    told = verdict.to_json()
    assert told | {"signals": None} == {"verdict": "quiet", "cv": 0.02, "detail": verdict.detail, "signals": None}
    assert told["signals"] == asdict(QUIET)
    # The median absolute spread comes nearest to its limit: 2 % of 10 %; drift is 1 % of 5 %.
    assert verdict.excess == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        (NoiseSignals(run_delay=0.05, others_busy=0.0, steal=0.0, drift=0.0, cv=0.0), "waited for a processor 5.0%"),
        (NoiseSignals(run_delay=0.0, others_busy=0.4, steal=0.0, drift=0.0, cv=0.0), "other processes used 40%"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.03, drift=0.0, cv=0.0), "hypervisor took 3.0%"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.0, drift=0.1, cv=0.0), "10.0% slower"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.0, drift=-0.1, cv=0.0), "10.0% faster"),
        (NoiseSignals(run_delay=0.0, others_busy=0.0, steal=0.0, drift=0.0, cv=0.3), "spreads by 30.0%"),
        (replace(QUIET, outliers=0.07), "7.0% of the samples are outliers"),
        (replace(QUIET, frequency=0.25), "frequency fell by 25%"),
        (replace(QUIET, others_busy=None, load=1.5), "1.5 processes wanted to run"),
        (replace(QUIET, run_delay=1.5), "150.0% of the time (its threads added up)"),
    ],
)
def test_each_signal_alone_makes_a_run_noisy_and_is_named(signals: NoiseSignals, said: str) -> None:
    verdict = judge_noise(signals)
    assert verdict.verdict == "noisy"
    assert said in verdict.detail
    assert verdict.excess > 1


def test_the_load_of_the_last_minute_counts_only_where_the_others_cannot_be_seen() -> None:
    assert judge_noise(replace(QUIET, load=9.0)).verdict == "quiet"


def test_load_and_frequency_are_read_or_unknown(tmp_path: Path) -> None:
    assert read_load(tmp_path) is None
    (tmp_path / "loadavg").write_text("3.00 1.0 0.5 2/300 4711\n")
    assert read_load(tmp_path) == 3.0 / (os.cpu_count() or 1)
    assert read_frequency([0, 1], tmp_path) is None
    for number, khz in enumerate((3_000_000, 2_000_000)):
        (tmp_path / f"cpu{number}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{number}" / "cpufreq" / "scaling_cur_freq").write_text(f"{khz}\n")
    assert read_frequency([0], tmp_path) == 3000.0
    assert read_frequency([0, 1], tmp_path) == 2500.0


def test_the_frequency_falls_from_the_highest_reading_to_the_lowest() -> None:
    assert frequency_fall([3000.0, 2400.0, None, 2700.0]) == pytest.approx(0.2)
    assert frequency_fall([None, None]) is None


def test_counters_that_the_system_hides_are_named_and_not_guessed() -> None:
    verdict = judge_noise(NoiseSignals(run_delay=None, others_busy=None, steal=None, drift=0.0, cv=0.0))
    assert verdict.verdict == "quiet"
    unseen = "waiting for a processor, other processes, the hypervisor, the frequency"
    assert f"not visible on this system: {unseen}" in verdict.detail


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
