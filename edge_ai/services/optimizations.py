"""Planning and submitting optimizations."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.models import User
from config.middleware import current_request_id
from edge_ai.engine.plan import Plan
from edge_ai.engine.plan import plan_optimization as plan_for
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision
from edge_ai.models import (
    Dataset,
    DeviceProfile,
    JobKind,
    JobStatus,
    Model,
    OptimizationJob,
    Priority,
    Queue,
    Visibility,
)
from edge_ai.services import answers, queue
from edge_ai.services.converters import missing_tools
from edge_ai.services.datasets import header_of
from edge_ai.services.estimates import Estimate, estimate_optimization
from edge_ai.services.readiness import analysis_awaited, require_usable


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
    return plan_for(
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


def estimated_time(user: User, *, request: OptimizationRequest, plan: Plan | None) -> Estimate:
    """Say how long what is planned will run, by how long it took before."""
    return estimate_optimization(user, model=request.model, target_format=request.target_format, plan=plan)


def earlier_answer(user: User, *, request: OptimizationRequest, plan: Plan | None) -> OptimizationJob | None:
    """Return the completed job that answers a request; ``None`` where it has to run, or is wanted afresh."""
    if plan is None or request.fresh:
        return None
    return answers.earlier_answer(user, _key(request, plan), visibility=request.visibility)


def submit_optimization(user: User, *, request: OptimizationRequest) -> OptimizationJob:
    """Queue an optimization, or answer it at once from an earlier job; one of a model being analysed waits for that.

    Raises
    ------
    EngineError
        As :func:`plan_optimization`.
    """
    plan = plan_optimization(user, request=request)
    earlier = earlier_answer(user, request=request, plan=plan)
    if earlier is not None:
        # Whoever deletes the earlier job meanwhile makes this one run.
        with contextlib.suppress(IntegrityError), transaction.atomic():
            job = _create(user, request, plan, **answers.answered_fields(earlier))
            answers.tell_answer(job, earlier)
            job.refresh_from_db()
            return job
    with transaction.atomic():
        awaited = analysis_awaited(request.model)
        job = _create(
            user,
            request,
            plan,
            status=JobStatus.PENDING if awaited else JobStatus.QUEUED,
            waits_for=awaited,
        )
        queue.submit(job)
    job.refresh_from_db()
    return job


def run_afresh(user: User, *, job: OptimizationJob) -> OptimizationJob:
    """Ask for the same as an earlier job once more, and have it run.

    Raises
    ------
    EngineError
        As :func:`plan_optimization`.
    """
    request = OptimizationRequest(
        model=job.model,
        device_profile=job.device_profile,
        dataset=job.dataset,
        target_format=job.target_format,
        precision=job.precision,
        optimization_level=job.optimization_level,
        options=job.options,
        name=job.name,
        visibility=job.visibility,
        priority=job.priority,
        fresh=True,
    )
    return submit_optimization(user, request=request)


def _create(user: User, request: OptimizationRequest, plan: Plan | None, **state: Any) -> OptimizationJob:
    return OptimizationJob.objects.create(
        owner=user,
        visibility=request.visibility,
        kind=JobKind.OPTIMIZATION,
        queue=Queue.STUDIO,
        name=request.name.strip()[:200] or f"{request.model.name} → {request.target_format} {request.precision}"[:200],
        max_attempts=settings.JOB_MAX_ATTEMPTS,
        priority=request.priority,
        request_id=current_request_id(),
        model=request.model,
        device_profile=request.device_profile,
        dataset=request.dataset,
        target_format=request.target_format,
        precision=request.precision,
        optimization_level=request.optimization_level,
        options=dict(request.options),
        cache_key="" if plan is None else _key(request, plan),
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
