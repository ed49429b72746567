"""Rescue: jobs whose worker fell silent, and messages that were lost. Any number of reapers may run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django_q.models import OrmQ

from edge_ai.models import EventKind, Job, JobStatus, Queue
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue
from edge_ai.services.jobs import record, settle, tell_waiting
from edge_ai.worker.babysitter import free_slot, tell_end

BATCH = 100
WORKER_LOST = {
    "code": "worker_lost",
    "detail": "The worker that ran the job stopped answering.",
    "fix": "Run it again. If it happens every time, the model may need more memory than the machine has.",
}
GONE = {
    "code": "dependency_failed",
    "detail": "What this job waited for has been deleted.",
    "fix": "Submit it again.",
}
# With other messages waiting, a silent one is more likely to be waiting its turn than to be lost.
LOST_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Rescued:
    """What one round did in one workspace."""

    expired: int
    released: int
    sent: int


def reap() -> Rescued:
    """Do one round in the current workspace."""
    return Rescued(expired=_expired(), released=_stranded(), sent=_unsent())


def _expired() -> int:
    count = 0
    with transaction.atomic():
        lost = list(
            Job.objects.select_for_update(skip_locked=True)
            .filter(status=JobStatus.RUNNING, lease_expires_at__lt=ClockTimestamp())
            .order_by("lease_expires_at")
            .values_list("pk", flat=True)[:BATCH]
        )
        for job_id in lost:
            ended = Job.objects.end_attempt(
                Q(pk=job_id, lease_expires_at__lt=ClockTimestamp()), error=WORKER_LOST, retryable=True
            )
            if ended:
                tell_end(job_id, WORKER_LOST)
                free_slot(str(connection.schema_name), job_id)  # type: ignore[attr-defined]  # the tenant backend's
                count += 1
    return count


def _stranded() -> int:
    """Tell jobs that wait for what has ended, should whoever ended it not have told them; returns how many were told."""
    with transaction.atomic():
        stranded = Job.objects.stranded().select_for_update(of=("self",), skip_locked=True)
        waiting = list(stranded.values_list("pk", "waits_for")[:BATCH])
        for ended in {awaited for _, awaited in waiting if awaited is not None}:
            tell_waiting(Job.objects.get(pk=ended))
        for job_id, awaited in waiting:
            if awaited is None and Job.objects.fail_waiting(job_id, error=GONE):
                record(job_id, EventKind.STATUS, level="error", stage=JobStatus.FAILED, message=GONE["detail"])
                settle(job_id)
    return len(waiting)


def _unsent() -> int:
    """Send what is due and has no message: attempts that wait their turn again, and messages that were lost."""
    with transaction.atomic():
        idle = [name for name in Queue.values if not _has_messages(name)]
        silent = 2 * timedelta(seconds=settings.JOB_LEASE_SECONDS)
        due = list(
            Job.objects.select_for_update(skip_locked=True)
            .filter(
                Q(enqueued_at__isnull=True)
                | Q(enqueued_at__lt=ClockTimestamp() - silent, queue__in=idle)
                | Q(enqueued_at__lt=ClockTimestamp() - LOST_AFTER),
                status=JobStatus.QUEUED,
                run_after__lte=ClockTimestamp(),
            )
            .order_by("run_after")
            .values_list("pk", flat=True)[:BATCH]
        )
        for job_id in due:
            Job.objects.filter(pk=job_id).update(enqueued_at=ClockTimestamp())
            record(job_id, EventKind.LOG, level="debug", message="Sent to the queue again.")
            queue.send(job_id)
    return len(due)


def _has_messages(name: str) -> bool:
    """Tell whether a message waits in a queue, not counting those that a worker holds: their lock lies in the future."""
    return bool(OrmQ.objects.filter(key=name, lock__lte=ClockTimestamp()).exists())
