"""Asking for bundles, and what a bundle's card says of a model's past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.models import User
from config.middleware import current_request_id
from edge_ai.models import (
    BenchmarkRun,
    JobKind,
    JobStatus,
    Model,
    OptimizationJob,
    PackagingJob,
    Priority,
    Queue,
    ResultKind,
    Visibility,
)
from edge_ai.services import queue
from edge_ai.services.readiness import analysis_awaited, require_usable
from edge_ai.services.rows import create_extended


@dataclass(frozen=True, kw_only=True)
class PackagingRequest:
    """What is asked for; the model is one that the asker sees."""

    model: Model
    name: str = ""
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL


def submit_packaging(user: User, *, request: PackagingRequest) -> PackagingJob:
    """Queue the making of a bundle; one of a model that is still being analysed waits for that.

    Raises
    ------
    EngineError
        The code that the model's own analysis failed with.
    """
    require_usable(request.model)
    with transaction.atomic():
        awaited = analysis_awaited(request.model)
        job = create_extended(
            PackagingJob(
                owner=user,
                visibility=request.visibility,
                kind=JobKind.PACKAGING,
                queue=Queue.STUDIO,
                name=request.name.strip()[:200] or f"Bundle of {request.model.name}"[:200],
                status=JobStatus.PENDING if awaited else JobStatus.QUEUED,
                waits_for=awaited,
                max_attempts=settings.JOB_MAX_ATTEMPTS,
                priority=request.priority,
                request_id=current_request_id(),
                claimed_bytes=request.model.size_bytes,
                model=request.model,
            )
        )
        queue.submit(job)
    return job


def facts_of(user: User, *, model: Model) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return what is known of how a model was made and measured, and its recipe.

    Whoever asks for a bundle reads in it only what they may read here: a colleague's shared variant may have been made and
    measured by jobs that are private.

    Returns
    -------
    facts : dict
        As :class:`edge_ai.engine.package.card.Subject` has them.
    recipe : dict or None
    """
    facts: dict[str, Any] = {"description": model.description} if model.description else {}
    maker = OptimizationJob.objects.visible_to(user).filter(produced=model.pk, status=JobStatus.COMPLETED).first()
    result: Mapping[str, Any] = (maker.result if maker is not None else None) or {}
    recipe: dict[str, Any] | None = result.get("recipe")
    source = Model.objects.visible_to(user).filter(variants=model.pk).first()
    if source is not None:
        facts["source"] = {"name": source.name, "sha256": source.sha256, "size_bytes": source.size_bytes}
    elif recipe is not None and (digest := (recipe.get("hashes") or {}).get("source_sha256")):
        facts["source"] = {"sha256": digest}
    if result:
        chosen: Mapping[str, Any] = next((trial for trial in result.get("trials") or () if trial.get("chosen")), {})
        facts["made"] = {
            "precision": result.get("precision"),
            "parity": result.get("parity"),
            "latency_ratio": chosen.get("latency_ratio"),
            "latency_against": (result.get("latency") or {}).get("against"),
            "warnings": result.get("warnings") or [],
        }
    run = (
        BenchmarkRun.objects.visible_to(user)
        .filter(model=model, status=JobStatus.COMPLETED, result_kind=ResultKind.MEASURED)
        .select_related("device_profile")
        .order_by("-finished_at")
        .first()
    )
    if run is not None:
        facts["measured"] = _measured(run)
    return facts, recipe


def _measured(run: BenchmarkRun) -> dict[str, Any]:
    result: Mapping[str, Any] = run.result or {}
    environment: Mapping[str, Any] = result.get("environment") or {}
    runtime = str(environment.get("runtime") or "onnxruntime")
    return {
        "p50_ms": result["latency_ms"]["p50"],
        "ci95": result["latency_ms"]["ci95"],
        "threads": environment.get("threads"),
        # “This machine” is another one where the card is read.
        "device": environment.get("cpu_model") or run.device_profile.name,
        "runtime": f"{runtime} {environment.get(runtime) or ''}".strip(),
    }
