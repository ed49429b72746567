"""Whose turn it is: a message wakes a worker, and the worker takes the ticket that is next, whatever the message names.

So a workspace with a thousand jobs holds up nobody else, and none runs more at once than it may. A message that finds
nothing to take is spent; whoever ends a job sends another when somebody waits who could not be served before.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django_q.models import OrmQ

from config.database.identity import workspace_as_system
from edge_ai.fleet.models import Ticket
from edge_ai.models import Job, JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue

log = logging.getLogger(__name__)


def lease() -> timedelta:
    """How long a ticket counts as running while nothing is heard of it."""
    return 2 * timedelta(seconds=settings.JOB_LEASE_SECONDS)


@contextlib.contextmanager
def turn(schema_name: str, job_id: uuid.UUID) -> Iterator[tuple[str, uuid.UUID] | None]:
    """Hold the turn that a message leads to: the workspace and the job; ``None`` when nobody can be served now.

    Parameters
    ----------
    schema_name, job_id
        What the message says. Its job tells the queue; where it has no ticket, its own row decides whether it runs.
    """
    with workspace_as_system(schema_name):
        name = Job.objects.filter(pk=job_id).values_list("queue", flat=True).first()
        if name is None:
            yield None
            return
        lined_up = Ticket.objects.filter(pk=job_id).exists()
        ticket = _take(name) if lined_up or Ticket.objects.waiting(name).exists() else None
        if ticket is not None and _others_could_run(name):
            queue.wake(schema_name, job_id, name)
    if ticket is not None:
        schema_name, job_id = ticket.schema_name, ticket.job_id
    elif lined_up:
        yield None
        return
    try:
        yield schema_name, job_id
    finally:
        try:
            _give_back(schema_name, job_id, name)
        except DatabaseError:
            # The ticket runs out by itself, and the reaper writes it again with the job.
            log.warning("The turn of job %s was not given back.", job_id, exc_info=True)
            connection.close()


def _take(name: str) -> Ticket | None:
    return Ticket.objects.take(name, most=settings.WORKSPACE_CONCURRENT_JOBS, lease=lease())


def _others_could_run(name: str) -> bool:
    """Tell whether somebody waits who may run now, and no message is on its way to say so."""
    if OrmQ.objects.filter(key=name, lock__lte=ClockTimestamp()).exists():
        return False
    return Ticket.objects.next(name, most=settings.WORKSPACE_CONCURRENT_JOBS) is not None


def _give_back(schema_name: str, job_id: uuid.UUID, name: str) -> None:
    with workspace_as_system(schema_name):
        row = Job.objects.filter(pk=job_id).values_list("status", "run_after").first()
        if row is None or row[0] not in {JobStatus.QUEUED, JobStatus.RUNNING}:
            Ticket.objects.filter(pk=job_id).delete()
        elif row[0] == JobStatus.QUEUED:
            # Another attempt, when its time has come; the reaper sends the message.
            Ticket.objects.filter(pk=job_id).update(due_at=row[1], taken_until=None)
        # What runs is somebody else's, who keeps its ticket.
        if _others_could_run(name):
            queue.wake(schema_name, job_id, name)
