"""Planning and submitting optimizations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Model as Row

from accounts.models import User
from config.middleware import current_request_id
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.plan import Caution, Plan
from edge_ai.engine.plan import plan_optimization as plan_for
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision
from edge_ai.models import (
    Dataset,
    DeviceProfile,
    JobKind,
    JobStatus,
    Model,
    OptimizationBatch,
    OptimizationJob,
    Priority,
    Queue,
    Visibility,
    seen,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import answers, queue, quotas
from edge_ai.services.converters import missing_tools
from edge_ai.services.datasets import header_of
from edge_ai.services.estimates import Estimate, estimate_optimization
from edge_ai.services.readiness import analysis_awaited, require_usable
from edge_ai.services.resumable import has_room
from edge_ai.services.rows import create_extended, insert_extended
from edge_ai.services.waiting import Wait, wait_for_another

COPIES_ON_DISK: Final = 3
LITTLE_ROOM: Final = Caution(
    code="storage_nearly_full",
    detail="The studio’s disk has little room left; the job may fail when it stores the variant.",
    fix="Delete what is no longer needed, or tell the operator.",
)


@dataclass(frozen=True, kw_only=True)
class OptimizationRequest:
    """What is asked for; the rows are ones that the asker sees."""

    model: Model
    device_profile: DeviceProfile
    dataset: Dataset | None = None
    target_format: str = Format.ONNX
    precision: str = Precision.INT8
    optimization_level: str = OptimizationLevel.BALANCED
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL
    fresh: bool = False
    """Run even where the same request was answered before."""


def plan_optimization(user: User, *, request: OptimizationRequest) -> Plan | None:
    """Say what would run, or refuse what can never work; ``None`` while the model's analysis is not done.

    Raises
    ------
    EngineError
        ``unsupported_conversion``, ``unsupported_precision``, ``unsupported_operator``, ``nothing_to_quantize``,
        ``dataset_required``, ``dataset_mismatch``, ``resource_limit``, ``invalid_request`` for an option, or the code
        that the model's own analysis failed with.
    """
    model = request.model
    require_usable(model)
    OptimizeOptions.read(request.options)
    if model.analysis is None:
        return None
    plan = plan_for(
        analysis=model.analysis,
        size_bytes=model.size_bytes,
        source_format=Format(model.format),
        target_format=Format(request.target_format),
        precision=Precision(request.precision),
        optimization_level=OptimizationLevel(request.optimization_level),
        options=request.options,
        device=request.device_profile.facts,
        dataset=header_of(request.dataset),
        missing_tools=missing_tools(),
        memory_bytes=settings.ENGINE_MEMORY_BYTES,
    )
    # The job works on a copy of the model, and makes several variants before it keeps one.
    if has_room(COPIES_ON_DISK * model.size_bytes):
        return plan
    return replace(plan, warnings=(*plan.warnings, LITTLE_ROOM))


def estimated_time(user: User, *, request: OptimizationRequest, plan: Plan | None) -> Estimate:
    """Say how long what is planned will run, by how long it took before."""
    return estimate_optimization(user, model=request.model, target_format=request.target_format, plan=plan)


def expected_wait(*, request: OptimizationRequest) -> Wait | None:
    """Say how long the job would wait for a worker; ``None`` where it waits for its model's analysis first."""
    if request.model.analysis is None:
        return None
    return wait_for_another(Queue.STUDIO, priority=request.priority)


def earlier_answer(user: User, *, request: OptimizationRequest, plan: Plan | None) -> OptimizationJob | None:
    """Return the completed job that answers a request; ``None`` where it has to run, or is wanted afresh."""
    if plan is None or request.fresh:
        return None
    return answers.earlier_answer(user, _key(request, plan), visibility=request.visibility)


def submit_optimization(
    user: User, *, request: OptimizationRequest, batch: OptimizationBatch | None = None
) -> OptimizationJob:
    """Queue an optimization, or answer it at once from an earlier job; one of a model being analysed waits for that.

    Parameters
    ----------
    batch
        What it was asked for with others; whoever asks for it claims what its jobs need.

    Raises
    ------
    EngineError
        As :func:`plan_optimization`; ``quota_exceeded``, ``too_many_jobs``.
    """
    plan = plan_optimization(user, request=request)
    key = "" if plan is None else _key(request, plan)
    earlier = None
    if key and not request.fresh:
        earlier = answers.earlier_answer(user, key, visibility=request.visibility)
    if earlier is not None:
        # Whoever deletes the earlier job meanwhile makes this one run.
        with contextlib.suppress(IntegrityError), transaction.atomic():
            job = _create(user, request, key, batch=batch, **answers.answered_fields(earlier))
            answers.tell_answer(job, earlier)
            queue.note_submission(job)
            job.refresh_from_db()
            return job
    with transaction.atomic():
        awaited = analysis_awaited(request.model)
        job = _create(
            user,
            request,
            key,
            batch=batch,
            status=JobStatus.PENDING if awaited else JobStatus.QUEUED,
            waits_for=awaited,
        )
        queue.submit(job, admitted=batch is not None)
    return job


