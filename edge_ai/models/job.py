"""Jobs and their state machine.

``pending → queued → running → completed | failed | cancelled``, and ``running → queued`` for another attempt. A message in
the queue is only a hint: this row is the truth. Every transition is one conditional statement, so whoever comes second
changes nothing; the attempt is counted when a worker claims the job, so a job that kills its worker ends; and every time is
the database's clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce, Greatest, Least, Power

from edge_ai.models.base import ClockTimestamp, Owned, OwnedQuerySet, known


class JobKind(models.TextChoices):
    """What a job does."""

    ANALYSIS = "analysis", "Analysis"
    OPTIMIZATION = "optimization", "Optimization"
    BENCHMARK = "benchmark", "Benchmark"
    COMPARISON = "comparison", "Comparison"
    PACKAGING = "packaging", "Packaging"
    DIAGNOSIS = "diagnosis", "Diagnosis"
    DELETION = "deletion", "Clearing of storage"
    EXPORT = "export", "Export of the workspace"
    IMPORT = "import", "Import"


#: What is about the workspace and no model; people are not shown it among their jobs.
HOUSEKEEPING = (JobKind.DELETION, JobKind.EXPORT)


class JobStatus(models.TextChoices):
    """Where a job stands."""

    PENDING = "pending", "Pending"
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Queue(models.TextChoices):
    """Which cluster of workers runs a job."""

    STUDIO = "studio", "Studio"
    BENCHMARK = "benchmark", "Benchmark"


class Priority(models.IntegerChoices):
    """Which of a workspace's own jobs goes first. It takes nothing from other workspaces."""

    LOW = 0, "Low"
    NORMAL = 1, "Normal"
    HIGH = 2, "High"


FINAL = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
UNFINISHED = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING)
BACKOFF_SECONDS = 2.0
MAX_BACKOFF_SECONDS = 300.0
CANCELLED_ERROR = {"code": "cancelled", "detail": "The job was cancelled.", "fix": "Start it again with Retry."}


