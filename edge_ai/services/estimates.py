"""How long an optimization will take, by how long those like it took. Nothing is guessed where there is no history."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

from accounts.models import User
from edge_ai.engine.plan import Plan
from edge_ai.models import Job, JobKind, JobStatus, Model, OptimizationJob

RECENT: Final = 100
#: So many of the optimizations that ended last are looked at.
LOOKED_AT: Final = 300
#: So many jobs, and a largest model so many times the smallest, before the time is said to grow with the size.
ENOUGH_FOR_A_LINE, SIZES_APART = 5, 2.0
#: Fewer jobs have no tenth and no ninetieth percentile: their shortest and longest are told.
ENOUGH_FOR_TENTHS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long a job will run, in seconds; what it waits before that is not counted.

    Parameters
    ----------
    seconds
        The median of the jobs like it, scaled to the size of the model where that is told by enough of them.
    low, high
        Where the middle eight of ten of them lie; ``None`` for a single one.
    samples
        How many jobs it rests on.
    reason
        Why there is no estimate.
    """

    seconds: float | None
    low: float | None
    high: float | None
    samples: int
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A job that was completed: how long it ran, and how large its model was."""

    seconds: float
    size_bytes: int


def estimate_optimization(user: User, *, model: Model, target_format: str, plan: Plan | None) -> Estimate:
    """Estimate the time of a planned optimization from the completed ones that the user sees. One query.

    Alike are those from the same format to the same, in the same precision, however that was asked for. They are looked for
    among the :data:`LOOKED_AT` that ended last, so that a workspace with very many jobs does not wait for all to be read.
    """
    if plan is None:
        return none_yet("The model is still being analysed; what will run is decided then.")
    ended = Job.objects.visible_to(user).filter(kind=JobKind.OPTIMIZATION, status=JobStatus.COMPLETED)
    lately = ended.filter(started_at__isnull=False, finished_at__isnull=False).order_by("-finished_at")
    rows = (
        OptimizationJob.objects.filter(
            pk__in=lately.values("pk")[:LOOKED_AT],
            target_format=target_format,
            model__format=model.format,
            result__precision=plan.precision,
        )
        .order_by("-finished_at")
        .values_list("started_at", "finished_at", "model__size_bytes", "attempt", "result__reused_seconds")[:RECENT]
    )
    runs = [
        Run(seconds=(ended - began).total_seconds() + _reused(attempt, reused), size_bytes=size)
        for began, ended, size, attempt, reused in rows
        if began and ended
    ]
    if not runs:
        return none_yet(
            f"No optimization from {model.format} to {target_format} in {plan.precision} has been completed here yet."
        )
    return estimate(runs, size_bytes=model.size_bytes)


def _reused(attempt: int, seconds: object) -> float:
    """Return how long stages took that a job took over from another: a job with none to take over takes so much longer.

    What an attempt took over from the one before it is within the job's own time already.
    """
    return float(seconds) if attempt == 1 and isinstance(seconds, (int, float)) else 0.0


def none_yet(reason: str) -> Estimate:
    """Say why there is no estimate."""
    return Estimate(seconds=None, low=None, high=None, samples=0, reason=reason)


def estimate(runs: Sequence[Run], *, size_bytes: int) -> Estimate:
    """Estimate the time for a model of this size.

    With few runs, or all of about one size, it is their median. With more, a straight line through time and size is laid
    where larger models took longer, and the spread is that of the runs around it. The line is that of Theil and Sen, which
    runs that took far too long do not bend.
    """
    times = [run.seconds for run in runs]
    middle = statistics.median(times)
    spread = times
    sizes = [run.size_bytes for run in runs]
    if len(runs) >= ENOUGH_FOR_A_LINE and max(sizes) >= SIZES_APART * max(1, min(sizes)):
        slope = _slope(runs)
        base = statistics.median(run.seconds - slope * run.size_bytes for run in runs)
        if slope > 0:
            # Not beyond what was seen: a line says nothing of models that are far larger or smaller.
            size = min(max(size_bytes, min(sizes)), max(sizes))
            middle = max(min(times), base + slope * size)
            spread = [
                max(0.0, middle + seconds - (base + slope * each)) for seconds, each in zip(times, sizes, strict=True)
            ]
    low, high = _spread(spread)
    return Estimate(
        seconds=round(middle, 1),
        low=None if low is None else round(min(low, middle), 1),
        high=None if high is None else round(max(high, middle), 1),
        samples=len(runs),
        reason=None,
    )


def _slope(runs: Sequence[Run]) -> float:
    """Return the median of the slopes between any two runs of different sizes, in seconds a byte."""
    return statistics.median(
        (one.seconds - other.seconds) / (one.size_bytes - other.size_bytes)
        for one, other in combinations(runs, 2)
        if one.size_bytes != other.size_bytes
    )


def _spread(times: Sequence[float]) -> tuple[float | None, float | None]:
    if len(times) < 2:
        return None, None
    if len(times) < ENOUGH_FOR_TENTHS:
        return min(times), max(times)
    tenths = statistics.quantiles(times, n=10, method="inclusive")
    return tenths[0], tenths[-1]
