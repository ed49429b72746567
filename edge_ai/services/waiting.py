"""How long a job will wait for a worker: its place in line, and what those before it may take.

A job takes as long as those of its queue took lately; one of the workspace's own that measures no longer than its budget
allows, and no shorter than it asks for. What others asked for is not looked at: it stands in their own schemas.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import F, FloatField, Value
from django.db.models.functions import Coalesce

from config.database.identity import acting_as_system
from edge_ai.fleet.models import Line, Ticket
from edge_ai.models import Job, JobStatus, Priority, Queue

#: A noisy measurement is prolonged by a quarter.
BUDGET_AT_MOST: Final = 1.25
MOST_LOOKED_AT: Final = 500


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
    """Return how long a job will wait; ``None`` when it waits for no worker. Two queries at most."""
    if job.status != JobStatus.QUEUED:
        return None
    with acting_as_system():
        line = Ticket.objects.line_before(job.pk, queue=job.queue, schema_name=_schema_name())
        return None if line is None else _wait(job.queue, line)


def wait_for_another(queue: str, *, priority: int = Priority.NORMAL, jobs: int = 1) -> Wait:
    """Return how long a job would wait that was submitted now; of several the last one. Two queries at most."""
    with acting_as_system():
        return _wait(
            queue,
            Ticket.objects.line_for_another(queue=queue, schema_name=_schema_name(), priority=priority, jobs=jobs),
        )


def _schema_name() -> str:
    return str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's


def _wait(queue: str, line: Line) -> Wait:
    if not line.workers:
        return Wait(place=line.place, seconds=None, reason="No worker serves this queue at the moment.")
    if line.pace_seconds is None:
        return Wait(place=line.place, seconds=None, reason="No job of this queue has been measured yet.")
    measured = [*line.own, *line.running] if queue == Queue.BENCHMARK else []
    budgets = _budgets(measured) if measured else {}
    return Wait(place=line.place, seconds=_seconds(line, line.pace_seconds, budgets), reason=None)


def _seconds(line: Line, usual: float, budgets: Mapping[UUID, tuple[float, float]]) -> float:
    """Return about how long it is until a place in line is served."""
    ahead = [_within(budgets.get(each), usual) for each in line.own]
    ahead += [usual] * (line.place - 1 - len(ahead))
    # Somebody who is free takes the next at once; of jobs that run, half is still to come on the average.
    before = max(0, line.place - max(1, line.workers - len(line.running)))
    at_work = statistics.mean(_within(budgets.get(each), usual) for each in line.running) if line.running else usual
    left = 0.5 * at_work if len(line.running) >= line.workers else 0.0
    each = statistics.mean(ahead) if ahead else usual
    return round(left + before * each / line.workers, 1)


def _within(budget: tuple[float, float] | None, seconds: float) -> float:
    """Return a time within what a job asked for."""
    return seconds if budget is None else max(budget[0], min(seconds, budget[1]))


def _budgets(jobs: Iterable[UUID]) -> dict[UUID, tuple[float, float]]:
    """Return the least and the most that jobs of this workspace measure, in seconds; those without a budget are left out."""
    rows = (
        Job.objects.filter(pk__in=list(jobs)[:MOST_LOOKED_AT])
        .annotate(
            least=Coalesce(F("benchmarkrun__min_seconds"), Value(0.0), output_field=FloatField()),
            most=Coalesce(
                F("benchmarkrun__max_seconds"), F("comparisonjob__max_seconds"), F("diagnosisjob__max_seconds")
            ),
        )
        .filter(most__isnull=False)
        .values_list("pk", "least", "most")
    )
    return {key: (least, BUDGET_AT_MOST * most) for key, least, most in rows}