class JobQuerySet(OwnedQuerySet["Job"]):
    """The transitions."""

    def active(self) -> JobQuerySet:
        """Jobs that have not ended."""
        return self.filter(status__in=UNFINISHED)

    def claim(self, job_id: uuid.UUID, *, worker: str, lease: timedelta) -> uuid.UUID | None:
        """``queued → running``. Returns the lease's token, or ``None`` when somebody else has the job or it is not due."""
        token = uuid.uuid4()
        won = self.filter(
            pk=job_id, status=JobStatus.QUEUED, cancel_requested=False, run_after__lte=ClockTimestamp()
        ).update(
            status=JobStatus.RUNNING,
            attempt=F("attempt") + 1,
            lease_token=token,
            lease_expires_at=ClockTimestamp() + lease,
            worker=worker,
            started_at=Coalesce(F("started_at"), ClockTimestamp()),
            attempt_began_at=ClockTimestamp(),
            stage="",
            progress=0,
            error=None,
        )
        return token if won else None

    def beat(self, job_id: uuid.UUID, token: uuid.UUID, *, lease: timedelta, stage: str, progress: int) -> bool | None:
        """Renew the holder's lease and say how far it is. ``None``: the lease is lost. ``True``: stop, it was cancelled."""
        kept = self.filter(
            pk=job_id, status=JobStatus.RUNNING, lease_token=token, lease_expires_at__gt=ClockTimestamp()
        ).update(
            lease_expires_at=ClockTimestamp() + lease, stage=stage, progress=Greatest(F("progress"), Value(progress))
        )
        if not kept:
            return None
        return self.filter(pk=job_id, cancel_requested=True).exists()

    def complete(self, job_id: uuid.UUID, token: uuid.UUID, *, result: Mapping[str, Any]) -> bool:
        """``running → completed`` by the holder. The caller writes the visible output in the same transaction."""
        return bool(
            self.filter(pk=job_id, status=JobStatus.RUNNING, lease_token=token).update(
                status=JobStatus.COMPLETED,
                result=dict(result),
                progress=100,
                stage="done",
                finished_at=ClockTimestamp(),
                lease_token=None,
                lease_expires_at=None,
            )
        )

    def end_attempt(self, running: Q, *, error: Mapping[str, Any], retryable: bool) -> int:
        """``running → queued | failed | cancelled`` for the jobs of ``running``: another attempt when it may help."""
        again = Q(cancel_requested=False, attempt__lt=F("max_attempts")) if retryable else Q(pk__in=[])
        cancelled = Q(cancel_requested=True)
        delay = Least(Value(MAX_BACKOFF_SECONDS), Value(BACKOFF_SECONDS) * Power(Value(2.0), F("attempt") - 1))
        now = ClockTimestamp()
        return self.filter(running, status=JobStatus.RUNNING).update(
            status=Case(
                When(cancelled, then=Value(JobStatus.CANCELLED)),
                When(again, then=Value(JobStatus.QUEUED)),
                default=Value(JobStatus.FAILED),
            ),
            error=Case(
                When(cancelled, then=Value(CANCELLED_ERROR, models.JSONField())),
                When(again, then=Value(None, models.JSONField())),
                default=Value(dict(error), models.JSONField()),
            ),
            finished_at=Case(When(again, then=Value(None)), default=now, output_field=models.DateTimeField()),
            run_after=Case(
                When(
                    again,
                    then=models.ExpressionWrapper(
                        now + delay * Value(timedelta(seconds=1)), output_field=models.DateTimeField()
                    ),
                ),
                default=F("run_after"),
            ),
            lease_token=None,
            lease_expires_at=None,
            enqueued_at=None,
        )

    def give_back(self, running: Q) -> int:
        """``running → queued`` at once and as if this attempt had not been, for what was stopped through no fault of it."""
        return self.filter(running, status=JobStatus.RUNNING, cancel_requested=False).update(
            status=JobStatus.QUEUED,
            attempt=Greatest(F("attempt") - 1, Value(0)),
            run_after=ClockTimestamp(),
            lease_token=None,
            lease_expires_at=None,
            enqueued_at=None,
        )

    def request_cancel(self, *job_ids: uuid.UUID) -> bool:
        """Cancel at once what nobody runs; ask the holder to stop what is running. Tells whether there was any."""
        waiting = Q(status__in=[JobStatus.PENDING, JobStatus.QUEUED])
        return bool(
            self.filter(pk__in=job_ids)
            .exclude(status__in=FINAL)
            .update(
                cancel_requested=True,
                status=Case(When(waiting, then=Value(JobStatus.CANCELLED)), default=F("status")),
                error=Case(
                    When(waiting, then=Value(CANCELLED_ERROR, models.JSONField())),
                    default=F("error"),
                    output_field=models.JSONField(),
                ),
                finished_at=Case(When(waiting, then=ClockTimestamp()), default=F("finished_at")),
            )
        )

    def restart(self, *job_ids: uuid.UUID, waits_for: uuid.UUID | None = None) -> bool:
        """``failed | cancelled → queued | pending``: the person asks for it again, with all attempts anew."""
        return bool(
            self.filter(pk__in=job_ids, status__in=[JobStatus.FAILED, JobStatus.CANCELLED]).update(
                status=JobStatus.QUEUED if waits_for is None else JobStatus.PENDING,
                attempt=0,
                cancel_requested=False,
                error=None,
                result=None,
                stage="",
                progress=0,
                started_at=None,
                finished_at=None,
                run_after=ClockTimestamp(),
                enqueued_at=ClockTimestamp(),
                waits_for=waits_for,
            )
        )

    def release_waiting(self, finished: uuid.UUID) -> list[uuid.UUID]:
        """``pending → queued`` for the jobs that waited for one that completed; returns which."""
        waiting = list(self.filter(waits_for=finished, status=JobStatus.PENDING).values_list("pk", flat=True))
        released = []
        for job_id in waiting:
            if self.filter(pk=job_id, status=JobStatus.PENDING).update(
                status=JobStatus.QUEUED, run_after=ClockTimestamp(), enqueued_at=ClockTimestamp()
            ):
                released.append(job_id)
        return released

    def fail_waiting(self, waiting: uuid.UUID, *, error: Mapping[str, Any]) -> bool:
        """``pending → failed`` for a job that waited for one that will never complete."""
        return bool(
            self.filter(pk=waiting, status=JobStatus.PENDING).update(
                status=JobStatus.FAILED, error=dict(error), finished_at=ClockTimestamp()
            )
        )

    def stranded(self) -> JobQuerySet:
        """Pending jobs whose wait is over without their having been told: what they wait for has ended, or is gone."""
        return self.filter(status=JobStatus.PENDING).filter(Q(waits_for__isnull=True) | Q(waits_for__status__in=FINAL))


