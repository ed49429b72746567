"""The same request on the same model has the same answer: finding it, and giving it instead of running again.

Benchmarks are never answered so: what they measure is this machine, now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import User
from edge_ai.engine.identity import code_sha256, content_key, library_versions
from edge_ai.engine.spec import OptimizeOptions
from edge_ai.models import (
    Artifact,
    ArtifactType,
    Dataset,
    DeviceProfile,
    EventKind,
    Job,
    JobStatus,
    Model,
    ModelStatus,
    OptimizationJob,
    Visibility,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.jobs import record, settle


def answer_key(
    *,
    model: Model,
    dataset: Dataset | None,
    device_profile: DeviceProfile,
    target_format: str,
    precision: str,
    optimization_level: str,
    options: Mapping[str, Any],
) -> str:
    """Return the hash of all that decides what an optimization answers.

    Parameters
    ----------
    precision
        As the plan resolved it, so that ``auto`` and what it stands for are one request.
    options
        As they were given; what was left out counts as its default.
    """
    return content_key(
        {
            # The row and not its bytes: a variant names its parent, and a second upload of a file is a model of its own.
            "model": str(model.pk),
            "dataset": None if dataset is None else dataset.sha256,
            "device": asdict(device_profile.facts),
            "target_format": target_format,
            "precision": precision,
            "optimization_level": optimization_level,
            "options": asdict(OptimizeOptions.read(options)),
            "engine": code_sha256(),
            "libraries": library_versions(),
        }
    )


def earlier_answer(user: User, key: str, *, visibility: str) -> OptimizationJob | None:
    """Return the latest completed job with this key that the user sees, whose variant and files the user sees as well.

    Parameters
    ----------
    visibility
        Of the job to be answered: whoever sees that one must see the answer.
    """
    if not _any_ran([key]):
        return None
    return _answering(user, [key], visibility).order_by("-finished_at").first()


def earlier_answers(user: User, keys: Collection[str], *, visibility: str) -> frozenset[str]:
    """Return those of the keys that :func:`earlier_answer` finds a job for."""
    return frozenset(_answering(user, keys, visibility).values_list("cache_key", flat=True) if _any_ran(keys) else ())


def _any_ran(keys: Collection[str]) -> bool:
    """Tell whether a job with one of the keys has completed at all; most have not, and this takes a look at an index."""
    return Job.objects.filter(cache_key__in=keys, status=JobStatus.COMPLETED).exists()


def _answering(user: User, keys: Collection[str], visibility: str) -> QuerySet[OptimizationJob]:
    seen = {"visibility": visibility} if visibility == Visibility.WORKSPACE else {}
    variants = Model.objects.visible_to(user).filter(producer=OuterRef("pk"), status=ModelStatus.READY, **seen)
    files = Artifact.objects.visible_to(user).filter(
        Q(expires_at=None) | Q(expires_at__gt=ClockTimestamp()),
        optimization_job=OuterRef("pk"),
        model__producer=OuterRef("pk"),
        **seen,
    )
    return OptimizationJob.objects.visible_to(user).filter(
        # Of what was answered itself, the answer is the job that ran.
        Exists(variants),
        Exists(files.filter(artifact_type=ArtifactType.OPTIMIZED_MODEL)),
        Exists(files.filter(artifact_type=ArtifactType.RECIPE)),
        status=JobStatus.COMPLETED,
        cache_key__in=keys,
        answered_by=None,
        **seen,
    )


def answered_fields(earlier: OptimizationJob) -> dict[str, Any]:
    """Return what makes a new job one that was answered by an earlier one: completed, without having been started."""
    return {
        "status": JobStatus.COMPLETED,
        "stage": "done",
        "progress": 100,
        "result": dict(earlier.result or {}),
        "answered_by_id": earlier.pk,
        "finished_at": ClockTimestamp(),
        "enqueued_at": None,
    }


def tell_answer(job: OptimizationJob, earlier: OptimizationJob) -> None:
    """Write into a job's story where its answer comes from, and carry its end over to what depends on it.

    To be called in the transaction that made the job.
    """
    record(
        job.pk,
        EventKind.STATUS,
        stage=JobStatus.COMPLETED,
        message=f"Answered from job {earlier.pk} (“{earlier.name}”): the same request on the same model. Nothing was run.",
    )
    settle(job.pk)
