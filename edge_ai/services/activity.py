"""What the jobs of a workspace came to, day by day, as the roll-up added it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Sum, Value

from edge_ai.models import HOUSEKEEPING, Event, EventDay, JobDay, JobStatus

#: What of the events of use the overview shows.
SHOWN = tuple(
    event.value
    for event in (Event.MODEL_UPLOADED, Event.DATASET_UPLOADED, Event.FILE_DOWNLOADED, Event.SHARE_LINK_OPENED)
)


@dataclass(frozen=True, kw_only=True)
class Day:
    """The jobs that ended on one day (UTC), by how they ended, and how long one waited on average."""

    day: date
    completed: int
    failed: int
    cancelled: int
    wait_seconds: float | None
    """Mean of all that ended on that day, in s; ``None`` on a day without jobs."""
    uploaded: int = 0
    downloaded: int = 0
    shared: int = 0
    """Models and data sets that were uploaded, files that were downloaded, and shared links that were opened."""

    @property
    def jobs(self) -> int:
        """How many ended on that day."""
        return self.completed + self.failed + self.cancelled


def activity(*, until: date, days: int) -> Sequence[Day]:
    """Return the last days up to one, each of them, also those on which nothing ended; the studio's own chores left out."""
    first = until - timedelta(days=days - 1)
    jobs = (
        JobDay.objects.filter(day__range=(first, until))
        .exclude(kind__in=HOUSEKEEPING)
        .values_list("day", "status")
        .annotate(ended=Sum("jobs"), waited=Sum("wait_seconds"))
        .order_by()
    )
    used = (
        EventDay.objects.filter(day__range=(first, until), event__in=SHOWN)
        .values_list("day", "event")
        .annotate(ended=Sum("events"), waited=Value(0.0))
        .order_by()
    )
    ended: dict[tuple[date, str], int] = {}
    waited: dict[date, float] = {}
    # In one statement: pages read all sums at once.
    for day, what, count, seconds in jobs.union(used, all=True):
        ended[day, what] = count
        waited[day] = waited.get(day, 0.0) + seconds
    found = []
    for place in range(days):
        day = first + timedelta(days=place)
        counts = {what: ended.get((day, what), 0) for what in (*JobStatus.values, *SHOWN)}
        total = counts[JobStatus.COMPLETED] + counts[JobStatus.FAILED] + counts[JobStatus.CANCELLED]
        found.append(
            Day(
                day=day,
                completed=counts[JobStatus.COMPLETED],
                failed=counts[JobStatus.FAILED],
                cancelled=counts[JobStatus.CANCELLED],
                wait_seconds=waited[day] / total if total else None,
                uploaded=counts[Event.MODEL_UPLOADED] + counts[Event.DATASET_UPLOADED],
                downloaded=counts[Event.FILE_DOWNLOADED],
                shared=counts[Event.SHARE_LINK_OPENED],
            )
        )
    return found
