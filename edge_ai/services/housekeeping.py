"""What a workspace needs done now and then, whoever is there: clearing storage, letting artifacts expire, adding up days."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from accounts.models import Membership, Role
from edge_ai import storage
from edge_ai.models import FINAL, Artifact, AuditAction, Job, JobDay, JobKind, JobStatus, Queue, UsageDay
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue
from edge_ai.services.audit import note_all
from edge_ai.services.standings import Limit, standing

#: Days that may still change when the roll-up runs: jobs of these are counted again.
OPEN_DAYS = 2
#: Jobs of the studio's own are of no interest for longer; what they came to stays in the days.
HOUSEKEEPING_KEPT = timedelta(days=7)


def collect_blobs() -> Job | None:
    """Queue a job that removes the current workspace's unused blobs; ``None`` when there are none, or one is at it."""
    if not storage.anything_to_sweep():
        return None
    owner = (
        Membership.objects.filter(workspace__schema_name=_schema(), role=Role.OWNER)
        .order_by("created_at")
        .values_list("user_id", flat=True)
        .first()
    )
    if owner is None:
        return None
    try:
        with transaction.atomic():
            job = Job.objects.create(
                owner_id=owner,
                kind=JobKind.DELETION,
                queue=Queue.STUDIO,
                name="Clear storage of what nothing refers to",
                max_attempts=settings.JOB_MAX_ATTEMPTS,
            )
            queue.submit(job)
    except IntegrityError:
        # The constraint allows one at a time.
        return None
    return job


def expire_artifacts() -> int:
    """Remove artifacts whose time has come; their bytes go when nothing else refers to them. Returns how many."""
    with transaction.atomic():
        over = list(Artifact.objects.select_for_update().filter(expires_at__lt=ClockTimestamp()))
        note_all(AuditAction.ARTIFACT_EXPIRED, over)
        gone, _ = Artifact.objects.filter(pk__in=[artifact.pk for artifact in over]).delete()
    return gone


def roll_up() -> int:
    """Add up the jobs of the last days by day, kind and end; returns how many sums there are. May be run at any time.

    What the workspace has now is kept as what it had on this day.
    """
    found = standing().quotas
    UsageDay.objects.update_or_create(
        day=timezone.now().date(),
        defaults={
            "model_count": int(found[Limit.MODELS].used),
            "stored_bytes": int(found[Limit.STORED_BYTES].used),
        },
    )
    since = ClockTimestamp() - timedelta(days=OPEN_DAYS)
    ended = Job.objects.filter(status__in=FINAL, finished_at__gte=TruncDate(since))
    sums = (
        ended.annotate(day=TruncDate("finished_at"))
        .values("day", "kind", "status")
        .annotate(
            jobs=Count("pk"),
            attempts=Coalesce(Sum("attempt"), 0),
            waited=Sum(Coalesce(F("started_at"), F("finished_at")) - F("created_at")),
            ran=Sum(F("finished_at") - F("started_at"), filter=Q(started_at__isnull=False)),
        )
        .order_by()
    )
    rows = [
        JobDay(
            day=each["day"],
            kind=each["kind"],
            status=each["status"],
            jobs=each["jobs"],
            attempts=each["attempts"],
            wait_seconds=each["waited"].total_seconds(),
            run_seconds=each["ran"].total_seconds() if each["ran"] is not None else 0.0,
        )
        for each in sums
    ]
    JobDay.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["day", "kind", "status"],
        update_fields=["jobs", "attempts", "wait_seconds", "run_seconds"],
    )
    Job.objects.filter(
        kind=JobKind.DELETION, status=JobStatus.COMPLETED, finished_at__lt=ClockTimestamp() - HOUSEKEEPING_KEPT
    ).delete()
    return len(rows)


def _schema() -> str:
    return str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
