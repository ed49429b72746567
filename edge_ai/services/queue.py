"""Sending jobs to the clusters. The message names a job and says nothing else: the row is the truth."""

from __future__ import annotations

import uuid

from django.db import connection
from django_q.tasks import async_task

from edge_ai.models import EventKind, Job, JobEvent, JobStatus

DELIVER = "edge_ai.worker.tasks.deliver"


def send(job_id: uuid.UUID, queue: str) -> None:
    """Put the job's message into its queue, in the caller's transaction."""
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    async_task(
        DELIVER,
        schema_name,
        str(job_id),
        q_options={"cluster": queue, "task_name": f"{schema_name}:{job_id}"[:100], "ack_failure": True, "save": False},
    )


def submit(job: Job) -> None:
    """Tell the story's beginning and send the job, unless it waits for another."""
    JobEvent.objects.create(job_id=job.pk, kind=EventKind.STATUS, stage=job.status, message=f"The job is {job.status}.")
    if job.status == JobStatus.QUEUED:
        send(job.pk, job.queue)
