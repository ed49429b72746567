"""Which of one's jobs have ended: what every page asks now and then, to say so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from django.http import JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from edge_ai.models import HOUSEKEEPING, Job, JobKind

MOST = 10
#: A job's end is seen only once its transaction has ended, which may be after that of a job with a later time. What was told
#: before is told again, and known by its id.
OVERLAP = timedelta(seconds=30)
#: What ended longer ago is no news.
NEWS = timedelta(hours=1)
#: What names begin with that say the kind.
BEGINNINGS: Final[Mapping[str, str]] = {JobKind.ANALYSIS: "Analyse ", JobKind.IMPORT: "Import "}


@in_workspace
@require_safe
def job_ended(request: MemberRequest) -> JsonResponse:
    """One's own jobs that ended since ``?since=``, the time that the last answer gave; one query."""
    now = timezone.now()
    since = min(max(_moment(request.GET.get("since", "")), now - NEWS), now)
    jobs = list(
        Job.objects.owned_by(request.user)
        .filter(finished_at__gt=since - OVERLAP)
        .exclude(kind__in=HOUSEKEEPING)
        .order_by("-finished_at")
        .only("pk", "name", "kind", "status", "finished_at")[:MOST]
    )
    body = {
        "since": max([since, *(job.finished_at for job in jobs if job.finished_at)]).isoformat(),
        "jobs": [
            {
                "id": str(job.pk),
                "name": _told(job),
                "kind": job.get_kind_display(),
                "status": job.status,
                # A job that was run again may end again.
                "mark": f"{job.pk} {job.finished_at}",
                "address": reverse("edge_ai:job-detail", args=[job.pk]),
            }
            for job in jobs
        ],
    }
    response = JsonResponse(body, content_type="application/json; charset=utf-8")
    response["Cache-Control"] = "private, no-store"
    return response


def _told(job: Job) -> str:
    """What a notice calls a job beside its kind, which some names begin with."""
    return job.name.removeprefix(BEGINNINGS.get(job.kind, ""))


def _moment(given: str) -> datetime:
    """Read a time; what is none is long ago."""
    try:
        found = parse_datetime(given)
    except ValueError:
        found = None
    if found is None:
        return datetime(2000, 1, 1, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
