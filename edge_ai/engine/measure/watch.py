"""Watching the machine and the own processor time while latencies are recorded."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.measure.noise import (
    NoiseSignals,
    frequency_fall,
    judge_noise,
    read_counters,
    read_frequency,
    read_load,
    signals_between,
)
from edge_ai.engine.measure.statistics import count_outliers, half_drift, robust_cv


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds: by the clock, and of processor time, of all threads of this process, for itself and in the kernel."""

    wall_s: float
    user_s: float
    system_s: float


class Watch:
    """Begins to watch the processors that this process may use, when it is made."""

    def __init__(self) -> None:
        self._cpus = sorted(os.sched_getaffinity(0))
        self._load = read_load()
        self._frequencies = [read_frequency(self._cpus)]
        self._used = resource.getrusage(resource.RUSAGE_SELF)
        self._before = self._after = read_counters(self._cpus)

    def is_disturbed(self, latency_ns: npt.NDArray[np.int64]) -> bool:
        """Look at the machine, and say whether what was recorded so far is noisy; shape (samples,), in ns."""
        self._look()
        return judge_noise(self.signals(latency_ns)).verdict == "noisy"

    def spent(self) -> Spent:
        """End it: return what was spent since the beginning. The signals are those up to here then."""
        self._look()
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Spent(
            wall_s=max(self._after.wall_s - self._before.wall_s, 1e-9),
            user_s=used.ru_utime - self._used.ru_utime,
            system_s=used.ru_stime - self._used.ru_stime,
        )

    def signals(self, latency_ns: npt.NDArray[np.integer[Any]]) -> NoiseSignals:
        """Return what disturbed the recording up to the last look at the machine."""
        return signals_between(
            self._before,
            self._after,
            processors=len(self._cpus),
            drift=half_drift(latency_ns),
            cv=robust_cv(latency_ns),
            outliers=count_outliers(latency_ns) / len(latency_ns),
            frequency=frequency_fall(self._frequencies),
            load=self._load,
        )

    def _look(self) -> None:
        self._after = read_counters(self._cpus)
        self._frequencies.append(read_frequency(self._cpus))
