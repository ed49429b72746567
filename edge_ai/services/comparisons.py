"""Planning and submitting comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from accounts.models import User
from config.middleware import current_request_id
from edge_ai import storage
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.plan import Plan, check_comparable, check_measurable
from edge_ai.engine.plan import plan_comparison as plan_for
from edge_ai.engine.spec import ComparisonSpec, Format, refuse
from edge_ai.models import (
    ComparedModel,
    ComparisonJob,
    Dataset,
    DeviceProfile,
    Event,
    JobKind,
    JobStatus,
    Model,
    Priority,
    Queue,
    Visibility,
)
from edge_ai.services import queue
from edge_ai.services.converters import missing_tools
from edge_ai.services.datasets import header_of
from edge_ai.services.readiness import first_analysis_awaited, require_usable
from edge_ai.services.rows import create_extended
from edge_ai.services.telemetry import track


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """What is asked for; the rows are ones that the asker sees, the model that the others are held against first."""

    models: Sequence[Model]
    device_profile: DeviceProfile
    dataset: Dataset | None = None
    threads: int | None = None
    margin: float = 0.02
    max_seconds: float = 120.0
    name: str = ""
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL


def usual_name(models: Sequence[Model]) -> str:
    """Return what a comparison is called whose asker gave it no name."""
    others = models[1].name if len(models) == 2 else f"{len(models) - 1} others"
    return f"{models[0].name} against {others}"[:200]


def plan_comparison(user: User, *, request: ComparisonRequest) -> Plan | None:
    """Say what would run, or refuse what can never work; ``None`` while the analysis of a model is not done.

    Raises
    ------
    EngineError
        ``device_not_here``, ``unsupported_conversion``, ``not_comparable``, ``dataset_mismatch``, ``invalid_request`` for
        too few or too many models, the same one twice or a bad budget, or the code that a model's own analysis failed with.
    """
    models = request.models
    # The bounds of the request live in the engine's own form of it.
    ComparisonSpec(
        model_paths=tuple(f"model-{place}" for place in range(len(models))),
        formats=tuple(Format(model.format) for model in models),
        threads=request.threads,
        margin=request.margin,
        max_seconds=request.max_seconds,
    )
    if len({model.pk for model in models}) < len(models):
        raise refuse("models", "A model is named twice.", "Name each model once.")
    missing = missing_tools()
    for model in models:
        try:
            require_usable(model)
            check_measurable(Format(model.format), request.device_profile.facts, missing)
        except EngineError as error:
            raise _about(error, model) from error
    if any(model.analysis is None for model in models):
        return None
    return plan_for(
        analyses=[model.analysis or {} for model in models],
        names=[model.name for model in models],
        formats=[Format(model.format) for model in models],
        device=request.device_profile.facts,
        dataset=header_of(request.dataset),
        missing_tools=missing,
    )


def _about(error: EngineError, model: Model) -> EngineError:
    """Say which of the models a refusal is about."""
    if error.field != "model":
        return error
    return type(error)(
        f"“{model.name}”: {error.message}", code=error.code, fix=error.fix, field="models", details=error.details
    )


def check_compared(models: Sequence[Model]) -> None:
    """Refuse models that do not take the same input, now that all their analyses are there.

    Raises
    ------
    UserInputError
        ``not_comparable``.
    """
    check_comparable([model.analysis or {} for model in models], [model.name for model in models])


def submit_comparison(user: User, *, request: ComparisonRequest) -> ComparisonJob:
    """Queue a comparison; one with a model that is still being analysed waits for that.

    Raises
    ------
    EngineError
        As :func:`plan_comparison`.
    """
    plan_comparison(user, request=request)
    with transaction.atomic():
        awaited = first_analysis_awaited(request.models)
        job = ComparisonJob(
            owner=user,
            visibility=request.visibility,
            kind=JobKind.COMPARISON,
            queue=Queue.BENCHMARK,
            name=request.name.strip()[:200] or usual_name(request.models),
            status=JobStatus.PENDING if awaited else JobStatus.QUEUED,
            waits_for=awaited,
            max_attempts=settings.JOB_MAX_ATTEMPTS,
            priority=request.priority,
            request_id=current_request_id(),
            device_profile=request.device_profile,
            dataset=request.dataset,
            threads=request.threads,
            margin=request.margin,
            max_seconds=request.max_seconds,
        )
        compared = [
            ComparedModel(comparison_id=job.id, model=model, place=place) for place, model in enumerate(request.models)
        ]
        create_extended(job, *compared)
        queue.submit(job)
    return job


def samples_url(user: User, *, job: ComparisonJob) -> str:
    """Return a signed link to every raw sample.

    Raises
    ------
    UserInputError
        ``not_found`` while there are none.
    """
    if job.samples_blob_id is None:
        raise UserInputError("The comparison has no samples yet.", code="not_found", fix="Wait until it has completed.")
    track(Event.FILE_DOWNLOADED, what="samples")
    return storage.signed_url(
        sha256=job.samples_blob_id, file_name=f"comparison-{job.pk}-samples.npz", mime_type="application/x-npz"
    )
