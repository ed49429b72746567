"""The job's transitions: each is won once, and an impossible row is refused by the database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Q
from django_q.models import OrmQ

from accounts.models import User, Workspace
from edge_ai.models import Job, JobStatus, Model
from edge_ai.models.base import ClockTimestamp
from edge_ai.models.job import MAX_BACKOFF_SECONDS
from edge_ai.services.jobs import settle
from tests.conftest import inside_as_system
from tests.edge_ai import factories

LEASE = timedelta(seconds=30)
ERROR = {"code": "engine_crashed", "detail": "It crashed.", "fix": "Try another model."}


@pytest.fixture(autouse=True)
def _as_worker(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def queued(owner: User, **fields: Any) -> Job:
    """A job that waits for a worker."""
    return Job.objects.get(pk=factories.make_optimization(owner, **fields).pk)


def claimed(owner: User, **fields: Any) -> tuple[Job, uuid.UUID]:
    """A job that a worker has."""
    job = queued(owner, **fields)
    token = Job.objects.claim(job.pk, worker="w", lease=LEASE)
    assert token is not None
    job.refresh_from_db()
    return job, token


def expire(job: Job) -> None:
    """Let the holder have been silent for too long."""
    Job.objects.filter(pk=job.pk).update(lease_expires_at=ClockTimestamp() - timedelta(seconds=1))


def test_a_claim_is_won_once_and_counts_the_attempt(owner: User) -> None:
    job, _ = claimed(owner)
    assert (job.status, job.attempt) == (JobStatus.RUNNING, 1)
    assert Job.objects.claim(job.pk, worker="other", lease=LEASE) is None
    job.refresh_from_db()
    assert (job.attempt, job.worker) == (1, "w")


def test_what_is_not_due_or_not_wanted_is_not_claimed(owner: User) -> None:
    early = queued(owner)
    Job.objects.filter(pk=early.pk).update(run_after=ClockTimestamp() + timedelta(seconds=60))
    assert Job.objects.claim(early.pk, worker="w", lease=LEASE) is None
    unwanted = queued(owner)
    assert Job.objects.request_cancel(unwanted.pk)
    assert Job.objects.claim(unwanted.pk, worker="w", lease=LEASE) is None


def test_only_the_holder_keeps_the_lease_and_only_while_it_lasts(owner: User) -> None:
    job, token = claimed(owner)
    assert Job.objects.beat(job.pk, uuid.uuid4(), lease=LEASE, stage="x", progress=5) is None
    assert Job.objects.beat(job.pk, token, lease=LEASE, stage="calibrate", progress=40) is False
    assert Job.objects.beat(job.pk, token, lease=LEASE, stage="parity", progress=30) is False
    job.refresh_from_db()
    assert (job.stage, job.progress) == ("parity", 40), "progress never goes back"
    expire(job)
    assert Job.objects.beat(job.pk, token, lease=LEASE, stage="x", progress=50) is None


def test_a_heartbeat_brings_the_cancellation_back(owner: User) -> None:
    job, token = claimed(owner)
    assert Job.objects.request_cancel(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING, "a running job is asked, not torn away"
    assert Job.objects.beat(job.pk, token, lease=LEASE, stage="x", progress=1) is True


def test_only_the_holder_completes_and_only_once(owner: User) -> None:
    job, token = claimed(owner)
    assert not Job.objects.complete(job.pk, uuid.uuid4(), result={})
    assert Job.objects.complete(job.pk, token, result={"model": "m"})
    assert not Job.objects.complete(job.pk, token, result={"model": "another"})
    job.refresh_from_db()
    assert (job.status, job.progress, job.result) == (JobStatus.COMPLETED, 100, {"model": "m"})


def test_a_retryable_failure_waits_longer_each_time_and_ends_at_the_last_attempt(owner: User) -> None:
    job, _ = claimed(owner, max_attempts=3)
    delays = []
    for attempt in (1, 2):
        assert Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=True) == 1
        job.refresh_from_db()
        assert (job.status, job.attempt, job.error, job.enqueued_at) == (JobStatus.QUEUED, attempt, None, None)
        delays.append((job.run_after - job.updated_at).total_seconds())
        assert Job.objects.claim(job.pk, worker="w", lease=LEASE) is None, "not before its time"
        Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
        assert Job.objects.claim(job.pk, worker="w", lease=LEASE)
    assert delays == [pytest.approx(2, abs=0.1), pytest.approx(4, abs=0.1)]
    assert Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=True) == 1
    job.refresh_from_db()
    assert (job.status, job.error) == (JobStatus.FAILED, ERROR)


def test_a_failure_that_would_only_repeat_itself_ends_at_once(owner: User) -> None:
    job, _ = claimed(owner)
    Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=False)
    job.refresh_from_db()
    assert (job.status, job.attempt, job.error) == (JobStatus.FAILED, 1, ERROR)
    assert job.finished_at is not None


def test_the_end_of_an_unwanted_attempt_is_cancelled_whatever_it_was(owner: User) -> None:
    job, _ = claimed(owner)
    Job.objects.request_cancel(job.pk)
    Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=True)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert job.error is not None and job.error["code"] == "cancelled"


def test_a_failure_of_which_nobody_says_why_is_refused(owner: User) -> None:
    job, _ = claimed(owner)
    with pytest.raises(IntegrityError, match="failed_says_why"), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(
            status="failed", finished_at=ClockTimestamp(), lease_token=None, lease_expires_at=None
        )


def test_the_longest_wait_between_attempts_is_bounded(owner: User) -> None:
    job, _ = claimed(owner, max_attempts=30)
    Job.objects.filter(pk=job.pk).update(attempt=25)
    Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=True)
    job.refresh_from_db()
    assert (job.run_after - job.updated_at).total_seconds() == pytest.approx(MAX_BACKOFF_SECONDS, abs=0.1)


def test_a_holder_whose_job_was_returned_changes_nothing_any_more(owner: User) -> None:
    job, old = claimed(owner)
    Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=True)
    Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp())
    new = Job.objects.claim(job.pk, worker="other", lease=LEASE)
    assert new is not None
    assert Job.objects.beat(job.pk, old, lease=LEASE, stage="late", progress=90) is None
    assert not Job.objects.complete(job.pk, old, result={"model": "late"})
    assert Job.objects.end_attempt(Q(pk=job.pk, lease_token=old), error=ERROR, retryable=False) == 0
    job.refresh_from_db()
    assert (job.status, job.lease_token, job.stage, job.attempt) == (JobStatus.RUNNING, new, "", 2)


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.QUEUED])
def test_what_waits_is_cancelled_at_once(owner: User, status: JobStatus) -> None:
    job = queued(owner, status=status)
    assert Job.objects.request_cancel(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert job.finished_at is not None
    assert not Job.objects.request_cancel(job.pk), "what has ended stays as it ended"


def test_a_restart_is_for_failed_and_cancelled_jobs_and_gives_all_attempts_anew(owner: User) -> None:
    job, token = claimed(owner, max_attempts=1)
    assert not Job.objects.restart(job.pk), "it runs"
    Job.objects.end_attempt(Q(pk=job.pk), error=ERROR, retryable=True)
    assert Job.objects.restart(job.pk)
    job.refresh_from_db()
    assert (job.status, job.attempt, job.error, job.finished_at) == (JobStatus.QUEUED, 0, None, None)
    again = Job.objects.claim(job.pk, worker="w", lease=LEASE)
    assert again is not None and again != token
    assert Job.objects.complete(job.pk, again, result={})
    assert not Job.objects.restart(job.pk), "it has its result"


def test_the_end_of_an_analysis_reaches_its_model_and_what_waited(owner: User) -> None:
    for retryable, outcome in ((False, JobStatus.FAILED), (True, JobStatus.QUEUED)):
        model = factories.make_model(owner, status="analyzing", analysis=None)
        analysis = factories.make_analysis(owner, model)
        waiting = factories.make_optimization(owner, model, status=JobStatus.PENDING, waits_for_id=analysis.pk)
        assert Job.objects.claim(analysis.pk, worker="w", lease=LEASE)
        Job.objects.end_attempt(Q(pk=analysis.pk), error=ERROR, retryable=retryable)
        settle(analysis.pk)
        assert Job.objects.get(pk=analysis.pk).status == outcome
        after = Job.objects.get(pk=waiting.pk)
        if outcome == JobStatus.FAILED:
            assert Model.objects.get(pk=model.pk).error == ERROR
            assert after.status == JobStatus.FAILED
            assert after.error is not None and after.error["cause"] == "engine_crashed"
        else:
            assert after.status == JobStatus.PENDING, "the analysis will be tried again"


def test_completing_releases_what_waited_with_a_message(owner: User) -> None:
    model = factories.make_model(owner, status="analyzing", analysis=None)
    analysis = factories.make_analysis(owner, model)
    waiting = factories.make_benchmark(owner, model, status=JobStatus.PENDING, waits_for_id=analysis.pk)
    token = Job.objects.claim(analysis.pk, worker="w", lease=LEASE)
    assert token is not None
    before = OrmQ.objects.filter(key="benchmark").count()
    Job.objects.complete(analysis.pk, token, result={})
    settle(analysis.pk)
    assert Job.objects.get(pk=waiting.pk).status == JobStatus.QUEUED
    assert OrmQ.objects.filter(key="benchmark").count() == before + 1


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"status": "running"}, "lease_while_running"),
        ({"status": "failed", "finished_at": ClockTimestamp()}, "failed_says_why"),
        ({"status": "completed", "finished_at": ClockTimestamp()}, "completed_has_result"),
        (
            {"status": "completed", "finished_at": ClockTimestamp(), "result": {}, "progress": 99},
            "completed_has_result",
        ),
        ({"status": "cancelled", "cancel_requested": True, "error": {}}, "finished_when_final"),
        ({"status": "cancelled", "finished_at": ClockTimestamp(), "error": {}}, "cancelled_was_asked"),
        ({"status": "pending", "attempt": 1}, "pending_not_begun"),
        ({"result": {}}, "waiting_is_open"),
        ({"error": {}}, "waiting_is_open"),
        (
            {"status": "running", "lease_token": uuid.uuid4(), "lease_expires_at": ClockTimestamp()},
            "running_began",
        ),
        ({"finished_at": ClockTimestamp()}, "finished_when_final"),
        ({"lease_token": uuid.uuid4()}, "lease_while_running"),
        ({"status": "lost"}, "status_known"),
        ({"progress": 101}, "progress_percent"),
        ({"attempt": 4}, "attempts_bounded"),
    ],
)
def test_an_impossible_row_is_refused(owner: User, fields: dict[str, Any], constraint: str) -> None:
    job = queued(owner)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**fields)


def test_updated_at_is_kept_by_the_database(owner: User) -> None:
    job = queued(owner)
    before = Job.objects.get(pk=job.pk).updated_at
    Job.objects.filter(pk=job.pk).update(name="another name")
    assert Job.objects.get(pk=job.pk).updated_at > before
