"""Cancelling and retrying, for every kind of job, and what follows from a job's end."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Model as Row

from accounts.models import User
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.models import (
    HOUSEKEEPING,
    AnalysisJob,
    AuditAction,
    BenchmarkRun,
    ComparisonJob,
    DiagnosisJob,
    Event,
    EventKind,
    Job,
    JobEvent,
    JobKind,
    JobStatus,
    Model,
    ModelStatus,
    OptimizationJob,
    PackagingJob,
    UsageEvent,
    WebhookEvent,
)
from edge_ai.models.job import CANCELLED_ERROR
from edge_ai.services import queue, quotas
from edge_ai.services.audit import event_of, keep
from edge_ai.services.readiness import analysis_awaited, first_analysis_awaited, variant_awaited
from edge_ai.services.rows import Statement, insert_together
from edge_ai.services.telemetry import usage_of
from edge_ai.services.webhooks import emit, emit_ends

#: Jobs that need a model, which may have to be analysed first.
WORKS_ON_A_MODEL: Mapping[JobKind, Any] = {
    JobKind.OPTIMIZATION: OptimizationJob,
    JobKind.BENCHMARK: BenchmarkRun,
    JobKind.PACKAGING: PackagingJob,
    JobKind.DIAGNOSIS: DiagnosisJob,
}
#: What a job may be waited for in.
WAITED_FOR = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING)


def cancel_job(user: User, *, job: Job) -> Job:
    """Cancel at once what waits; ask what runs to stop, which takes a few seconds.

    Raises
    ------
    UserInputError
        ``conflict`` when the job has ended already; ``permission_denied`` for a colleague's job.
    """
    _own(user, job)
    with transaction.atomic():
        if not Job.objects.request_cancel(job.pk):
            raise UserInputError(
                f"The job has already ended: {Job.objects.get(pk=job.pk).get_status_display().lower()}.",
                code="conflict",
                fix="There is nothing left to cancel.",
            )
        before = {job.pk: job.status}
        job.refresh_from_db()
        _tell_cancelled([job], before)
    return job


def cancel_all(jobs: Sequence[Job], *, besides: Iterable[Row | None] = (), then: Iterable[Statement] = ()) -> None:
    """Cancel jobs of one kind, owner and visibility, as :func:`cancel_job` does one, and write ``besides`` along with it,
    and do ``then``, both with the studio's own rights.

    To be called in a transaction in which they are locked, and have not ended.
    """
    before = {job.pk: job.status for job in jobs}
    Job.objects.request_cancel(*before)
    _tell_cancelled(list(type(jobs[0])._default_manager.filter(pk__in=before).order_by("pk")), before, besides, then)


def _tell_cancelled(
    jobs: Sequence[Job],
    before: Mapping[uuid.UUID, str],
    besides: Iterable[Row | None] = (),
    then: Iterable[Statement] = (),
) -> None:
    """Note that jobs were cancelled, or asked to stop, and carry over the end of those that have ended."""
    rows = [*besides]
    ended = [job for job in jobs if job.status == JobStatus.CANCELLED]
    for job in jobs:
        rows.append(event_of(AuditAction.JOB_CANCELLED, job, before={"status": before[job.pk]}))
        words = "Cancelled before it started." if job in ended else "Cancellation asked for."
        rows.append(JobEvent(job_id=job.pk, kind=EventKind.STATUS, stage=job.status, message=words))
    with acting_as_system():  # the trail is the studio's, and what waited for it may be a colleague's
        counts = [_end_of(job) for job in ended]
        insert_together(filter(None, [*rows, *counts]), then=[*then, *([queue.withdrawing(*ended)] if ended else [])])
        if ended:
            _carry_over(ended)


def retry_job(user: User, *, job: Job) -> Job:
    """Run a failed or cancelled job again, with all attempts anew.

    Raises
    ------
    UserInputError
        ``conflict`` for a job that has not ended, or has its result; ``permission_denied`` for a colleague's job;
        ``quota_exceeded``, ``too_many_jobs``.
    """
    _own(user, job)
    if not job.may_retry:
        raise _not_again(job)
    with transaction.atomic():
        before = job.status
        row, awaited = _awaited(job)
        quotas.admit_again([row])
        if not Job.objects.restart(job.pk, waits_for=awaited):
            raise _not_again(job)
        if job.kind == JobKind.ANALYSIS:
            Model.objects.filter(analysis_jobs=job.pk).update(status=ModelStatus.UPLOADED, error=None)
        _tell_retried([(job, before, awaited)])
    job.refresh_from_db()
    return job


def _not_again(job: Job) -> UserInputError:
    return UserInputError(
        f"Only a failed or cancelled job can be run again; this one is {job.get_status_display().lower()}.",
        code="conflict",
        fix="Submit a new job instead.",
    )


def retry_all(jobs: Sequence[OptimizationJob], *, besides: Iterable[Row | None] = ()) -> None:
    """Run optimizations again that failed or were cancelled, as :func:`retry_job` does one, and write ``besides``.

    To be called in a transaction that holds the quota and the jobs, which have their models.

    Raises
    ------
    EngineError
        ``quota_exceeded``, ``too_many_jobs``, where there is no room for all.
    """
    found = [(job.pk, analysis_awaited(job.model)) for job in jobs]
    awaited: dict[uuid.UUID, uuid.UUID | None] = {key: None if each is None else each.pk for key, each in found}
    for waited in set(awaited.values()):
        Job.objects.restart(*(key for key, each in awaited.items() if each == waited), waits_for=waited)
    quotas.admit(jobs)
    _tell_retried([(job, job.status, awaited[job.pk]) for job in jobs], besides)


def _tell_retried(jobs: Iterable[tuple[Job, str, uuid.UUID | None]], besides: Iterable[Row | None] = ()) -> None:
    """Note that jobs run again, each with its status before and what it waits for, and send what waits for nothing."""
    rows = [*besides]
    sent: list[Statement] = []
    for job, before, awaited in jobs:
        words = "Queued again." if awaited is None else "Waits for the model's analysis again."
        stage = JobStatus.QUEUED if awaited is None else JobStatus.PENDING
        rows += [
            event_of(AuditAction.JOB_RETRIED, job, before={"status": before}),
            usage_of(Event.JOB_RETRIED, kind=job.kind),
            JobEvent(job_id=job.pk, kind=EventKind.STATUS, stage=stage, message=words),
        ]
        sent += queue.sending(job) if awaited is None else []
    with acting_as_system():  # the trail and the counting are the studio's
        insert_together(filter(None, rows), then=sent)


def _awaited(job: Job) -> tuple[Job, uuid.UUID | None]:
    """Return the job with its model, and what has to end before it runs again: an analysis, or what makes the variant.

    Raises
    ------
    UserInputError
        ``conflict`` where the variant will not be made.
    """
    if job.kind == JobKind.COMPARISON:
        with acting_as_system():
            compared = Model.objects.filter(compared__comparison=job.pk).order_by("compared__place")
            waited = first_analysis_awaited(compared)
        return job, waited.pk if waited is not None else None
    table = WORKS_ON_A_MODEL.get(JobKind(job.kind))
    if table is None:
        return job, None
    with acting_as_system():  # a colleague may have made the model private since
        row: Any = table.objects.select_related("model").get(pk=job.pk)
        if isinstance(row, BenchmarkRun) and row.variant_of is not None and row.model_id == row.variant_of.model_id:
            awaited: Job | None = variant_awaited(row.variant_of)
        else:
            awaited = analysis_awaited(row.model)
    return row, awaited.pk if awaited is not None else None


def _own(user: User, job: Job) -> None:
    if job.owner_id != user.pk:
        raise UserInputError(
            "The job belongs to a colleague.",
            code="permission_denied",
            fix="Ask its owner, or submit a job of your own.",
        )


def record(job_id: uuid.UUID, kind: EventKind, *, message: str, level: str = "info", **fields: Any) -> None:
    """Add a line to a job's story."""
    message = message.replace("\0", "")[:1000]  # which PostgreSQL cannot keep
    JobEvent.objects.create(job_id=job_id, kind=kind, level=level, message=message, **fields)


