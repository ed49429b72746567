"""Rescue: jobs of silent workers, and messages that were lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django_q.brokers import get_broker
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from accounts.models import User, Workspace
from edge_ai.fleet.models import Ticket
from edge_ai.models import Job, JobEvent, JobStatus, Model
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue
from edge_ai.worker.reaper import LOST_AFTER, WORKER_LOST, reap
from tests.conftest import inside_as_system
from tests.edge_ai import factories

LEASE = timedelta(seconds=30)


@pytest.fixture(autouse=True)
def _as_reaper(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def running(job: Any, *, silent: bool) -> Job:
    """Let a worker have the job; a silent one has let its lease run out."""
    assert Job.objects.claim(job.pk, worker="w", lease=LEASE)
    if silent:
        Job.objects.filter(pk=job.pk).update(lease_expires_at=ClockTimestamp() - timedelta(seconds=1))
    return Job.objects.get(pk=job.pk)


def due(job: Any, *, sent_ago: timedelta | None) -> Job:
    """A job whose message was sent some time ago, or never."""
    Job.objects.filter(pk=job.pk).update(enqueued_at=None if sent_ago is None else ClockTimestamp() - sent_ago)
    return Job.objects.get(pk=job.pk)


def messages(name: str = "studio") -> list[tuple[str, ...]]:
    """What waits in a queue: the arguments of each message."""
    return [tuple(SignedPackage.loads(row.payload)["args"]) for row in OrmQ.objects.filter(key=name).order_by("pk")]


def test_jobs_that_wait_for_what_has_ended_are_told(owner: User) -> None:
    done = factories.make_completed(owner, factories.make_model(owner), 1)
    lost = factories.make_optimization(
        owner, status="failed", error={"code": "parity_failed", "detail": "d"}, finished_at=ClockTimestamp()
    )
    released = factories.make_benchmark(owner, status="pending", waits_for=done)
    failed = factories.make_benchmark(owner, status="pending", waits_for=lost)
    behind = factories.make_benchmark(owner, status="pending", waits_for=failed)
    orphan = factories.make_benchmark(owner, status="pending")
    assert reap().released == 3
    found = {row.pk: row for row in Job.objects.all()}
    assert found[released.pk].status == JobStatus.QUEUED
    assert Ticket.objects.filter(pk=released.pk).exists()
    for each in (failed, behind, orphan):
        error = found[each.pk].error or {}
        assert (found[each.pk].status, error["code"]) == (JobStatus.FAILED, "dependency_failed")
    assert reap().released == 0


def test_jobs_are_taken_from_silent_workers_only(owner: User) -> None:
    silent = running(factories.make_optimization(owner), silent=True)
    alive = running(factories.make_optimization(owner), silent=False)
    assert reap().expired == 1
    silent.refresh_from_db()
    assert (silent.status, silent.lease_token, silent.attempt) == (JobStatus.QUEUED, None, 1)
    assert Job.objects.get(pk=alive.pk).lease_token == alive.lease_token
    assert reap().expired == 0


def test_a_rescued_job_is_sent_once_and_only_when_it_is_due(owner: User, alpha: Workspace) -> None:
    job = running(factories.make_optimization(owner), silent=True)
    assert reap().sent == 0, "the next attempt waits a little"
    Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
    assert reap().sent == 1
    assert reap().sent == 0
    assert messages() == [(alpha.schema_name, str(job.pk))]
    story = [event.message for event in JobEvent.objects.filter(job_id=job.pk).order_by("id")]
    assert any("tried again" in line for line in story)


def test_a_job_that_kills_its_workers_fails_in_the_end(owner: User) -> None:
    job = factories.make_benchmark(owner, max_attempts=2)
    for _ in range(2):
        Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
        running(job, silent=True)
        assert reap().expired == 1
    ended = Job.objects.get(pk=job.pk)
    assert (ended.status, ended.attempt, ended.error) == (JobStatus.FAILED, 2, WORKER_LOST)
    assert reap().sent == 0


def test_the_model_of_a_lost_analysis_ends_failed_and_what_waited_with_it(owner: User) -> None:
    model = factories.make_model(owner, status="analyzing", analysis=None)
    analysis = factories.make_analysis(owner, model, max_attempts=1)
    waiting = factories.make_optimization(owner, model, status=JobStatus.PENDING, waits_for_id=analysis.pk)
    running(analysis, silent=True)
    assert reap().expired == 1
    model.refresh_from_db()
    assert (model.status, model.error) == ("failed", WORKER_LOST)
    after = Job.objects.get(pk=waiting.pk)
    assert after.status == JobStatus.FAILED
    assert after.error is not None and (after.error["code"], after.error["cause"]) == (
        "dependency_failed",
        "worker_lost",
    )
    assert Model.objects.get(pk=model.pk).analysis is None


def test_a_lost_job_that_somebody_cancelled_is_cancelled(owner: User) -> None:
    job = running(factories.make_optimization(owner), silent=True)
    Job.objects.request_cancel(job.pk)
    assert reap().expired == 1
    assert Job.objects.get(pk=job.pk).status == JobStatus.CANCELLED


def test_with_an_empty_queue_a_silent_message_is_lost(owner: User) -> None:
    silence = 2 * timedelta(seconds=settings.JOB_LEASE_SECONDS)
    lost = due(factories.make_optimization(owner), sent_ago=silence + timedelta(seconds=5))
    due(factories.make_optimization(owner), sent_ago=silence - timedelta(seconds=5))
    assert reap().sent == 1
    assert [arguments[1] for arguments in messages()] == [str(lost.pk)]


def test_a_message_that_waits_its_turn_is_not_sent_twice(owner: User) -> None:
    ahead, behind = factories.make_optimization(owner), factories.make_optimization(owner)
    for job in (ahead, behind):
        queue.send(job.pk)
        due(job, sent_ago=timedelta(minutes=5))
    assert reap().sent == 0
    assert len(messages()) == 2


def test_a_message_that_a_worker_holds_does_not_speak_for_the_others(owner: User) -> None:
    queue.send(factories.make_optimization(owner).pk)
    assert get_broker("studio").dequeue(), "a worker takes it"
    lost = due(factories.make_optimization(owner), sent_ago=timedelta(minutes=5))
    assert reap().sent == 1
    assert messages()[-1][1] == str(lost.pk)


def test_even_behind_others_a_message_is_lost_after_long_enough(owner: User) -> None:
    queue.send(factories.make_optimization(owner).pk)
    lost = due(factories.make_optimization(owner), sent_ago=LOST_AFTER + timedelta(seconds=5))
    assert reap().sent == 1
    assert messages()[-1][1] == str(lost.pk)


def test_what_is_not_queued_is_never_sent(owner: User) -> None:
    analysis = factories.make_analysis(owner, factories.make_model(owner))
    due(factories.make_optimization(owner, status=JobStatus.PENDING, waits_for_id=analysis.pk), sent_ago=None)
    Job.objects.filter(pk=analysis.pk).update(run_after=ClockTimestamp() + timedelta(minutes=1), enqueued_at=None)
    assert reap().sent == 0


def test_each_job_goes_back_to_its_own_queue(owner: User) -> None:
    run = due(factories.make_benchmark(owner), sent_ago=None)
    assert reap().sent == 1
    assert [arguments[1] for arguments in messages("benchmark")] == [str(run.pk)]
    assert messages("studio") == []
