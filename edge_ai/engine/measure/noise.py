"""How disturbed the machine was while something was measured: readings of the kernel's counters, and a verdict."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

MAX_RUN_DELAY: Final = 0.02
MAX_OTHERS_BUSY: Final = 0.10
MAX_STEAL: Final = 0.01
MAX_DRIFT: Final = 0.05
MAX_CV: Final = 0.10
MAX_OUTLIERS: Final = 0.05
MAX_FREQUENCY_CHANGE: Final = 0.10
MAX_LOAD: Final = 1.0
"""Of processes that want to run, for each processor of the machine; judged only where the others cannot be seen."""

_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Kernel counters at one moment, in seconds; the difference of two readings describes the time between them.

    ``run_delay_s`` is how long the threads of this process were ready to run but had no processor; ``busy_s`` and
    ``steal_s`` are sums over the processors that were watched, by everybody; ``own_s`` is this process' processor time.
    ``None`` is a counter that this system does not show.
    """

    wall_s: float
    own_s: float
    run_delay_s: float | None
    busy_s: float | None
    steal_s: float | None


@dataclass(frozen=True, kw_only=True)
class NoiseSignals:
    """What disturbed a measurement, each as a fraction.

    ``run_delay``: of the wall time, waiting for a processor. ``others_busy``: of the watched processors' capacity, used
    by other processes. ``steal``: of that capacity, taken by the hypervisor. ``drift``: median of the second half over
    that of the first, minus 1. ``cv``: robust spread over the median. ``outliers``: of the samples, far from the median
    by their robust spread. ``frequency``: of the highest mean frequency of the processors that was seen, how far the
    lowest fell below it. ``load``: the machine's load average of the last minute when the recording began, for each
    processor; it knows of what ended before, so it counts only where ``others_busy`` is not known.
    """

    run_delay: float | None
    others_busy: float | None
    steal: float | None
    drift: float
    cv: float
    outliers: float = 0.0
    frequency: float | None = None
    load: float | None = None


@dataclass(frozen=True, kw_only=True)
class NoiseVerdict:
    """``verdict`` is "quiet" or "noisy"; ``detail`` says why in words.

    ``excess`` is the signal that went furthest beyond its limit, or came nearest to it, over that limit: above 1 is noisy.
    """

    verdict: str
    cv: float
    detail: str
    signals: NoiseSignals
    excess: float

    def to_json(self) -> dict[str, object]:
        """Return the verdict with the names of the API."""
        return {"verdict": self.verdict, "cv": self.cv, "detail": self.detail, "signals": asdict(self.signals)}


NOTHING_SPENT: Final = Counters(wall_s=0.0, own_s=0.0, run_delay_s=0.0, busy_s=0.0, steal_s=0.0)


def read_counters(cpus: Sequence[int], *, proc: Path = Path("/proc")) -> Counters:
    """Read the counters of this process and of the given processors."""
    own = os.times()
    busy_s, steal_s = _processor_seconds(proc / "stat", cpus)
    return Counters(
        wall_s=time.monotonic(),
        own_s=own.user + own.system,
        run_delay_s=_run_delay_seconds(proc / "self" / "task"),
        busy_s=busy_s,
        steal_s=steal_s,
    )


def add_between(spent: Counters, before: Counters, after: Counters) -> Counters:
    """Return what was spent so far with the time between two readings added; `signals_between` reads it with zeros."""

    def added(so_far: float | None, begin: float | None, end: float | None) -> float | None:
        return None if so_far is None or begin is None or end is None else so_far + end - begin

    return Counters(
        wall_s=spent.wall_s + after.wall_s - before.wall_s,
        own_s=spent.own_s + after.own_s - before.own_s,
        run_delay_s=added(spent.run_delay_s, before.run_delay_s, after.run_delay_s),
        busy_s=added(spent.busy_s, before.busy_s, after.busy_s),
        steal_s=added(spent.steal_s, before.steal_s, after.steal_s),
    )


def signals_between(
    before: Counters,
    after: Counters,
    *,
    processors: int,
    drift: float,
    cv: float,
    outliers: float = 0.0,
    frequency: float | None = None,
    load: float | None = None,
) -> NoiseSignals:
    """Turn two readings into fractions.

    Parameters
    ----------
    before, after
        Readings at the start and the end of the measurement, of the same processors.
    processors
        How many processors were watched.
    drift, cv
        As `statistics.half_drift` and `statistics.robust_cv` answer.
    outliers
        `statistics.count_outliers` over the number of samples.
    frequency, load
        As `NoiseSignals` has them.
    """
    wall_s = max(after.wall_s - before.wall_s, 1e-9)
    capacity_s = wall_s * processors
    run_delay = others = steal = None
    if before.run_delay_s is not None and after.run_delay_s is not None:
        run_delay = max(0.0, after.run_delay_s - before.run_delay_s) / wall_s
    if before.busy_s is not None and after.busy_s is not None:
        others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
        others = max(0.0, others_s) / capacity_s
    if before.steal_s is not None and after.steal_s is not None:
        steal = max(0.0, after.steal_s - before.steal_s) / capacity_s
    return NoiseSignals(
        run_delay=run_delay,
        others_busy=others,
        steal=steal,
        drift=drift,
        cv=cv,
        outliers=outliers,
        frequency=frequency,
        load=load,
    )


