"""Asking why a variant is slower or wrong, and running what was proposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.models import User
from config.middleware import current_request_id
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.engine.plan import check_dataset, check_measurable
from edge_ai.engine.spec import DiagnosisSpec, Format
from edge_ai.models import (
    Dataset,
    DeviceProfile,
    DiagnosisJob,
    JobKind,
    JobStatus,
    Model,
    OptimizationJob,
    Priority,
    Queue,
    Visibility,
)
from edge_ai.services import queue
from edge_ai.services.converters import missing_tools
from edge_ai.services.datasets import header_of
from edge_ai.services.optimizations import OptimizationRequest, plan_optimization, submit_optimization
from edge_ai.services.readiness import analysis_awaited, require_usable
from edge_ai.services.rows import create_extended

MAX_NAME = 200


@dataclass(frozen=True, kw_only=True)
class DiagnosisRequest:
    """What is asked for; the rows are ones that the asker sees. Without ``baseline`` it is the variant's parent."""

    model: Model
    device_profile: DeviceProfile
    baseline: Model | None = None
    dataset: Dataset | None = None
    threads: int | None = None
    max_seconds: float = 20.0
    name: str = ""
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL


def baseline_of(user: User, *, request: DiagnosisRequest) -> Model:
    """Return what the variant is held against.

    Raises
    ------
    UserInputError
        ``invalid_request`` where there is nothing to hold it against, or only itself.
    """
    model = request.model
    baseline = request.baseline or Model.objects.visible_to(user).filter(variants=model.pk).first()
    if baseline is None:
        raise UserInputError(
            "This model was not made from another one here, so there is nothing to hold it against.",
            code="invalid_request",
            fix="Name the model that it should be compared with as the baseline.",
            field="baseline",
        )
    if baseline.pk == model.pk:
        raise UserInputError(
            "A model is neither slower than itself nor wrong.",
            code="invalid_request",
            fix="Name another model as the baseline.",
            field="baseline",
        )
    return baseline


def calibrated_on(user: User, *, model: Model, baseline: Model) -> Dataset | None:
    """Return the samples that a variant was made with, where it was made from that baseline with samples that are seen.

    Made-up ones may lie far outside of what its integers were chosen for, and would call a good variant wrong.
    """
    if model.producer_id is None:
        return None
    made_by = OptimizationJob.objects.visible_to(user).filter(pk=model.producer_id, model=baseline)
    return Dataset.objects.visible_to(user).filter(pk__in=made_by.values("dataset")).first()


def submit_diagnosis(user: User, *, request: DiagnosisRequest) -> DiagnosisJob:
    """Queue a diagnosis; one of a model that is still being analysed waits for that.

    Raises
    ------
    EngineError
        ``device_not_here``, ``unsupported_conversion``, ``dataset_mismatch``, ``invalid_request``, or the code that the
        analysis of either model failed with.
    """
    model, baseline = request.model, baseline_of(user, request=request)
    for each in (model, baseline):
        require_usable(each)
        check_measurable(Format(each.format), request.device_profile.facts, missing_tools())
    # The bounds of the request live in the engine's own form of it.
    DiagnosisSpec(
        model_path="model",
        format=Format(model.format),
        baseline_path="baseline",
        baseline_format=Format(baseline.format),
        threads=request.threads,
        max_seconds=request.max_seconds,
    )
    dataset = request.dataset or calibrated_on(user, model=model, baseline=baseline)
    header = header_of(dataset)
    if header is not None and baseline.analysis is not None:
        check_dataset(baseline.analysis, header)
    with transaction.atomic():
        awaited = analysis_awaited(model) or analysis_awaited(baseline)
        job = create_extended(
            DiagnosisJob(
                owner=user,
                visibility=request.visibility,
                kind=JobKind.DIAGNOSIS,
                queue=Queue.BENCHMARK,
                name=request.name.strip()[:MAX_NAME] or f"Why {model.name}"[:MAX_NAME],
                status=JobStatus.PENDING if awaited else JobStatus.QUEUED,
                waits_for=awaited,
                max_attempts=settings.JOB_MAX_ATTEMPTS,
                priority=request.priority,
                request_id=current_request_id(),
                model=model,
                baseline=baseline,
                device_profile=request.device_profile,
                dataset=dataset,
                threads=request.threads,
                max_seconds=request.max_seconds,
            )
        )
        queue.submit(job)
    return job


def with_requests(job: DiagnosisJob, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return findings whose remedies are whole optimization requests; those that would be refused have none."""
    return [finding | {"fix_job": _request(job, finding["fix_job"], finding["code"])} for finding in findings]


def _request(job: DiagnosisJob, remedy: Mapping[str, Any] | None, code: str) -> dict[str, Any] | None:
    if remedy is None or job.baseline is None:
        return None
    try:
        plan_optimization(
            job.owner,
            request=OptimizationRequest(
                model=job.baseline, device_profile=job.device_profile, dataset=job.dataset, **remedy
            ),
        )
    except EngineError:
        return None
    return {
        "model": str(job.baseline.pk),
        "device_profile": str(job.device_profile_id),
        "dataset": None if job.dataset_id is None else str(job.dataset_id),
        **remedy,
        "name": f"{job.baseline.name}: mend {code}"[:MAX_NAME],
    }


def run_fix(user: User, *, job: DiagnosisJob, place: int) -> OptimizationJob:
    """Submit the remedy of a finding.

    Parameters
    ----------
    place
        Of the finding, from 0.

    Raises
    ------
    UserInputError
        ``conflict`` where the finding has no remedy, or what it is about has been deleted.
    EngineError
        As :func:`~edge_ai.services.optimizations.submit_optimization`.
    """
    findings = (job.result or {}).get("findings") or []
    asked = findings[place]["fix_job"] if 0 <= place < len(findings) else None
    if asked is None:
        raise UserInputError(
            "This finding has no remedy that could be run.", code="conflict", fix="Follow its advice by hand."
        )
    model = Model.objects.visible_to(user).filter(pk=asked["model"]).first()
    dataset = Dataset.objects.visible_to(user).filter(pk=asked["dataset"]).first() if asked["dataset"] else None
    if model is None or (asked["dataset"] and dataset is None):
        raise UserInputError(
            f"The {'model' if model is None else 'data set'} that this remedy is about has been deleted.",
            code="conflict",
            fix="Ask again with what is there.",
        )
    known = {name: asked[name] for name in ("target_format", "precision", "optimization_level", "options", "name")}
    return submit_optimization(
        user,
        request=OptimizationRequest(model=model, device_profile=job.device_profile, dataset=dataset, **known),
    )