def settle(job_id: uuid.UUID) -> None:
    """Carry a job's end over to what depends on it: its model, the jobs that waited for it, and webhooks.

    To be called in the transaction that ended the job; does nothing when the job has not ended.
    """
    job = Job.objects.get(pk=job_id)
    if job.is_final:
        keep(_end_of(job))
        _carry_over([job])


def _carry_over(jobs: Sequence[Job]) -> None:
    """Carry the end of jobs of one kind, owner and visibility over, which have ended alike."""
    emit_ends(jobs)
    for job in jobs:
        _carry_over_to_model(job)
    if len(jobs) == 1 or Job.objects.filter(waits_for__in=[job.pk for job in jobs], status=JobStatus.PENDING).exists():
        for job in jobs:
            tell_waiting(job)


def _carry_over_to_model(job: Job) -> None:
    if job.status != JobStatus.COMPLETED and job.kind == JobKind.ANALYSIS:
        model_id = AnalysisJob.objects.values_list("model_id", flat=True).get(pk=job.pk)
        failed = (
            Model.objects.filter(pk=model_id)
            .exclude(status=ModelStatus.READY)
            .update(status=ModelStatus.FAILED, error=job.error or CANCELLED_ERROR)
        )
        if failed:
            emit(WebhookEvent.MODEL_FAILED, Model.objects.get(pk=model_id), occasion=str(job.finished_at))


