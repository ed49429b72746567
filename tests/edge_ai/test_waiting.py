"""How long a job waits: its place in line, the pace of its queue, and the budgets of what one asked for oneself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster, Pace, Ticket
from edge_ai.models import BenchmarkRun, Priority, Queue
from edge_ai.services import queue
from edge_ai.services.waiting import wait_for_another, wait_of
from tests.conftest import inside
from tests.edge_ai import factories

PACE = 20.0


@pytest.fixture(autouse=True)
def _inside(alpha: Workspace, owner: User) -> Iterator[None]:
    with inside(alpha, owner):
        yield


def workers(count: int, line: str = Queue.BENCHMARK) -> None:
    """Let so many workers serve a queue whose jobs took 20 s lately."""
    with acting_as_system():
        Ticket.objects.all().delete()
        Cluster.objects.filter(queue=line).delete()
        Pace.objects.filter(pk=line).delete()
        Pace.objects.create(queue=line, seconds=PACE, jobs=9)
        if count:
            Cluster.objects.create(host="h", queue=line, pid=1, workers=count, ready=True)


def waiting(owner: User, **fields: Any) -> BenchmarkRun:
    """A benchmark in the line."""
    run = factories.make_benchmark(owner, **fields)
    queue.submit(run)
    return run


def take(run: BenchmarkRun) -> None:
    """Have a worker hold a benchmark's ticket."""
    with acting_as_system():
        Ticket.objects.filter(pk=run.pk).update(taken_until=timezone.now() + timedelta(minutes=1))


def test_a_short_budget_makes_a_short_wait_and_a_long_minimum_a_long_one(owner: User) -> None:
    workers(1)
    usual = waiting(owner, min_seconds=3, max_seconds=60)
    last = waiting(owner)
    wait = wait_of(last)
    assert wait is not None
    assert (wait.place, wait.seconds) == (2, PACE)
    BenchmarkRun.objects.filter(pk=usual.pk).update(max_seconds=4)
    assert wait_of(last).seconds == 5.0  # type: ignore[union-attr]  # a quarter more, when it is noisy
    BenchmarkRun.objects.filter(pk=usual.pk).update(min_seconds=300, max_seconds=600)
    assert wait_of(last).seconds == 300.0  # type: ignore[union-attr]


def test_what_runs_counts_by_half_of_its_budget(owner: User) -> None:
    workers(1)
    first = waiting(owner, min_seconds=1, max_seconds=4)
    take(first)
    next_one = waiting(owner)
    assert wait_of(next_one).seconds == 2.5  # type: ignore[union-attr]


def test_one_more_waits_behind_ones_own_and_takes_turns_with_others(owner: User) -> None:
    workers(1, Queue.STUDIO)
    with acting_as_system():
        Ticket.objects.bulk_create(
            Ticket(job_id=uuid.uuid4(), schema_name=schema, queue=Queue.STUDIO, priority=priority)
            for schema, priority, count in (
                (connection.schema_name, 1, 2),  # type: ignore[attr-defined]  # the tenant backend's
                (connection.schema_name, 0, 1),  # type: ignore[attr-defined]
                ("somebody", 1, 9),
                ("another", 1, 1),
            )
            for _ in range(count)
        )
    wait = wait_for_another(Queue.STUDIO, priority=Priority.NORMAL)
    assert wait.place == 3 + 3 + 1
    assert wait.seconds == 6 * PACE
    assert wait_for_another(Queue.STUDIO, priority=Priority.HIGH).place == 1 + 1 + 1
    assert wait_for_another(Queue.STUDIO, priority=Priority.LOW).place == 4 + 4 + 1
    assert wait_for_another(Queue.STUDIO, jobs=5).place == 7 + 7 + 1


def test_an_empty_line_is_no_wait_and_a_queue_that_nobody_serves_is_told(owner: User) -> None:
    workers(2)
    assert wait_for_another(Queue.BENCHMARK).to_json() == {"place": 1, "seconds": 0.0, "reason": None}
    workers(0)
    assert wait_for_another(Queue.BENCHMARK).reason == "No worker serves this queue at the moment."
    workers(1)
    with acting_as_system():
        Pace.objects.all().delete()
    assert "has been measured yet" in str(wait_for_another(Queue.BENCHMARK).reason)


def test_a_longer_line_takes_no_more_queries(owner: User) -> None:
    workers(1)
    counts = []
    for more in (2, 20):
        last = [waiting(owner) for _ in range(more)][-1]
        with CaptureQueriesContext(connection) as asked:
            wait_of(last)
        counts.append(len(asked))
    assert counts[0] == counts[1]
