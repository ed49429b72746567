"""Jobs of workers that died or were stopped, work folders of dead attempts, and schemas that are not there yet."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import BenchmarkSlot
from edge_ai.models import Job, JobEvent, JobStatus
from edge_ai.services import schemas
from edge_ai.services.leftovers import clear_leftovers, folder_name, leftovers
from edge_ai.worker import rescue
from edge_ai.worker.babysitter import name_of_worker
from edge_ai.worker.reaper import WORKER_LOST, reap
from tests.conftest import inside_as_system
from tests.edge_ai import factories

LEASE = timedelta(seconds=30)
DEAD, ALIVE = name_of_worker(10, "0a"), name_of_worker(10, "0b")


@pytest.fixture(autouse=True)
def _as_supervisor(alpha: Workspace) -> Iterator[None]:
    with inside_as_system(alpha):
        yield


def held(job: object, worker: str) -> Job:
    """Let a worker have a job."""
    pk = job.pk  # type: ignore[attr-defined]  # any kind of job
    assert Job.objects.claim(pk, worker=worker, lease=LEASE)
    return Job.objects.get(pk=pk)


def test_a_dead_workers_job_is_taken_at_once_and_the_attempt_counts(owner: User) -> None:
    lost = held(factories.make_optimization(owner), DEAD)
    other = held(factories.make_optimization(owner), ALIVE)
    assert rescue.take_from([]) == 0
    assert rescue.take_from([DEAD]) == 1
    lost.refresh_from_db()
    assert (lost.status, lost.attempt, lost.lease_token) == (JobStatus.QUEUED, 1, None)
    assert Job.objects.get(pk=other.pk).status == JobStatus.RUNNING, "same number, another cluster"
    assert rescue.take_from([DEAD]) == 0


def test_a_job_that_kills_its_workers_fails_in_the_end(owner: User) -> None:
    job = held(factories.make_optimization(owner, max_attempts=1), DEAD)
    assert rescue.take_from([DEAD]) == 1
    job.refresh_from_db()
    assert (job.status, job.error) == (JobStatus.FAILED, WORKER_LOST)


def test_a_stopped_workers_attempt_does_not_count(owner: User) -> None:
    job = held(factories.make_optimization(owner, max_attempts=1), DEAD)
    assert rescue.give_back([DEAD]) == 1
    job.refresh_from_db()
    assert (job.status, job.attempt, job.lease_token, job.enqueued_at) == (JobStatus.QUEUED, 0, None, None)
    assert "does not count" in JobEvent.objects.filter(job=job).latest("id").message
    assert reap().sent == 1, "it goes to another worker at once"
    assert Job.objects.claim(job.pk, worker=ALIVE, lease=LEASE)


def test_a_stopped_workers_job_that_was_cancelled_is_cancelled(owner: User) -> None:
    job = held(factories.make_optimization(owner), DEAD)
    Job.objects.request_cancel(job.pk)
    assert rescue.give_back([DEAD]) == 0
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_the_right_to_measure_is_given_back_with_the_job(owner: User, alpha: Workspace) -> None:
    for end in (rescue.take_from, rescue.give_back):
        run = factories.make_benchmark(owner)
        held(run, DEAD)
        host = f"host-{uuid.uuid4()}"
        assert BenchmarkSlot.objects.take(host, holder=f"{alpha.schema_name}:{run.pk}", lease=LEASE)
        assert end([DEAD]) == 1
        assert BenchmarkSlot.objects.take(host, holder="the next", lease=LEASE)


def test_only_the_folders_of_dead_attempts_are_removed_whatever_the_clock_says(
    owner: User, alpha: Workspace, tmp_path: Path
) -> None:
    job = held(factories.make_optimization(owner), ALIVE)
    assert job.lease_token is not None
    home = tmp_path / alpha.schema_name / str(job.pk)
    in_use = home / folder_name(job.attempt, job.lease_token)
    dead = home / folder_name(job.attempt, uuid.uuid4())
    forgotten = tmp_path / alpha.schema_name / str(uuid.uuid4()) / folder_name(1, uuid.uuid4())
    long_ago = time.time() - 30 * 86_400
    for folder in (in_use, dead, forgotten):
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"x")
    os.utime(in_use, (long_ago, long_ago))
    assert set(leftovers(tmp_path, alpha.schema_name)) == {dead, forgotten}
    assert clear_leftovers(tmp_path, alpha.schema_name) == 2
    assert in_use.is_dir() and not dead.exists() and not forgotten.parent.exists()
    assert clear_leftovers(tmp_path, alpha.schema_name) == 0


def test_a_workspace_that_is_being_made_is_left_out_until_it_is_there(alpha: Workspace, beta: Workspace) -> None:
    connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
    with acting_as_system():
        made = Workspace(slug="unborn", name="Unborn", schema_name="ws_unborn")
        made.auto_create_schema = False
        made.save()
    found = schemas.complete_schemas()
    assert {alpha.schema_name, beta.schema_name} <= set(found) and "ws_unborn" not in found
    labels = schemas.tenant_labels()
    assert labels == ("edge_ai",)
    assert schemas.missing_migrations("ws_unborn", labels) == schemas.wanted_migrations(labels)
    assert not schemas.missing_migrations(alpha.schema_name, labels)


def test_a_schema_that_waits_for_a_migration_is_left_out(alpha: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = schemas.wanted_migrations(schemas.tenant_labels()) | {("edge_ai", "9999_to_come")}
    monkeypatch.setattr(schemas, "wanted_migrations", lambda labels: newer)
    monkeypatch.setattr(schemas, "_complete", set())
    assert schemas.complete_schemas() == []
    assert schemas.missing_migrations(alpha.schema_name, schemas.tenant_labels()) == {("edge_ai", "9999_to_come")}
