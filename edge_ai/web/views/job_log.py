"""A job's whole story as a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from uuid import UUID

from django.db import connection
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe
from django_tenants.utils import schema_context

from accounts.access import MemberRequest, in_workspace
from accounts.models import User
from config.database.identity import acting_as_user
from edge_ai.models import EventKind, Job, JobEvent

LINES_AT_ONCE = 500
#: A job that is run again and again keeps telling; a file for reading need not hold more.
MAX_LINES = 20_000


@in_workspace
@require_safe
def job_log(request: MemberRequest, job_id: UUID) -> StreamingHttpResponse:
    """Every stage and message of a job as plain text."""
    job = get_object_or_404(Job.objects.visible_to(request.user).defer("result"), pk=job_id)
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    response = StreamingHttpResponse(lines_of(schema_name, request.user, job), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="job-{job.pk}-log.txt"'
    response["Cache-Control"] = "private, no-store"
    return response


def lines_of(schema_name: str, user: User, job: Job) -> Iterator[str]:
    """Yield a job's story, some lines at a time.

    A body is sent when the request is over and nobody acts on the connection any more, so each part is read in the name of
    whoever asked, and no longer than it takes.
    """
    yield f"{' '.join(str(job).split())}\n{job.get_kind_display()} {job.pk}, {job.get_status_display().lower()}\n\n"
    last, told = 0, 0
    while told < MAX_LINES:
        with schema_context(schema_name), acting_as_user(user.pk):
            events = list(
                JobEvent.objects.visible_to(user).filter(job_id=job.pk, pk__gt=last).order_by("pk")[:LINES_AT_ONCE]
            )
        if not events:
            return
        last, told = events[-1].pk, told + len(events)
        yield "".join(map(line_of, events))
    yield f"It says more than {MAX_LINES:,} lines; the rest is left out.\n"


def line_of(event: JobEvent) -> str:
    """Return an event as a line: when, how grave, in which attempt, what."""
    percent = f" ({event.progress} %)" if event.kind == EventKind.STAGE and event.progress is not None else ""
    words = (event.message or event.stage).replace("\n", "\n    ")
    moment = event.created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{moment}  {event.level:<7}  {event.attempt}  {words}{percent}\n"
