"""Two at once: real connections, real locks, committed rows."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.db.models import Q
from django_q.models import OrmQ

from accounts.models import User
from config.database.identity import workspace_as_system
from edge_ai.models import (
    AnalysisJob,
    BenchmarkRun,
    Job,
    JobStatus,
    Model,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.batches import BatchRequest, submit_batch
from edge_ai.services.benchmarks import BenchmarkRequest, submit_benchmark
from edge_ai.services.jobs import settle
from edge_ai.services.webhooks import delete_endpoint, emit
from edge_ai.webhooks.outbox import sweep
from edge_ai.worker.reaper import WORKER_LOST, reap
from tests.edge_ai import factories

T = TypeVar("T")
LEASE = timedelta(seconds=30)


def at_once(work: Callable[[], T], times: int) -> list[T]:
    """Do the same on several connections at the same moment."""
    ready = threading.Barrier(times)

    def one(_: int) -> T:
        try:
            with workspace_as_system("ws_alpha"):
                connection.ensure_connection()
                ready.wait(20)
                return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))


def elsewhere(work: Callable[[], Any]) -> threading.Thread:
    """Do something on a connection of its own."""

    def run() -> None:
        try:
            with workspace_as_system("ws_alpha"):
                work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_endpoint_goes_once_whoever_tells_it_something_has_written_that_down(committed: User) -> None:
    endpoint = factories.make_endpoint(committed)
    delivery = factories.make_delivery(endpoint)
    written = threading.Event()

    def write_down() -> None:
        with transaction.atomic():
            WebhookDelivery.objects.select_for_update().get(pk=delivery.pk)
            factories.make_attempt(delivery)
            written.set()
            time.sleep(0.5)  # while it is to be deleted

    writer = elsewhere(write_down)
    assert written.wait(20)
    delete_endpoint(committed, endpoint=endpoint)
    writer.join(20)
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookAttempt.objects.exists()


def test_of_many_workers_one_gets_the_job(committed: User) -> None:
    for _ in range(5):
        job = factories.make_optimization(committed)
        tokens = at_once(lambda pk=job.pk: Job.objects.claim(pk, worker="w", lease=LEASE), 6)  # type: ignore[misc]
        won = [token for token in tokens if token is not None]
        row = Job.objects.get(pk=job.pk)
        assert won == [row.lease_token]
        assert row.attempt == 1


def test_many_reapers_return_a_lost_job_once(committed: User) -> None:
    jobs = [factories.make_optimization(committed) for _ in range(8)]
    for job in jobs:
        assert Job.objects.claim(job.pk, worker="w", lease=LEASE)
    Job.objects.filter(status=JobStatus.RUNNING).update(lease_expires_at=ClockTimestamp() - timedelta(seconds=1))
    rounds = at_once(reap, 4)
    assert sum(found.expired for found in rounds) == len(jobs)
    Job.objects.update(run_after=ClockTimestamp())
    rounds = at_once(reap, 4)
    assert sum(found.sent for found in rounds) == len(jobs)
    assert OrmQ.objects.count() == len(jobs)


def test_a_late_worker_and_the_reaper_cannot_both_end_a_job(committed: User) -> None:
    for _ in range(5):
        job = factories.make_optimization(committed, max_attempts=1)
        token = Job.objects.claim(job.pk, worker="w", lease=LEASE)
        assert token is not None
        Job.objects.filter(pk=job.pk).update(lease_expires_at=ClockTimestamp() - timedelta(seconds=1))
        turn = iter(("worker", "reaper"))
        lock = threading.Lock()

        def end(pk: uuid.UUID = job.pk, token: uuid.UUID = token, turn: Any = turn, lock: Any = lock) -> bool:
            with lock:
                who = next(turn)
            if who == "worker":
                return Job.objects.complete(pk, token, result={})
            return bool(Job.objects.end_attempt(Q(pk=pk), error=WORKER_LOST, retryable=True))

        assert sorted(at_once(end, 2)) == [False, True]
        assert Job.objects.get(pk=job.pk).status in {JobStatus.COMPLETED, JobStatus.FAILED}


@pytest.mark.parametrize("first", ["the end of the analysis", "the new job"])
def test_a_job_submitted_while_the_analysis_ends_is_never_forgotten(committed: User, first: str) -> None:
    model = factories.make_model(committed, status="analyzing", analysis=None)
    analysis = factories.make_analysis(committed, model)
    token = Job.objects.claim(analysis.pk, worker="w", lease=LEASE)
    assert token is not None
    device = factories.host_device()

    def end_analysis() -> None:
        with transaction.atomic():
            Model.objects.filter(pk=model.pk).update(status="ready", analysis=factories.ANALYSIS)
            assert Job.objects.complete(analysis.pk, token, result={})
            settle(analysis.pk)

    def submit() -> None:
        submit_benchmark(committed, request=BenchmarkRequest(model=model, device_profile=device))

    one, other = (end_analysis, submit) if first == "the end of the analysis" else (submit, end_analysis)
    with transaction.atomic():
        one()
        thread = elsewhere(other)
        thread.join(1)
        assert thread.is_alive(), "the second waits until the first has committed"
    thread.join(20)
    assert AnalysisJob.objects.get(pk=analysis.pk).status == JobStatus.COMPLETED
    assert BenchmarkRun.objects.get(model=model).status == JobStatus.QUEUED
    assert OrmQ.objects.filter(key="benchmark").count() == 1


def test_of_many_workers_one_gets_the_delivery(committed: User) -> None:
    delivery = factories.make_delivery(factories.make_endpoint(committed))
    for attempt in range(1, 4):
        tokens = at_once(lambda: WebhookDelivery.objects.claim(delivery.pk, lease=LEASE), 6)
        row = WebhookDelivery.objects.get(pk=delivery.pk)
        assert [token for token in tokens if token is not None] == [row.lease_token]
        assert row.attempt == attempt
        WebhookDelivery.objects.update(lease_expires_at=ClockTimestamp() - LEASE)  # its worker fell silent


def test_what_many_tell_at_once_is_one_message(committed: User) -> None:
    endpoints = [factories.make_endpoint(committed) for _ in range(3)]
    model = factories.make_model(committed)
    messages = at_once(lambda: emit(WebhookEvent.MODEL_READY, model), 6)
    assert len(set(messages)) == WebhookMessage.objects.count() == 1
    assert WebhookDelivery.objects.count() == len(endpoints)


def test_many_sweeps_send_one_hint(committed: User) -> None:
    endpoint = factories.make_endpoint(committed)
    for _ in range(5):
        factories.make_delivery(endpoint)
    assert sum(at_once(sweep, 4)) == OrmQ.objects.filter(key="webhook").count() == 5


def test_of_two_equal_batches_one_is_made(committed: User) -> None:
    models, devices = [factories.make_model(committed)], [factories.host_device()]
    request = BatchRequest(models=models, device_profiles=devices, precisions=["fp16"])
    made = at_once(lambda: submit_batch(committed, request=request), 4)
    assert len({each.batch.pk for each in made}) == 1
    assert sorted(each.now for each in made) == [False, False, False, True]
    assert made[0].batch.jobs.count() == 1
