"""What runs by the clock: schedules in public, a message for every workspace, and what each chore does there."""

from __future__ import annotations

import os
import time
from datetime import date, timedelta
from typing import Any

import pytest
from django.conf import settings
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai import storage
from edge_ai.models import Artifact, Blob, Job, JobDay, JobEvent, JobKind, JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import housekeeping
from edge_ai.services.activity import activity
from edge_ai.services.schedules import REGULARS, sync_schedules
from edge_ai.worker import chores, tasks
from tests.conftest import inside_as_system
from tests.edge_ai import factories

LONG_AGO = timedelta(days=1)


def test_there_is_a_schedule_for_each_chore_and_a_chore_for_each_schedule(db: None) -> None:
    with acting_as_system():
        Schedule.objects.create(name="of old", func="edge_ai.worker.chores.everywhere")
        assert sync_schedules() == sync_schedules() == len(REGULARS)
        names = set(Schedule.objects.values_list("name", flat=True))
    assert names == {*chores.ONCE, *chores.EACH}


def test_a_chore_is_sent_to_every_workspace(alpha: Workspace, beta: Workspace) -> None:
    with acting_as_system():
        OrmQ.objects.all().delete()
        chores.everywhere("roll_up")
        sent = [SignedPackage.loads(row.payload)["args"] for row in OrmQ.objects.filter(key=settings.CHORE_QUEUE)]
    assert {(chore, schema) for chore, schema in sent} >= {
        ("roll_up", alpha.schema_name),
        ("roll_up", beta.schema_name),
    }


@pytest.mark.parametrize("chore", sorted(chores.EACH))
def test_every_chore_can_be_done_in_an_empty_workspace(chore: str, alpha: Workspace) -> None:
    chores.in_workspace(chore, alpha.schema_name)


def test_unused_blobs_are_removed_by_a_job_of_which_there_is_one_at_a_time(
    alpha: Workspace, owner: User, tmp_path: Any
) -> None:
    with inside_as_system(alpha):
        assert housekeeping.collect_blobs() is None, "nothing to do"
        source = tmp_path / "file"
        source.write_bytes(os.urandom(64))
        mark = storage.fingerprint(source)
        storage.put(source, mark)
        Blob.objects.filter(pk=mark.sha256).update(created_at=ClockTimestamp() - LONG_AGO)
        job = housekeeping.collect_blobs()
        assert job is not None
        assert housekeeping.collect_blobs() is None, "one is at it"
        tasks.deliver(alpha.schema_name, str(job.pk))
    with inside_as_system(alpha):
        job.refresh_from_db()
        assert (job.kind, job.status, job.result) == (JobKind.DELETION, JobStatus.COMPLETED, {"removed": 1})
        assert not Blob.objects.filter(pk=mark.sha256).exists()
        assert not storage.backend().exists(storage.blob_name(alpha.schema_name, mark.sha256))
        stages = JobEvent.objects.filter(job=job.pk, kind="status").order_by("pk").values_list("stage", flat=True)
        assert list(stages) == ["queued", "running", "completed"]


def test_artifacts_go_when_their_time_has_come(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        old, young, kept = (factories.make_artifact(owner) for _ in range(3))
        Artifact.objects.filter(pk=old.pk).update(expires_at=ClockTimestamp() - timedelta(seconds=1))
        Artifact.objects.filter(pk=young.pk).update(expires_at=ClockTimestamp() + LONG_AGO)
        assert housekeeping.expire_artifacts() == 1
        assert set(Artifact.objects.values_list("pk", flat=True)) == {young.pk, kept.pk}


def test_what_unfinished_uploads_left_goes_after_a_day(db: None) -> None:
    old, young = settings.UPLOAD_DIR / "old.upload", settings.UPLOAD_DIR / "young.upload"
    for path in (old, young):
        path.write_bytes(b"x")
    then = time.time() - settings.UPLOAD_EXPIRY_SECONDS - 60
    os.utime(old, (then, then))
    try:
        assert chores.expire_uploads() == 1
        assert (old.exists(), young.exists()) == (False, True)
    finally:
        young.unlink()


def test_days_are_added_up_and_stay_when_jobs_are_deleted(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        model = factories.make_model(owner)
        for seconds in (10, 20):
            job = factories.make_completed(owner, model, 1)
            Job.objects.filter(pk=job.pk).update(
                created_at=ClockTimestamp() - timedelta(seconds=seconds + 5),
                started_at=ClockTimestamp() - timedelta(seconds=seconds),
                finished_at=ClockTimestamp(),
            )
        housekeeping.roll_up()
        first = JobDay.objects.get(kind="optimization", status="completed")
        assert (first.jobs, first.attempts) == (2, 2)
        assert first.run_seconds == pytest.approx(30, abs=1)
        assert first.wait_seconds == pytest.approx(10, abs=1)
        housekeeping.roll_up()
        assert JobDay.objects.get(pk=first.pk).jobs == 2, "counted again, not twice"
        Job.objects.all().delete()
        housekeeping.roll_up()
        assert JobDay.objects.get(pk=first.pk).jobs == 2


def test_days_are_told_as_they_were_added_up(alpha: Workspace) -> None:
    with inside_as_system(alpha):
        today = date(2026, 3, 2)
        for day, kind, status, jobs, waited in (
            (today, JobKind.BENCHMARK, JobStatus.COMPLETED, 3, 6.0),
            (today, JobKind.OPTIMIZATION, JobStatus.COMPLETED, 1, 2.0),
            (today, JobKind.OPTIMIZATION, JobStatus.FAILED, 1, 7.0),
            (today, JobKind.DELETION, JobStatus.COMPLETED, 9, 90.0),
            (today - timedelta(days=2), JobKind.ANALYSIS, JobStatus.CANCELLED, 2, 1.0),
            (today - timedelta(days=3), JobKind.ANALYSIS, JobStatus.COMPLETED, 5, 1.0),
        ):
            JobDay.objects.create(
                day=day, kind=kind, status=status, jobs=jobs, attempts=jobs, wait_seconds=waited, run_seconds=1.0
            )
        first, between, last = activity(until=today, days=3)
        assert (first.day, first.cancelled, first.jobs, first.wait_seconds) == (date(2026, 2, 28), 2, 2, 0.5)
        assert (between.jobs, between.wait_seconds) == (0, None)
        assert (last.completed, last.failed, last.jobs, last.wait_seconds) == (4, 1, 5, 3.0)
