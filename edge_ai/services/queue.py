"""Sending jobs to the clusters.

A job that is sent gets a ticket, its place in a line where all workspaces can be compared, and a message, which wakes a
worker. Whoever is woken takes the ticket whose turn it is, not the job that the message happens to name. Both are hints
that may be lost or come twice: the job's row is the truth.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import Model
from django_q.tasks import async_task

from config.database.identity import acting_as_system
from edge_ai.fleet.broker import Packer, waking
from edge_ai.fleet.models import Ticket
from edge_ai.models import AuditAction, Event, EventKind, Job, JobEvent, JobKind, JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.audit import event_of, fields_of
from edge_ai.services.quotas import admit
from edge_ai.services.rows import Statement, insert_together, insertion, replacement
from edge_ai.services.standings import UNASKED
from edge_ai.services.telemetry import usage_of

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
    _message(schema_name, job_id, queue)


def _message(schema_name: str, job_id: uuid.UUID, queue: str, **more: Any) -> None:
    asked = {"cluster": queue, "task_name": f"{schema_name}:{job_id}"[:100], "ack_failure": True, "save": False}
    async_task(DELIVER, schema_name, str(job_id), q_options=asked | more)


def withdraw(*job_ids: uuid.UUID) -> None:
    """Take jobs that will not run out of the line; their messages find nothing."""
    Ticket.objects.filter(job_id__in=job_ids).delete()


def submit(job: Job, *, admitted: bool = False, besides: Iterable[Model | None] = ()) -> None:
    """Claim what the job needs, tell the story's beginning, and send the job, unless it waits for another.

    Parameters
    ----------
    admitted
        The caller claims what it needs, together with other jobs.
    besides
        Rows of the studio's own, such as what the trail keeps, to be written along with the job's; ``None`` is left out.

    Raises
    ------
    EngineError
        ``quota_exceeded``, ``too_many_jobs``.
    """
    if not admitted:
        admit([job])
    submit_all([job], besides=besides)


def submit_all(jobs: Iterable[Job], *, besides: Iterable[Model | None] = ()) -> None:
    """Tell the beginning of the stories of jobs that were admitted, and send those that wait for nothing, in one trip."""
    rows = [*filter(None, besides)]
    sent: list[Statement] = []
    for job in jobs:
        rows += [_beginning(job), *_submission(job)]
        sent += sending(job) if job.status == JobStatus.QUEUED else []
    with acting_as_system():  # the trail and the counting are the studio's
        insert_together(rows, then=sent)


def _beginning(job: Job) -> JobEvent:
    return JobEvent(job_id=job.pk, kind=EventKind.STATUS, stage=job.status, message=f"The job is {job.status}.")


def sending(job: Job) -> list[Statement]:
    """Return what :func:`send` does with a queued job that is due now, for who does it together with other writing."""
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    packer = Packer(job.queue)
    _message(schema_name, job.pk, job.queue, broker=packer)
    place = Ticket(
        job_id=job.pk, schema_name=schema_name, queue=job.queue, priority=job.priority, due_at=ClockTimestamp()
    )
    return [replacement(place), insertion(packer.row()), waking(job.queue)]


def withdrawing(*jobs: Job) -> Statement:
    """Return what :func:`withdraw` does with jobs."""
    return f"DELETE FROM {Ticket._meta.db_table} WHERE job_id = ANY(%s)", [[job.pk for job in jobs]]  # noqa: S608 - a name of our own


def note_submission(job: Job) -> None:
    """Keep in the audit trail that somebody asked for a job."""
    with acting_as_system():
        insert_together(_submission(job))


def _submission(job: Job) -> list[Model]:
    if job.kind in UNASKED:
        return []
    more = ("source", "address") if job.kind == JobKind.IMPORT else ()
    noted = event_of(AuditAction.JOB_SUBMITTED, job, after=fields_of(job, ("kind", "visibility", "priority", *more)))
    return [*filter(None, [noted]), usage_of(Event.JOB_SUBMITTED, kind=job.kind)]
