"""How long a job will wait for a worker: its place in line, and what those before it may take at the present pace."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Sum

from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster, Pace, Ticket
from edge_ai.models import Job, JobStatus


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A queued job's wait.

    Parameters
    ----------
    place
        Its place in the line of its queue, over all workspaces; 1 is next.
    seconds
        About how long until it begins; ``None`` where nothing was measured, or nobody works.
    reason
        Why there is no estimate.
    """

    place: int
    seconds: float | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def wait_of(job: Job) -> Wait | None:
    """Return how long a job will wait; ``None`` when it waits for no worker. Three queries."""
    if job.status != JobStatus.QUEUED:
        return None
    with acting_as_system():
        place = Ticket.objects.place(job.pk)
        if place is None:
            return None
        pace = Pace.objects.filter(pk=job.queue).first()
        workers, running = _at_work(job.queue)
    if not workers:
        return Wait(place=place, seconds=None, reason="No worker serves this queue at the moment.")
    if pace is None:
        return Wait(place=place, seconds=None, reason="No job of this queue has been measured yet.")
    # Somebody who is free takes the next at once; of jobs that run, half is still to come on the average.
    before = max(0, place - max(1, workers - running))
    left = 0.5 * pace.seconds if running >= workers else 0.0
    return Wait(place=place, seconds=round(left + before * pace.seconds / workers, 1), reason=None)


def _at_work(queue: str) -> tuple[int, int]:
    """Return how many workers of a queue live, and how many of them are busy."""
    workers = Cluster.objects.alive().filter(queue=queue).aggregate(all=Sum("workers"))["all"] or 0
    return workers, Ticket.objects.running(queue).count()