class Job(Owned):
    """Work for a worker: what was asked, where it stands, what came of it."""

    kind = models.CharField(max_length=12, choices=JobKind.choices, editable=False)
    queue = models.CharField(max_length=12, choices=Queue.choices, editable=False)
    name = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.QUEUED)
    stage = models.CharField(max_length=40, blank=True)
    progress = models.PositiveSmallIntegerField(default=0)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    waits_for = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="waiting")
    run_after = models.DateTimeField(db_default=ClockTimestamp())
    enqueued_at = models.DateTimeField(null=True, db_default=ClockTimestamp())
    cancel_requested = models.BooleanField(default=False)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    #: How the engine's child was held in the attempt that ran last: a level of the sandbox, or empty before the first.
    sandbox_level = models.CharField(max_length=10, blank=True, editable=False)
    #: What was asked, of which bytes and with which libraries, as a hash: the same again has the same answer.
    cache_key = models.CharField(max_length=64, blank=True, editable=False)
    #: The earlier job whose result this one was given instead of running.
    answered_by = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="answered", editable=False
    )
    #: What it will store: the workspace's room is kept free for that while it is open.
    claimed_bytes = models.BigIntegerField(default=0, db_default=0, editable=False)
    result = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    #: When the attempt that ran last was claimed; its time goes into the ledger when it stops.
    attempt_began_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[JobQuerySet] = JobQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("kind", JobKind.values, "edge_ai_job_kind_known"),
            known("queue", Queue.values, "edge_ai_job_queue_known"),
            known("status", JobStatus.values, "edge_ai_job_status_known"),
            known("visibility", ["private", "workspace"], "edge_ai_job_visibility_known"),
            models.CheckConstraint(condition=Q(priority__in=Priority.values), name="edge_ai_job_priority_known"),
            models.CheckConstraint(condition=Q(progress__lte=100), name="edge_ai_job_progress_percent"),
            models.CheckConstraint(
                condition=Q(status="running", lease_token__isnull=False, lease_expires_at__isnull=False)
                | (~Q(status="running") & Q(lease_token__isnull=True, lease_expires_at__isnull=True)),
                name="edge_ai_job_lease_while_running",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["completed", "failed", "cancelled"], finished_at__isnull=False)
                | (~Q(status__in=["completed", "failed", "cancelled"]) & Q(finished_at__isnull=True)),
                name="edge_ai_job_finished_when_final",
            ),
            models.CheckConstraint(
                condition=~Q(status="completed") | Q(result__isnull=False, error__isnull=True, progress=100),
                name="edge_ai_job_completed_has_result",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | Q(error__isnull=False), name="edge_ai_job_failed_says_why"
            ),
            models.CheckConstraint(
                condition=~Q(status="cancelled") | Q(cancel_requested=True, error__isnull=False),
                name="edge_ai_job_cancelled_was_asked",
            ),
            models.CheckConstraint(
                condition=~Q(status="running") | (Q(attempt__gte=1, started_at__isnull=False) & ~Q(worker="")),
                name="edge_ai_job_running_began",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["pending", "queued"]) | Q(error__isnull=True, result__isnull=True),
                name="edge_ai_job_waiting_is_open",
            ),
            models.CheckConstraint(
                condition=~Q(status="pending") | Q(attempt=0, started_at__isnull=True),
                name="edge_ai_job_pending_not_begun",
            ),
            models.CheckConstraint(
                condition=Q(answered_by__isnull=True) | Q(status="completed"), name="edge_ai_job_answer_is_complete"
            ),
            models.CheckConstraint(condition=Q(attempt__lte=F("max_attempts")), name="edge_ai_job_attempts_bounded"),
            models.CheckConstraint(condition=Q(claimed_bytes__gte=0), name="edge_ai_job_claim_positive"),
            # One at a time: what it would find, the one that runs finds.
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(kind="deletion", status__in=["pending", "queued", "running"]),
                name="edge_ai_job_one_deletion",
            ),
        ]
        indexes = [
            # reaper: leases that ran out
            models.Index(fields=["lease_expires_at"], condition=Q(status="running"), name="edge_ai_job_leases"),
            # reaper: messages that seem lost; queue position
            models.Index(fields=["queue", "run_after"], condition=Q(status="queued"), name="edge_ai_job_queued"),
            # what counts against the workspace's limits
            models.Index(
                fields=["kind"],
                include=["claimed_bytes", "status", "started_at", "attempt_began_at"],
                condition=Q(status__in=["pending", "queued", "running"]),
                name="edge_ai_job_claims",
            ),
            models.Index(fields=["waits_for"], condition=Q(status="pending"), name="edge_ai_job_waiting"),  # release
            # the same request again
            models.Index(
                fields=["cache_key"], condition=Q(status="completed") & ~Q(cache_key=""), name="edge_ai_job_same"
            ),
            models.Index(fields=["owner", "-created_at"], name="edge_ai_job_mine"),  # list: mine, newest first
            # list: the workspace's; what is looked for in each job is in the index, as rows are long
            models.Index(
                fields=["-created_at", "id"],
                include=["owner", "visibility", "kind", "status", "name"],
                name="edge_ai_job_newest",
            ),
            # overview: what has not ended, the newest first
            models.Index(fields=["-created_at"], condition=Q(status__in=UNFINISHED), name="edge_ai_job_unfinished"),
            # overview: the last results; estimates: what ended lately
            models.Index(
                fields=["-finished_at"], condition=Q(finished_at__isnull=False), name="edge_ai_job_last_results"
            ),
            models.Index(fields=["finished_at", "id"], name="edge_ai_job_first_ended"),  # list: what ended first
            # notices: mine that have ended, the latest first
            models.Index(
                fields=["owner", "-finished_at"], condition=Q(finished_at__isnull=False), name="edge_ai_job_ended"
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.kind} {self.pk}"

    @property
    def is_final(self) -> bool:
        """Ended, one way or another."""
        return self.status in FINAL

    @property
    def may_retry(self) -> bool:
        """Ended without a result."""
        return self.status in {JobStatus.FAILED, JobStatus.CANCELLED}


class EventKind(models.TextChoices):
    """What an event of a job tells."""

    STATUS = "status", "Status"
    STAGE = "stage", "Stage"
    LOG = "log", "Log"


class JobEventQuerySet(OwnedQuerySet["JobEvent"]):
    """Events are seen by whoever sees their job."""

    def visible_to(self, user: Any) -> JobEventQuerySet:
        """Events of jobs that the user sees."""
        return self.filter(job__in=Job.objects.visible_to(user))


class JobEvent(models.Model):
    """One line of a job's story. ``id`` is the order and what ``?after=`` counts."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=8, choices=EventKind.choices)
    level = models.CharField(max_length=8, default="info")
    attempt = models.PositiveSmallIntegerField(default=0)
    stage = models.CharField(max_length=40, blank=True)
    progress = models.PositiveSmallIntegerField(null=True)
    message = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    objects: ClassVar[JobEventQuerySet] = JobEventQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("kind", EventKind.values, "edge_ai_jobevent_kind_known"),
            known("level", ["debug", "info", "warning", "error"], "edge_ai_jobevent_level_known"),
        ]
        indexes = [models.Index(fields=["job", "id"], name="edge_ai_jobevent_story")]  # job page and events/?after=

    def __str__(self) -> str:
        return f"{self.kind}: {self.message or self.stage}"