def judge_noise(signals: NoiseSignals) -> NoiseVerdict:
    """Say whether a measurement can be trusted as it stands: any signal over its limit makes it noisy."""
    turn = "slower" if signals.drift > 0 else "faster"
    load = signals.load if signals.others_busy is None else None
    added_up = " (its threads added up)" if (signals.run_delay or 0.0) > 1.0 else ""
    judged: list[tuple[str, float | None, float, str]] = [
        (
            "waiting for a processor",
            signals.run_delay,
            MAX_RUN_DELAY,
            "the process waited for a processor {:.1%} of the time" + added_up,
        ),
        ("other processes", signals.others_busy, MAX_OTHERS_BUSY, "other processes used {:.0%} of the same processors"),
        ("the hypervisor", signals.steal, MAX_STEAL, "the hypervisor took {:.1%} of the processors' time"),
        ("", load, MAX_LOAD, "{:.1f} processes wanted to run for each processor"),
        ("the frequency", signals.frequency, MAX_FREQUENCY_CHANGE, "the processors' frequency fell by {:.0%}"),
        ("", abs(signals.drift), MAX_DRIFT, "the second half was {:.1%} " + turn),
        ("", signals.cv, MAX_CV, "the middle of the samples spreads by {:.1%} of the median"),
        ("", signals.outliers, MAX_OUTLIERS, "{:.1%} of the samples are outliers"),
    ]
    reasons = [words.format(value) for _, value, limit, words in judged if value is not None and value > limit]
    excess = max(value / limit for _, value, limit, _ in judged if value is not None)
    if reasons:
        detail = "; ".join(reasons)
    else:
        detail = "nothing disturbed the run beyond its limits"
        unseen = [name for name, value, _, _ in judged if name and value is None]
        if unseen:
            detail += f" (not visible on this system: {', '.join(unseen)})"
    verdict = "noisy" if reasons else "quiet"
    return NoiseVerdict(verdict=verdict, cv=signals.cv, detail=detail, signals=signals, excess=excess)


def read_load(proc: Path = Path("/proc")) -> float | None:
    """Return the machine's load average of the last minute for each of its processors; None where it is hidden."""
    try:
        return float((proc / "loadavg").read_text().split()[0]) / (os.cpu_count() or 1)
    except (OSError, ValueError, IndexError):
        return None


def read_frequency(cpus: Sequence[int], system: Path = Path("/sys/devices/system/cpu")) -> float | None:
    """Return the present mean frequency of the processors in MHz; None where the kernel does not tell it.

    Virtual machines have none: what /proc/cpuinfo says there is a constant.
    """
    found_khz: list[int] = []
    for number in cpus:
        try:
            found_khz.append(int((system / f"cpu{number}" / "cpufreq" / "scaling_cur_freq").read_text()))
        except (OSError, ValueError):
            continue
    return sum(found_khz) / len(found_khz) / 1e3 if found_khz else None


def frequency_fall(readings_mhz: Sequence[float | None]) -> float | None:
    """Return how far the lowest of some readings lies below the highest, as a fraction; None for none."""
    known = [reading for reading in readings_mhz if reading]
    return 1.0 - min(known) / max(known) if known else None


def _run_delay_seconds(tasks: Path) -> float | None:
    """Sum the run delay of this process' threads, the second number of each schedstat."""
    total_ns, seen = 0, False
    try:
        for task in tasks.iterdir():
            try:
                total_ns += int((task / "schedstat").read_text().split()[1])
            except (OSError, IndexError, ValueError):
                continue
            seen = True
    except OSError:
        return None
    return total_ns / _NS_PER_S if seen else None


def _processor_seconds(stat: Path, cpus: Sequence[int]) -> tuple[float | None, float | None]:
    """Return busy and stolen seconds of the given processors since the machine started."""
    wanted = {f"cpu{number}" for number in cpus}
    ticks = os.sysconf("SC_CLK_TCK")
    busy = steal = 0
    seen = 0
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return None, None
    for line in lines:
        name, *numbers = line.split()
        if name not in wanted or len(numbers) < 8:
            continue
        user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(number) for number in numbers[:8])
        busy += user + nice + system + irq + softirq
        steal += stolen
        seen += 1
    return (busy / ticks, steal / ticks) if seen == len(wanted) and wanted else (None, None)
