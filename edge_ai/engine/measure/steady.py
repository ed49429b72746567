"""When to start recording latencies, and when to stop: warm-up and steady state of anything that can be called."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.measure.statistics import correlation_time, median_interval, relative_half_width

CI_TARGET: Final = 0.02
"""The steady state ends early when the interval of the median is within this fraction of it, either side."""

MAX_SAMPLES: Final = 1_000_000
"""Bounds the memory and the file of samples; reached only by networks of a few microseconds."""

PROLONGED_SHARE: Final = 0.25
"""A disturbed recording may last so much longer than was asked for."""

_NS_PER_S: Final = 1_000_000_000
_MIN_SAMPLES_FOR_CI: Final = 20
_CHECK_GROWTH: Final = 1.2
_REWARM_RUNS: Final = 3
_WINDOW_NS: Final = 100_000_000
_WINDOW_RUNS: Final = 3
_STABLE_WITHIN: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How many runs were thrown away before recording, and whether their latency had settled by then.

    ``stable`` is None when the number of runs was asked for and nobody looked.
    """

    runs: int
    seconds: float
    stable: bool | None


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """Every recorded run: start relative to the first one, and latency, both int64 nanoseconds of shape (n,).

    ``reason`` says why it ended: "ci", the median's interval was within `CI_TARGET`; or "budget", the time or
    `MAX_SAMPLES` was used up. ``within`` is the half-width of that interval over the median at the end.
    ``prolonged_seconds`` is how long it went on, because it was disturbed, after it would have ended. ``runs`` counts those
    that were not recorded, too. ``looks_cpu_seconds`` is the processor time of the looks at the interval and the machine.
    """

    started_ns: npt.NDArray[np.int64]
    latency_ns: npt.NDArray[np.int64]
    reason: str
    within: float
    prolonged_seconds: float
    runs: int
    looks_cpu_seconds: float


def warm_up(run: Callable[[], object], *, runs: int | None, max_seconds: float) -> WarmUp:
    """Run until the latency has settled, or as often as asked.

    Settled means that the medians of two consecutive windows (100 ms or three runs, whichever is longer) differ by less
    than 3 %.

    Parameters
    ----------
    run
        One inference.
    runs
        How many runs to make; None to watch the latency.
    max_seconds
        When to stop watching; at least one run is made.
    """
    clock = time.perf_counter_ns
    begin = clock()
    if runs is not None:
        for _ in range(runs):
            run()
        return WarmUp(runs=runs, seconds=(clock() - begin) / _NS_PER_S, stable=None)
    end = begin + int(max_seconds * _NS_PER_S)
    count, previous, stable = 0, None, False
    while not stable and (count == 0 or clock() < end):
        window: list[int] = []
        window_end = clock() + _WINDOW_NS
        while len(window) < _WINDOW_RUNS or clock() < window_end:
            start = clock()
            run()
            stop = clock()
            window.append(stop - start)
            if stop >= end:
                break
        count += len(window)
        median = float(np.median(window))
        stable = previous is not None and len(window) >= _WINDOW_RUNS and abs(median / previous - 1) < _STABLE_WITHIN
        previous = median
    return WarmUp(runs=count, seconds=(clock() - begin) / _NS_PER_S, stable=stable)


def record(
    run: Callable[[], object],
    *,
    min_seconds: float,
    max_seconds: float,
    disturbed: Callable[[npt.NDArray[np.int64]], bool] = lambda latency_ns: False,
) -> SteadyState:
    """Record latencies until the median is known well enough or the time is used up.

    The interval is looked at ever more rarely, and a few runs after each look are not recorded, because the look itself
    empties the caches; no recorded sample is dropped. A recording that was disturbed goes on until it is not, as a whole,
    but no longer than twice as long, and no longer than `PROLONGED_SHARE` of ``max_seconds`` beyond it.

    Parameters
    ----------
    run
        One inference.
    min_seconds, max_seconds
        Bounds of the recording; at least one run is recorded, however long it takes.
    disturbed
        Says of all latencies so far, in ns, whether something disturbed them. It is asked at each look.
    """
    clock = time.perf_counter_ns
    starts, latencies = array("q"), array("q")
    begin = clock()
    end = begin + int(max_seconds * _NS_PER_S)
    longest = begin + int(max_seconds * (1.0 + PROLONGED_SHARE) * _NS_PER_S)
    next_look = begin + int(min_seconds * _NS_PER_S)
    would_end: int | None = None
    unrecorded = looks_cpu_ns = 0
    while True:
        start = clock()
        run()
        stop = clock()
        starts.append(start)
        latencies.append(stop - start)
        full = len(latencies) >= MAX_SAMPLES
        over = stop >= end or full
        if not over and stop < next_look:
            continue
        look_ns = time.process_time_ns()
        precise = len(latencies) >= _MIN_SAMPLES_FOR_CI and _precision(latencies) <= CI_TARGET
        if precise or over:
            at_last = full or stop >= longest or (over and would_end is not None)
            if at_last or not disturbed(np.array(latencies, dtype=np.int64)):
                break
            if would_end is None:
                would_end = stop
                end = min(longest, stop + (stop - begin))
        looks_cpu_ns += time.process_time_ns() - look_ns
        next_look = begin + int((clock() - begin) * _CHECK_GROWTH)
        for _ in range(_REWARM_RUNS):
            if clock() < end:
                run()
                unrecorded += 1
    started_ns = np.frombuffer(starts, dtype=np.int64)
    within = _precision(latencies)
    looks_cpu_ns += time.process_time_ns() - look_ns
    return SteadyState(
        started_ns=started_ns - started_ns[0],
        latency_ns=np.frombuffer(latencies, dtype=np.int64).copy(),
        reason="ci" if precise and (would_end is not None or not over) else "budget",
        within=within,
        prolonged_seconds=0.0 if would_end is None else (stop - would_end) / _NS_PER_S,
        runs=len(latencies) + unrecorded,
        looks_cpu_seconds=looks_cpu_ns / _NS_PER_S,
    )


def _precision(latencies: array[int]) -> float:
    """Return the half-width of the median's 95 % interval over the median."""
    samples = np.array(latencies, dtype=np.int64)
    interval = median_interval(samples, correlation=correlation_time(samples))
    return relative_half_width(interval, float(np.median(samples)))
