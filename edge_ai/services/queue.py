"""Sending jobs to the clusters.

A job that is sent gets a ticket, its place in a line where all workspaces can be compared, and a message, which wakes a
worker. Whoever is woken takes the ticket whose turn it is, not the job that the message happens to name. Both are hints
that may be lost or come twice: the job's row is the truth.
"""

from __future__ import annotations

import uuid

from django.db import connection
from django_q.tasks import async_task

from edge_ai.fleet.models import Ticket
from edge_ai.models import AuditAction, Event, EventKind, Job, JobEvent, JobKind, JobStatus
from edge_ai.services.audit import fields_of, note
from edge_ai.services.quotas import UNASKED, admit
from edge_ai.services.telemetry import track

DELIVER = "edge_ai.worker.tasks.deliver"


def send(job_id: uuid.UUID) -> None:
    """Put a queued job into the line and wake a worker, in the caller's transaction."""
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    queue, priority, run_after = Job.objects.values_list("queue", "priority", "run_after").get(pk=job_id)
    Ticket.objects.bulk_create(
        [Ticket(job_id=job_id, schema_name=schema_name, queue=queue, priority=priority, due_at=run_after)],
        update_conflicts=True,
        unique_fields=["job_id"],
        update_fields=["schema_name", "queue", "priority", "due_at", "taken_until"],
    )
    wake(schema_name, job_id, queue)


def wake(schema_name: str, job_id: uuid.UUID, queue: str) -> None:
    """Send a message, so that a worker of this queue looks whose turn it is."""
    async_task(
        DELIVER,
        schema_name,
        str(job_id),
        q_options={"cluster": queue, "task_name": f"{schema_name}:{job_id}"[:100], "ack_failure": True, "save": False},
    )


def withdraw(*job_ids: uuid.UUID) -> None:
    """Take jobs that will not run out of the line; their messages find nothing."""
    Ticket.objects.filter(job_id__in=job_ids).delete()


def submit(job: Job, *, admitted: bool = False) -> None:
    """Claim what the job needs, tell the story's beginning, and send the job, unless it waits for another.

    Parameters
    ----------
    admitted
        The caller claims what it needs, together with other jobs.

    Raises
    ------
    EngineError
        ``quota_exceeded``, ``too_many_jobs``.
    """
    if not admitted:
        admit([job])
    JobEvent.objects.create(job_id=job.pk, kind=EventKind.STATUS, stage=job.status, message=f"The job is {job.status}.")
    note_submission(job)
    if job.status == JobStatus.QUEUED:
        send(job.pk)


def note_submission(job: Job) -> None:
    """Keep in the audit trail that somebody asked for a job."""
    if job.kind not in UNASKED:
        more = ("source", "address") if job.kind == JobKind.IMPORT else ()
        note(AuditAction.JOB_SUBMITTED, job, after=fields_of(job, ("kind", "visibility", "priority", *more)))
        track(Event.JOB_SUBMITTED, kind=job.kind)
