"""How long a running job will still take: by what jobs like it took, else by its own progress, and which of the two."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.models import User
from edge_ai.models import Job, JobStatus, OptimizationJob
from edge_ai.services.estimates import Estimate, estimate_optimization
from edge_ai.web.stages import plan_of, seconds_left, seconds_taken


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """How long is left, and what that rests on; ``seconds`` is ``None`` where nothing can be said."""

    seconds: float | None
    rests_on: str


def time_left(user: User | None, job: Job, now: datetime) -> TimeLeft | None:
    """Return how long a running job will still take; ``None`` for one that does not run. One query for optimizations.

    Without ``user``, whose jobs are looked at, it is told by the job's own progress alone.
    """
    if job.status != JobStatus.RUNNING:
        return None
    by_progress = seconds_left(job, now)
    usual = None if user is None else _usual(user, job)
    if usual is None:
        return TimeLeft(seconds=by_progress, rests_on="" if by_progress is None else "by its progress so far")
    if usual.seconds is None:
        return TimeLeft(seconds=by_progress, rests_on="no history yet")
    taken = seconds_taken(job, now) or 0.0
    if taken < (usual.high or usual.seconds):
        rests_on = f"by {usual.samples} jobs like it" if usual.samples > 1 else "by one job like it"
        return TimeLeft(seconds=max(1.0, usual.seconds - taken), rests_on=rests_on)
    return TimeLeft(seconds=by_progress, rests_on="longer than jobs like it took")


def _usual(user: User, job: Job) -> Estimate | None:
    if not isinstance(job, OptimizationJob):
        return None
    plan = plan_of(job)
    if plan is None:
        return None
    return estimate_optimization(user, model=job.model, target_format=job.target_format, plan=plan)
