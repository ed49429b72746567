"""Jobs whose worker is known to be dead: they need not wait for their lease to run out."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import connection, transaction
from django.db.models import Q

from edge_ai.models import EventKind, Job, JobStatus
from edge_ai.services.jobs import record
from edge_ai.worker.babysitter import free_slot, tell_end
from edge_ai.worker.reaper import WORKER_LOST


def take_from(workers: Collection[str]) -> int:
    """End the attempts of workers that died, in the current workspace; returns how many.

    The attempt counts: the job may be what killed its worker.
    """
    count = 0
    for job_id, token in _running(workers):
        with transaction.atomic():
            held = Q(pk=job_id, lease_token=token)
            if Job.objects.end_attempt(held, error=WORKER_LOST, retryable=True):
                tell_end(job_id, WORKER_LOST)
                free_slot(str(connection.schema_name), job_id)  # type: ignore[attr-defined]  # the tenant backend's
                count += 1
    return count


def give_back(workers: Collection[str]) -> int:
    """Return to the queue what workers had in hand that were stopped on purpose, in the current workspace.

    The attempt does not count: no job makes an operator stop the workers.
    """
    count = 0
    for job_id, token in _running(workers):
        with transaction.atomic():
            held = Q(pk=job_id, lease_token=token)
            if Job.objects.give_back(held):
                record(
                    job_id,
                    EventKind.STATUS,
                    stage=JobStatus.QUEUED,
                    message="Its worker was stopped. It will be run again, and the attempt does not count.",
                )
                free_slot(str(connection.schema_name), job_id)  # type: ignore[attr-defined]  # the tenant backend's
                count += 1
            elif Job.objects.end_attempt(held, error=WORKER_LOST, retryable=True):
                tell_end(job_id, WORKER_LOST)  # somebody had cancelled it
    return count


def _running(workers: Collection[str]) -> list[tuple[uuid.UUID, uuid.UUID | None]]:
    if not workers:
        return []
    return list(Job.objects.filter(status=JobStatus.RUNNING, worker__in=list(workers)).values_list("pk", "lease_token"))
