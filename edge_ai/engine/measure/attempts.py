"""Latency in a fresh process, and in another one when something disturbed the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.measure.noise import NoiseSignals, NoiseVerdict, judge_noise
from edge_ai.engine.measure.planned import Planned, changes_only
from edge_ai.engine.measure.steady import PROLONGED_SHARE
from edge_ai.engine.progress import Progress

SAMPLES_FILE: Final = "samples.npz"
MOST: Final = 2

_MAX_WARMUP_SECONDS: Final = 5.0
_WARMUP_SHARE: Final = 0.25
_BEGINS: Final = {"start": 0.0, "load": 0.02, "warmup": 0.05, "measure": 0.2, "reload": 0.97}
_ENDS: Final = {"warmup": _BEGINS["measure"], "measure": _BEGINS["reload"]}
_SAYS: Final = {
    "warmup": "Warming up",
    "measure": "Measuring latency until the median is known within 2 %",
    "reload": "Loading the model again",
}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one process measured: its answer, every latency in ns and when it began, shapes (samples,), and the verdict."""

    told: Mapping[str, Any]
    latency_ns: npt.NDArray[np.int64]
    started_ns: npt.NDArray[np.int64]
    noise: NoiseVerdict

    def to_json(self, *, chosen: bool) -> dict[str, object]:
        """Return what the result says of an attempt."""
        return {
            "verdict": self.noise.verdict,
            "detail": self.noise.detail,
            "p50_ms": float(np.median(self.latency_ns)) / 1e6,
            "samples": len(self.latency_ns),
            "seconds": self.told["measured_seconds"],
            "prolonged_seconds": self.told["stop"]["prolonged_seconds"],
            "chosen": chosen,
        }


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """All attempts in their order, and which of them the numbers are of."""

    made: tuple[Attempt, ...]
    chosen: Attempt

    def noise(self) -> dict[str, object]:
        """Return the verdict about the chosen attempt, with all attempts."""
        chosen = self.chosen
        return chosen.noise.to_json() | {
            "outliers": {
                "count": chosen.told["outliers"],
                "share": chosen.told["outliers"] / len(chosen.latency_ns),
                "slowest_ms": float(chosen.latency_ns.max()) / 1e6,
            },
            "attempts": [one.to_json(chosen=one is chosen) for one in self.made],
        }


def measure_latency(planned: Planned, progress: Progress, *, low: float, high: float) -> Attempts:
    """Have a process measured from cold load to steady state; when it was noisy, another one, once.

    Each goes on for a while when it is disturbed (`edge_ai.engine.measure.steady.record`). The numbers are those of the
    first attempt that was quiet; where none was, of the one whose worst signal exceeds its limit by less. The latencies
    themselves have no say in that. The samples of the other one are kept as well.

    Parameters
    ----------
    planned
        The benchmark.
    progress
        Told between ``low`` and ``high`` percent.
    """
    middle = (low + high) / 2
    made = [_attempt(planned, progress, 1, low=low, high=middle)]
    while made[-1].noise.verdict == "noisy" and len(made) < MOST:
        made.append(_attempt(planned, progress, len(made) + 1, low=middle, high=high))
    chosen = min(made, key=lambda one: (one.noise.verdict == "noisy", one.noise.excess))
    kept = {"latency_ns": chosen.latency_ns, "started_ns": chosen.started_ns}
    for other in made:
        if other is not chosen:
            kept |= {"other_latency_ns": other.latency_ns, "other_started_ns": other.started_ns}
    with (planned.workdir / SAMPLES_FILE).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **kept)
    return Attempts(made=tuple(made), chosen=chosen)


def _attempt(planned: Planned, progress: Progress, number: int, *, low: float, high: float) -> Attempt:
    spec = planned.spec
    max_warmup_s = min(_MAX_WARMUP_SECONDS, spec.max_seconds * _WARMUP_SHARE)
    longest_s = spec.max_seconds * (1.0 + PROLONGED_SHARE)
    lasts = {"warmup": max_warmup_s, "measure": longest_s}
    again = "" if number == 1 else ", once more because the machine was noisy"
    tell = changes_only(progress)

    def on_tick(phase: str, seconds: float) -> None:
        share = _BEGINS[phase]
        if phase in lasts:
            share += (_ENDS[phase] - _BEGINS[phase]) * min(1.0, seconds / lasts[phase])
        told = _SAYS.get(phase, "Loading the model in a fresh process")
        tell("latency", round(low + (high - low) * share), told + again)

    samples = f"attempt-{number}.npz"
    task = planned.task(
        "latency",
        warmup=spec.warmup,
        max_warmup_seconds=max_warmup_s,
        min_seconds=spec.min_seconds,
        max_seconds=spec.max_seconds,
        samples_path=samples,
    )
    told = planned.run(task, on_tick, seconds=longest_s + max_warmup_s)
    path = planned.workdir / samples
    with np.load(path, allow_pickle=False) as stored:
        latency_ns, started_ns = stored["latency_ns"], stored["started_ns"]
    path.unlink()
    noise = judge_noise(NoiseSignals(**told["noise"]))
    return Attempt(told=told, latency_ns=latency_ns, started_ns=started_ns, noise=noise)
