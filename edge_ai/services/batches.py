"""Optimizing several models for several devices in several precisions at once: all of it in one transaction, or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Avg, Case, Count, F, FloatField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import JSONObject

from accounts.models import User
from config.database.identity import acting_as_system
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.plan import Plan
from edge_ai.engine.spec import OptimizationLevel, OptimizeOptions, refuse
from edge_ai.models import (
    FINAL,
    AuditAction,
    Dataset,
    DeviceProfile,
    Event,
    JobStatus,
    Model,
    OptimizationBatch,
    OptimizationJob,
    Priority,
    Visibility,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import quotas
from edge_ai.services.audit import event_of
from edge_ai.services.jobs import WAITED_FOR, cancel_all, retry_all
from edge_ai.services.optimizations import OptimizationRequest, plan_optimization, submit_together
from edge_ai.services.targets import usual_target
from edge_ai.services.telemetry import usage_of

MOST_COMBINATIONS: Final = 100
#: For so long the same request is the same batch.
REMEMBERED: Final = timedelta(hours=24)
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('edge_ai_batch'), hashtext(%s))"
#: Of a result, which is long, what tables show.
RESULT: Final = {
    "made_bytes": F("result__size_bytes"),
    "made_precision": F("result__precision"),
    "sqnr_db": F("result__parity__sqnr_db"),
    "made": F("result__model"),
}


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What is asked for; the rows are ones that the asker sees. Without ``target_format`` each model keeps its own."""

    models: Sequence[Model]
    device_profiles: Sequence[DeviceProfile]
    precisions: Sequence[str]
    dataset: Dataset | None = None
    target_format: str | None = None
    optimization_level: str = OptimizationLevel.BALANCED
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL
    fresh: bool = False
    strict: bool = False
    """Refuse all where one combination can never work."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A combination that can never work, and why."""

    model: str
    model_name: str
    device_profile: str
    device_name: str
    precision: str
    target_format: str
    code: str
    detail: str
    fix: str
    nearest: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """The combinations that work, each with its plan, and those that never will.

    A plan is ``None`` where the model's analysis is not done.
    """

    planned: tuple[tuple[OptimizationRequest, Plan | None], ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, kw_only=True)
class MadeBatch:
    """A batch, and whether it was made now or by the same request before."""

    batch: OptimizationBatch
    now: bool


def plan_batch(user: User, *, request: BatchRequest) -> PlannedBatch:
    """Say of every combination whether it works. No query, however many there are.

    Raises
    ------
    UserInputError
        ``invalid_request`` for no combination or too many, or for an option; ``batch_refused`` where none works, or with
        ``strict`` not all.
    """
    models, devices = _once(request.models), _once(request.device_profiles)
    precisions = _once(request.precisions)
    count = len(models) * len(devices) * len(precisions)
    if count == 0:
        raise refuse("models", "There is nothing to combine.", "Name a model, a device and a precision at least.")
    if count > MOST_COMBINATIONS:
        raise refuse(
            "models",
            f"{len(models)} models, {len(devices)} devices and {len(precisions)} precisions are {count} combinations; at most "
            f"{MOST_COMBINATIONS} are made at once.",
            "Ask for fewer, or in several batches.",
        )
    OptimizeOptions.read(request.options)
    planned: list[tuple[OptimizationRequest, Plan | None]] = []
    refused = []
    for model in models:
        for device in devices:
            for precision in precisions:
                one = _one(request, model, device, precision)
                try:
                    planned.append((one, plan_optimization(user, request=one)))
                except EngineError as error:
                    refused.append(_refusal(one, error))
    if not planned or (request.strict and refused):
        first = refused[0]
        few = (
            f"{len(refused)} of the {count} combinations cannot work"
            if planned
            else "None of the combinations can work"
        )
        raise UserInputError(
            f"{few}. The first, {first.model_name} for {first.device_name} in {first.precision}: {first.detail}",
            code="batch_refused",
            fix=first.fix or "Choose other precisions, devices or models.",
            details={"refused": [asdict(each) for each in refused]},
        )
    return PlannedBatch(planned=tuple(planned), refused=tuple(refused))


