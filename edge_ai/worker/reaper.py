"""Rescue: jobs whose worker fell silent, and messages that were lost. Any number of reapers may run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_q.models import OrmQ

from edge_ai.models import EventKind, Job, JobStatus, Queue
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue
from edge_ai.services.jobs import record
from edge_ai.worker.babysitter import tell_end

BATCH = 100
WORKER_LOST = {
    "code": "worker_lost",
    "detail": "The worker that ran the job stopped answering.",
    "fix": "Run it again. If it happens every time, the model may need more memory than the machine has.",
}
# With other messages waiting, a silent one is more likely to be waiting its turn than to be lost.
LOST_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Rescued:
    """What one round did in one workspace."""

    expired: int
    sent: int


def reap() -> Rescued:
    """Do one round in the current workspace."""
    return Rescued(expired=_expired(), sent=_unsent())


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
                count += 1
    return count


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
            .values_list("pk", "queue")[:BATCH]
        )
        for job_id, name in due:
            Job.objects.filter(pk=job_id).update(enqueued_at=ClockTimestamp())
            record(job_id, EventKind.LOG, level="debug", message="Sent to the queue again.")
            queue.send(job_id, name)
    return len(due)


def _has_messages(name: str) -> bool:
    """Tell whether a message waits in a queue, not counting those that a worker holds: their lock lies in the future."""
    return bool(OrmQ.objects.filter(key=name, lock__lte=timezone.now()).exists())
