"""A message wakes a worker, and the worker does the job whose turn it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django_q.models import OrmQ

from accounts.models import User, Workspace
from edge_ai.fleet.models import Ticket
from edge_ai.models import Job, JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue
from edge_ai.worker import tasks
from edge_ai.worker.turns import turn
from tests.conftest import inside_as_system
from tests.edge_ai import factories


@pytest.fixture(autouse=True)
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def sent(owner: User, **fields: Any) -> Job:
    """A queued job with its ticket and message."""
    job = factories.make_optimization(owner, **fields)
    queue.send(job.pk)
    return Job.objects.get(pk=job.pk)


def end(job_id: uuid.UUID) -> None:
    """Let a job end, whoever ran it."""
    Job.objects.filter(pk=job_id).update(
        status=JobStatus.COMPLETED, result={}, progress=100, finished_at=ClockTimestamp()
    )


def served(alpha: Workspace, job: Job) -> uuid.UUID | None:
    """Deliver a job's message, and run what it leads to."""
    with turn(alpha.schema_name, job.pk) as taken:
        if taken is None:
            return None
        with inside_as_system(alpha):
            end(taken[1])
        return taken[1]


def test_a_message_leads_to_the_job_that_is_next(owner: User, alpha: Workspace) -> None:
    first, second, urgent = sent(owner), sent(owner), sent(owner, priority=2)
    assert served(alpha, first) == urgent.pk
    assert served(alpha, urgent) == first.pk
    assert served(alpha, second) == second.pk
    assert not Ticket.objects.exists()


def test_one_message_too_many_does_nothing(owner: User, alpha: Workspace) -> None:
    job = sent(owner)
    with turn(alpha.schema_name, job.pk) as taken, turn(alpha.schema_name, job.pk) as again:
        assert taken == (alpha.schema_name, job.pk)
        assert again is None


def test_a_job_without_a_ticket_is_decided_by_its_row(owner: User, alpha: Workspace) -> None:
    job = factories.make_optimization(owner)
    assert served(alpha, Job.objects.get(pk=job.pk)) == job.pk


def test_a_cancelled_job_leaves_the_line_and_its_message_serves_another(owner: User, alpha: Workspace) -> None:
    cancelled, other = sent(owner), sent(owner)
    Job.objects.request_cancel(cancelled.pk)
    queue.withdraw(cancelled.pk)
    assert served(alpha, cancelled) == other.pk


def test_another_attempt_waits_in_line_until_it_is_due(owner: User, alpha: Workspace) -> None:
    job = sent(owner)
    with turn(alpha.schema_name, job.pk) as taken:
        assert taken is not None
        with inside_as_system(alpha):
            Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp() + timedelta(minutes=1), enqueued_at=None)
    with inside_as_system(alpha):
        ticket = Ticket.objects.get(pk=job.pk)
        assert ticket.taken_until is None
        assert ticket.due_at == Job.objects.get(pk=job.pk).run_after
    assert served(alpha, job) is None, "it is not due"


def test_who_ends_a_job_wakes_a_worker_for_what_could_not_run_before(
    owner: User, alpha: Workspace, settings: Any
) -> None:
    settings.WORKSPACE_CONCURRENT_JOBS = 1
    first, second = sent(owner), sent(owner)
    with turn(alpha.schema_name, first.pk) as taken:
        assert taken is not None
        with turn(alpha.schema_name, second.pk) as none_yet:
            assert none_yet is None, "the workspace runs as many as it may"
        OrmQ.objects.all().delete()
        with inside_as_system(alpha):
            end(first.pk)
    assert OrmQ.objects.filter(key="studio").count() == 1
    assert served(alpha, first) == second.pk


def test_a_message_for_a_job_that_is_gone_does_nothing(alpha: Workspace) -> None:
    tasks.deliver(alpha.schema_name, str(uuid.uuid4()))