def submit_batch(user: User, *, request: BatchRequest, idempotency_key: str = "") -> MadeBatch:
    """Queue every combination that works, all in one transaction; the same request within a day is the same batch.

    Parameters
    ----------
    idempotency_key
        The client's own name for this request. Without one, the content decides: what was cancelled is made anew.

    Raises
    ------
    UserInputError
        As :func:`plan_batch`; ``conflict`` where the key was used for another request; ``quota_exceeded`` and
        ``too_many_jobs``, where the workspace has no room for all of it.
    """
    content_key = _content_key(request)
    with transaction.atomic():
        earlier = _earlier(user, idempotency_key, content_key)
        if earlier is not None:
            return MadeBatch(batch=earlier, now=False)
        found = plan_batch(user, request=request)
        batch = OptimizationBatch.objects.create(
            owner=user,
            visibility=request.visibility,
            name=request.name.strip()[:200] or _usual_name(request),
            idempotency_key=idempotency_key,
            content_key=content_key,
            asked=_asked(request),
            refused=[asdict(each) for each in found.refused],
        )
        noted = event_of(
            AuditAction.BATCH_SUBMITTED,
            batch,
            after={"jobs": len(found.planned), "refused": len(found.refused), "visibility": batch.visibility},
        )
        counted = usage_of(Event.BATCH_SUBMITTED, jobs=len(found.planned))
        submit_together(user, wanted=found.planned, batch=batch, besides=[noted, counted])
    return MadeBatch(batch=batch, now=True)


def cancel_batch(user: User, *, batch: OptimizationBatch) -> int:
    """Cancel every job of a batch that has not ended; returns how many.

    Raises
    ------
    UserInputError
        ``conflict`` when all have ended; ``permission_denied`` for a colleague's batch.
    """
    _own(user, batch)
    with transaction.atomic():
        active = Q(status__in=WAITED_FOR)
        jobs = list(OptimizationJob.objects.select_for_update().filter(active, batch=batch).order_by("pk"))
        stopped = len(jobs)
        if not stopped:
            raise UserInputError(
                "Every job of the batch has ended.", code="conflict", fix="There is nothing left to cancel."
            )
        noted = event_of(AuditAction.BATCH_CANCELLED, batch, after={"jobs": stopped})
        over = f"UPDATE {OptimizationBatch._meta.db_table} SET cancelled_at = clock_timestamp() WHERE id = %s"  # noqa: S608 - a name of our own
        cancel_all(jobs, besides=[noted], then=[(over, [batch.pk])])
    return stopped


def retry_batch(user: User, *, batch: OptimizationBatch) -> int:
    """Run every failed or cancelled job of a batch again; returns how many.

    Raises
    ------
    UserInputError
        ``conflict`` where none has failed; ``permission_denied`` for a colleague's batch.
    """
    _own(user, batch)
    ended = [JobStatus.FAILED, JobStatus.CANCELLED]
    with transaction.atomic():
        quotas.hold()
        with acting_as_system():  # a colleague may have made a model private since
            mine = OptimizationJob.objects.filter(owner=user, batch=batch, status__in=ended)
            jobs = list(mine.select_related("model").select_for_update(of=("self", "job_ptr")).order_by("pk"))
        again = len(jobs)
        if not again:
            raise UserInputError("No job of the batch has failed.", code="conflict", fix="There is nothing to retry.")
        OptimizationBatch.objects.filter(pk=batch.pk).update(cancelled_at=None)
        retry_all(jobs, besides=[event_of(AuditAction.BATCH_RETRIED, batch, after={"jobs": again})])
    return again


def batches_of(user: User) -> QuerySet[OptimizationBatch]:
    """Return the batches that a user sees, with how many of their jobs stand where, and how far they are in percent.

    The jobs are looked at for those batches alone that are read, not for all that a list is one page of.
    """
    ended = Case(When(status__in=FINAL, then=Value(100.0)), default=F("progress"), output_field=FloatField())
    counts = {str(status): Count("pk", filter=Q(status=status)) for status in JobStatus.values}
    jobs = OptimizationJob.objects.filter(batch=OuterRef("pk")).order_by().values("batch")
    told = jobs.annotate(told=JSONObject(**counts, total=Count("pk"), percent=Avg(ended))).values("told")
    return OptimizationBatch.objects.visible_to(user).annotate(told=Subquery(told))


def percent_of(batch: Any) -> int:
    """Return how far the jobs of a batch of :func:`batches_of` are."""
    return int((batch.told or {}).get("percent", 100))


def counts_of(batch: Any) -> dict[str, int]:
    """Return how many jobs of a batch of :func:`batches_of` stand where, and how many combinations were refused."""
    told = batch.told or {}
    return {name: int(told.get(name, 0)) for name in ("total", *JobStatus.values)} | {"refused": len(batch.refused)}