def _end_of(job: Job) -> UsageEvent | None:
    """Return what is counted of a job's end."""
    if job.kind in HOUSEKEEPING:
        return None
    if job.status == JobStatus.COMPLETED:
        return usage_of(Event.JOB_COMPLETED, kind=job.kind, attempt=job.attempt)
    if job.status == JobStatus.FAILED:
        return usage_of(Event.JOB_FAILED, kind=job.kind, code=str((job.error or {}).get("code", "internal_error")))
    return usage_of(Event.JOB_CANCELLED, kind=job.kind)


def tell_waiting(job: Job) -> None:
    """Let the jobs that wait for one that has ended go on, or fail. May be called again: who was told waits no more."""
    if job.status == JobStatus.COMPLETED:
        _hand_over_variant(job)
        _wait_for_the_next(job)
        for waiting in Job.objects.release_waiting(job.pk):
            record(waiting, EventKind.STATUS, stage=JobStatus.QUEUED, message="What it waited for is done.")
            queue.send(waiting)
        return
    error = job.error or CANCELLED_ERROR
    for waiting in list(Job.objects.filter(waits_for=job.pk, status=JobStatus.PENDING).values_list("pk", flat=True)):
        if Job.objects.fail_waiting(waiting, error=_because(error)):
            record(
                waiting, EventKind.STATUS, level="error", stage=JobStatus.FAILED, message="What it waited for failed."
            )
            # Others may have waited for this one in turn.
            settle(waiting)


def _hand_over_variant(job: Job) -> None:
    """Let the benchmarks that waited for an optimization measure the variant that it made."""
    variant = (job.result or {}).get("model") if job.kind == JobKind.OPTIMIZATION else None
    if variant is not None:
        BenchmarkRun.objects.filter(variant_of=job.pk, waits_for=job.pk, status=JobStatus.PENDING).update(
            model_id=uuid.UUID(str(variant))
        )


def _wait_for_the_next(job: Job) -> None:
    """Let comparisons go on waiting where another of their models is still being analysed.

    The other analysis is not locked, since its end may be looking at this one: should it have ended meanwhile, the reaper
    finds the comparison.
    """
    if job.kind != JobKind.ANALYSIS:
        return
    for waiting in ComparisonJob.objects.filter(waits_for=job.pk, status=JobStatus.PENDING):
        following = (
            AnalysisJob.objects.exclude(pk=job.pk)
            .exclude(model__status=ModelStatus.READY)
            .filter(model__compared__comparison=waiting, status__in=WAITED_FOR)
            .order_by("created_at")
            .first()
        )
        if following is not None:
            Job.objects.filter(pk=waiting.pk, status=JobStatus.PENDING).update(waits_for=following.pk)


def _because(error: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": "dependency_failed",
        "detail": f"What this job waited for did not succeed: {error.get('detail', '')}",
        "fix": str(error.get("fix", "")),
        "cause": str(error.get("code", "")),
    }