def submit_together(
    user: User,
    *,
    wanted: Sequence[tuple[OptimizationRequest, Plan | None]],
    batch: OptimizationBatch,
    besides: Iterable[Row | None] = (),
) -> list[OptimizationJob]:
    """Queue what a batch asks for, each with its plan, as :func:`submit_optimization` does one; in a transaction.

    Raises
    ------
    EngineError
        ``quota_exceeded``, ``too_many_jobs``, where there is no room for all.
    """
    keys = ["" if plan is None else _key(request, plan) for request, plan in wanted]
    asked = [key for key, (request, _) in zip(keys, wanted, strict=True) if key and not request.fresh]
    known = answers.earlier_answers(user, asked, visibility=batch.visibility) if asked else frozenset()
    awaited = {request.model.pk: analysis_awaited(request.model) for request, _ in wanted}
    made, new = [], []
    for key, (request, _) in zip(keys, wanted, strict=True):
        if key in known and not request.fresh:
            job = submit_optimization(user, request=request, batch=batch)
        else:
            waited = awaited[request.model.pk]
            status = JobStatus.PENDING if waited else JobStatus.QUEUED
            # Each has a moment of its own, by which they stay in order.
            state = {"status": status, "waits_for": waited, "created_at": ClockTimestamp()}
            job = _unsaved(user, request, key, batch=batch, **state)
            new.append(job)
        made.append(job)
    insert_extended(new)
    quotas.admit(job for job in made if not job.is_final)  # answered ones need nothing
    queue.submit_all(new, besides=besides)
    return made


def run_afresh(user: User, *, job: OptimizationJob) -> OptimizationJob:
    """Ask for the same as an earlier job once more, and have it run.

    Raises
    ------
    EngineError
        As :func:`plan_optimization`; ``not_found`` where the model or the device is hidden.
    """
    if seen(job, "model") is None or seen(job, "device_profile") is None:
        raise UserInputError(
            "The model or the device of this job is private.",
            code="not_found",
            fix="Ask its owner to share it with the workspace.",
        )
    return submit_optimization(user, request=replace(request_of(job), name=job.name, fresh=True))


def request_of(job: OptimizationJob) -> OptimizationRequest:
    """Return what a job was asked with, but for its name."""
    return OptimizationRequest(
        model=job.model,
        device_profile=job.device_profile,
        dataset=job.dataset,
        target_format=job.target_format,
        precision=job.precision,
        optimization_level=job.optimization_level,
        options=job.options,
        visibility=job.visibility,
        priority=job.priority,
    )


def usual_name(model: Model, target_format: str, precision: str) -> str:
    """Return what an optimization is called whose asker gave it no name."""
    return f"{model.name} → {target_format} {precision}"[:200]


def _create(user: User, request: OptimizationRequest, key: str, **state: Any) -> OptimizationJob:
    return create_extended(_unsaved(user, request, key, **state))


def _unsaved(user: User, request: OptimizationRequest, key: str, **state: Any) -> OptimizationJob:
    return OptimizationJob(
        owner=user,
        visibility=request.visibility,
        kind=JobKind.OPTIMIZATION,
        queue=Queue.STUDIO,
        name=request.name.strip()[:200] or usual_name(request.model, request.target_format, request.precision),
        max_attempts=settings.JOB_MAX_ATTEMPTS,
        priority=request.priority,
        request_id=current_request_id(),
        claimed_bytes=request.model.size_bytes,
        model=request.model,
        device_profile=request.device_profile,
        dataset=request.dataset,
        target_format=request.target_format,
        precision=request.precision,
        optimization_level=request.optimization_level,
        options=dict(request.options),
        cache_key=key,
        **state,
    )


def _key(request: OptimizationRequest, plan: Plan) -> str:
    return answers.answer_key(
        model=request.model,
        dataset=request.dataset,
        device_profile=request.device_profile,
        target_format=request.target_format,
        precision=plan.precision or request.precision,
        optimization_level=request.optimization_level,
        options=request.options,
    )