def standing_of(counts: Mapping[str, int]) -> str:
    """Return where a batch stands: with a job that has not ended it runs, or waits; else its worst end counts."""
    if counts["running"] or (
        counts["queued"] + counts["pending"] and counts["total"] > counts["queued"] + counts["pending"]
    ):
        return JobStatus.RUNNING
    for status in (JobStatus.QUEUED, JobStatus.PENDING, JobStatus.FAILED, JobStatus.CANCELLED):
        if counts[status]:
            return status
    return JobStatus.COMPLETED


def jobs_of(user: User, *, batch: OptimizationBatch) -> list[OptimizationJob]:
    """Return a batch's jobs with their models and devices, without their results. One query."""
    return list(
        OptimizationJob.objects.visible_to(user)
        .filter(batch=batch)
        .with_seen("model", "device_profile")
        .defer("result", "model__analysis")
        .annotate(**RESULT)
        .order_by("created_at", "pk")
    )


def _own(user: User, batch: OptimizationBatch) -> None:
    if batch.owner_id != user.pk:
        raise UserInputError(
            "The batch belongs to a colleague.",
            code="permission_denied",
            fix="Ask its owner, or submit a batch of your own.",
        )


def _earlier(user: User, idempotency_key: str, content_key: str) -> OptimizationBatch | None:
    """Return the batch that the same request made before.

    One at a time for each person: of two that come at once, the second finds the first. The lock is waited for in the same
    trip, by a statement of its own, so that what follows it sees what it waited for.
    """
    recent = OptimizationBatch.objects.owned_by(user).filter(created_at__gt=ClockTimestamp() - REMEMBERED)
    if idempotency_key:
        same = recent.filter(idempotency_key=idempotency_key)
    else:
        same = recent.filter(content_key=content_key, cancelled_at=None)
    looking, values = same.order_by("-created_at").values("pk", "content_key")[:1].query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"{LOCK}; {looking}", [str(user.pk), *values])
        cursor.nextset()
        found = cursor.fetchone()
    if found is None:
        return None
    if found[1] != content_key:
        raise UserInputError(
            "The key was used for another request less than a day ago.",
            code="conflict",
            fix="Send another Idempotency-Key, or the same request.",
        )
    return OptimizationBatch.objects.get(pk=found[0])


def _one(request: BatchRequest, model: Model, device: DeviceProfile, precision: str) -> OptimizationRequest:
    target = request.target_format or usual_target(model)
    prefix = f"{request.name.strip()}: " if request.name.strip() else ""
    return OptimizationRequest(
        model=model,
        device_profile=device,
        dataset=request.dataset,
        target_format=target,
        precision=precision,
        optimization_level=request.optimization_level,
        options=request.options,
        name=f"{prefix}{model.name} → {target} {precision} for {device.name}"[:200],
        visibility=request.visibility,
        priority=request.priority,
        fresh=request.fresh,
    )


def _refusal(one: OptimizationRequest, error: EngineError) -> Refusal:
    return Refusal(
        model=str(one.model.pk),
        model_name=one.model.name,
        device_profile=str(one.device_profile.pk),
        device_name=one.device_profile.name,
        precision=one.precision,
        target_format=one.target_format,
        code=error.code,
        detail=error.message,
        fix=error.fix,
        nearest=(error.details or {}).get("nearest"),
    )


def _asked(request: BatchRequest) -> dict[str, Any]:
    return {
        "models": [str(model.pk) for model in _once(request.models)],
        "device_profiles": [str(device.pk) for device in _once(request.device_profiles)],
        "precisions": _once(request.precisions),
        "dataset": None if request.dataset is None else str(request.dataset.pk),
        "target_format": request.target_format,
        "optimization_level": request.optimization_level,
        "options": dict(request.options),
        "priority": int(request.priority),
        "fresh": request.fresh,
    }


def _content_key(request: BatchRequest) -> str:
    told = _asked(request) | {"name": request.name.strip(), "visibility": request.visibility, "strict": request.strict}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _usual_name(request: BatchRequest) -> str:
    models, devices = _once(request.models), _once(request.device_profiles)
    what = models[0].name if len(models) == 1 else f"{len(models)} models"
    where = devices[0].name if len(devices) == 1 else f"{len(devices)} devices"
    return f"{what} in {', '.join(_once(request.precisions))} for {where}"[:200]


def _once(rows: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(rows))
