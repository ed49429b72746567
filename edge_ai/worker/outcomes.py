"""From what the engine answered to what people see, in one transaction with the job's end."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from edge_ai import storage
from edge_ai.engine.environments import environment_differences
from edge_ai.engine.errors import InternalError
from edge_ai.models import (
    AnalysisJob,
    Artifact,
    ArtifactType,
    AuditAction,
    BenchmarkRun,
    ComparisonJob,
    DiagnosisJob,
    EventKind,
    ImportJob,
    Job,
    JobKind,
    JobStatus,
    Model,
    ModelFormat,
    ModelStatus,
    OptimizationJob,
    PackagingJob,
    ResultKind,
    WebhookEvent,
    WorkspaceExport,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.artifacts import NOTED as ARTIFACT_NOTED
from edge_ai.services.audit import fields_of, note
from edge_ai.services.diagnoses import with_requests
from edge_ai.services.expiry import artifact_days
from edge_ai.services.history import regression
from edge_ai.services.imports import make_model
from edge_ai.services.jobs import record, settle
from edge_ai.services.layers import keep_layers
from edge_ai.services.models import NOTED as MODEL_NOTED
from edge_ai.services.webhooks import emit
from edge_ai.worker.surroundings import surroundings
from edge_ai.worker.work import EXTENSIONS

#: The engine's recipes, by role, and how their files end.
RECIPES = {"recipe": ".json", "recipe_yaml": ".yaml"}
MAX_STEM = 180


@dataclass(frozen=True, kw_only=True)
class ChildFile:
    """A file that the child made: where it is, and what the engine says it is."""

    role: str
    path: Path
    name: str
    format: str | None
    mime_type: str
    mark: storage.Fingerprint


def collect(folder: Path, declared: Sequence[Mapping[str, Any]]) -> dict[str, ChildFile]:
    """Look at what the child says it made. It is not believed: only regular files inside its own folder count.

    Raises
    ------
    InternalError
        ``internal_error`` for anything else.
    """
    files: dict[str, ChildFile] = {}
    for item in declared:
        relative = PurePosixPath(str(item["path"]))
        path = folder / relative
        if relative.is_absolute() or ".." in relative.parts or not _is_plain_file(path, folder):
            raise InternalError("The engine named a file that it may not name.", code="internal_error")
        files[str(item["role"])] = ChildFile(
            role=str(item["role"]),
            path=path,
            name=str(item.get("name") or relative.name)[:255],
            format=item.get("format"),
            mime_type=str(item.get("mime_type") or "application/octet-stream")[:100],
            mark=storage.fingerprint(path),
        )
    return files


def store_ahead(files: Mapping[str, ChildFile]) -> None:
    """Store what the child made before its job is locked for :func:`complete`: a cancellation need not wait for it.

    Raises
    ------
    EngineError
        ``storage_full``, ``storage_unavailable``.
    """
    for file in files.values():
        storage.put_ahead(file.path, file.mark)


def _is_plain_file(path: Path, folder: Path) -> bool:
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and path.resolve().is_relative_to(folder.resolve())


def complete(job_id: UUID, token: UUID, result: dict[str, Any], files: Mapping[str, ChildFile]) -> bool:
    """Publish a job's output and end it. ``False``: somebody else holds the job, and nothing was written."""
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(pk=job_id, lease_token=token, status=JobStatus.RUNNING).first()
        if job is None:
            return False
        if job.cancel_requested:
            return False
        if job.kind == JobKind.ANALYSIS:
            _analysed(job_id, result)
        elif job.kind == JobKind.OPTIMIZATION:
            result = _optimized(job_id, result, files)
        elif job.kind == JobKind.BENCHMARK:
            result = _measured(job, result, files)
        elif job.kind == JobKind.COMPARISON:
            result = _with_surroundings(job, _compared(job_id, result, files))
        elif job.kind == JobKind.PACKAGING:
            result = _packaged(job_id, result, files)
        elif job.kind == JobKind.DIAGNOSIS:
            result = _with_surroundings(job, _diagnosed(job_id, result))
        elif job.kind == JobKind.EXPORT:
            _exported(job_id, files["export"])
        elif job.kind == JobKind.IMPORT:
            result = _imported(job_id, result, files["import"])
        if not Job.objects.complete(job_id, token, result=result):
            raise RuntimeError("A job that is locked was completed by somebody else.")
        record(
            job_id, EventKind.STATUS, stage=JobStatus.COMPLETED, attempt=job.attempt, progress=100, message="Completed."
        )
        settle(job_id)
        if result.get("regression") is not None and job.kind == JobKind.BENCHMARK:
            _tell_regression(job_id, job.attempt, result["regression"])
    return True


def _exported(job_id: UUID, file: ChildFile) -> None:
    blob = storage.put(file.path, file.mark)
    WorkspaceExport.objects.filter(job_id=job_id).update(
        blob=blob,
        size_bytes=file.mark.size_bytes,
        expires_at=ClockTimestamp() + timedelta(days=settings.EXPORT_DAYS),
    )


def _imported(job_id: UUID, result: dict[str, Any], file: ChildFile) -> dict[str, Any]:
    job = ImportJob.objects.select_related("owner").get(pk=job_id)
    model = make_model(job, file.path, file.mark, file_name=file.name, format=str(file.format))
    return result | {"model": str(model.pk)}


def _analysed(job_id: UUID, result: dict[str, Any]) -> None:
    model_id = AnalysisJob.objects.values_list("model_id", flat=True).get(pk=job_id)
    keep_layers(model_id, result.pop("layers", None))
    Model.objects.filter(pk=model_id).update(
        status=ModelStatus.READY, analysis=result, precision=str(result.get("precision") or "")[:20], error=None
    )
    emit(WebhookEvent.MODEL_READY, Model.objects.get(pk=model_id), occasion=str(job_id))


def _optimized(job_id: UUID, result: dict[str, Any], files: Mapping[str, ChildFile]) -> dict[str, Any]:
    job = OptimizationJob.objects.select_related("model", "device_profile").get(pk=job_id)
    made = files["model"]
    analysis = result.pop("analysis")
    layers = analysis.pop("layers", None)
    precision = str(result.get("precision") or job.precision)
    stem = variant_stem(Path(job.model.file_name).stem, job, precision)
    # An ONNX model that one file cannot hold is an archive with its weights beside it.
    packed = job.target_format == ModelFormat.ONNX and zipfile.is_zipfile(made.path)
    file_name = stem + (".zip" if packed else EXTENSIONS.get(job.target_format, ".bin"))
    blob = storage.put(made.path, made.mark)
    variant = Model.objects.create(
        owner_id=job.owner_id,
        visibility=job.visibility,
        name=f"{job.model.name} · {job.target_format} {precision}"[:200],
        file_name=file_name[:255],
        format=job.target_format,
        status=ModelStatus.READY,
        blob=blob,
        size_bytes=made.mark.size_bytes,
        sha256=made.mark.sha256,
        analysis=analysis,
        precision=str(analysis.get("precision") or "")[:20],
        parent=job.model,
        producer=job,
    )
    keep_layers(variant.pk, layers)
    note(AuditAction.MODEL_CREATED, variant, after=fields_of(variant, MODEL_NOTED) | {"job": str(job.pk)})
    emit(WebhookEvent.MODEL_READY, variant)
    made_by: dict[str, Any] = {
        "optimization_job": job,
        "device_profile": job.device_profile,
        "target_platform": job.device_profile.name[:100],
    }
    _artifact(job, variant, made, ArtifactType.OPTIMIZED_MODEL, file_name, **made_by)
    for role, suffix in RECIPES.items():
        if role in files:
            _artifact(job, variant, files[role], ArtifactType.RECIPE, f"{stem}-recipe{suffix}", **made_by)
    return result | {"model": str(variant.pk)}


def variant_stem(source: str, job: OptimizationJob, precision: str) -> str:
    """Return what a variant's files are called, without an ending: the format is said where that is another one."""
    parts = [source[:MAX_STEM], precision]
    if job.target_format != job.model.format:
        parts.insert(1, job.target_format)
    return "-".join(parts)


def _artifact(job: Job, model: Model, file: ChildFile, kind: ArtifactType, name: str, **fields: Any) -> Artifact:
    blob = model.blob if file.mark.sha256 == model.sha256 else storage.put(file.path, file.mark)
    end = expiry()
    artifact = Artifact.objects.create(
        owner_id=job.owner_id,
        visibility=job.visibility,
        artifact_type=kind,
        file_name=name[:255],
        mime_type=file.mime_type,
        model=model,
        blob=blob,
        size_bytes=file.mark.size_bytes,
        sha256=file.mark.sha256,
        expires_at=end,
        **fields,
    )
    if end is not None:
        artifact.refresh_from_db(fields=["expires_at"])  # the database's clock has said when
    note(AuditAction.ARTIFACT_CREATED, artifact, after=fields_of(artifact, ARTIFACT_NOTED) | {"job": str(job.pk)})
    emit(WebhookEvent.ARTIFACT_CREATED, artifact)
    return artifact


def expiry() -> Any:
    """Return when an artifact that is made now goes by itself, as the database's clock will have it; ``None``: never."""
    days = artifact_days()
    return ClockTimestamp() + timedelta(days=days) if days else None


def _measured(job: Job, result: dict[str, Any], files: Mapping[str, ChildFile]) -> dict[str, Any]:
    run = BenchmarkRun.objects.select_related("baseline", "model", "owner").get(pk=job.pk)
    if run.result_kind == ResultKind.ESTIMATED:
        BenchmarkRun.objects.filter(pk=job.pk).update(estimated_ms=result["latency_ms"]["p50"])
        return result
    samples = files["samples"]
    blob = storage.put(samples.path, samples.mark)
    # A benchmark's own column, so the child table alone is written.
    BenchmarkRun.objects.filter(pk=job.pk).update(p50_ms=result["latency_ms"]["p50"], samples_blob=blob)
    result = _with_surroundings(job, result) | {"regression": regression(run, result)}
    if result.get("comparison") is not None and run.baseline is not None:
        then = (run.baseline.result or {}).get("environment") or {}
        result["comparison"] = dict(result["comparison"]) | {
            "against": str(run.baseline.pk),
            "warnings": environment_differences(then, result["environment"]),
        }
    return result


def _with_surroundings(job: Job, result: dict[str, Any]) -> dict[str, Any]:
    """Add what the engine cannot know of where a measurement ran."""
    return result | {"environment": dict(result["environment"]) | surroundings(job.sandbox_level)}


def _compared(job_id: UUID, result: dict[str, Any], files: Mapping[str, ChildFile]) -> dict[str, Any]:
    """Name the models, which the engine knows by their places."""
    job = ComparisonJob.objects.get(pk=job_id)
    models = [each.model for each in job.compared.select_related("model")]
    samples = files["samples"]
    ComparisonJob.objects.filter(pk=job_id).update(samples_blob=storage.put(samples.path, samples.mark))
    for run in result["runs"]:
        model = models[int(run["place"])]
        run |= {"model": str(model.pk), "name": model.name}
    # The pairs with the first model are in both lists.
    for pair in [*result["pairs"], *result["every_pair"]]:
        pair |= {side: str(models[int(pair[side])].pk) for side in ("a", "b")}
    return result


def _diagnosed(job_id: UUID, result: dict[str, Any]) -> dict[str, Any]:
    job = DiagnosisJob.objects.select_related("owner", "baseline", "device_profile", "dataset").get(pk=job_id)
    return result | {"findings": with_requests(job, result["findings"])}


def _tell_regression(job_id: UUID, attempt: int, found: Mapping[str, Any]) -> None:
    """Say in the job's story, and to whoever asked to be told, that a model got slower."""
    low, high = found["ci95"]
    record(
        job_id,
        EventKind.LOG,
        level="warning",
        attempt=attempt,
        message=f"Slower than before: {found['ratio_p50']:.2f} × the level of its series, {found['level_ms']:.3g} ms over "
        f"{found['runs']} runs (95 % interval {low:.2f} to {high:.2f} ×).",
    )
    emit(WebhookEvent.BENCHMARK_REGRESSED, Job.objects.get(pk=job_id))


def _packaged(job_id: UUID, result: dict[str, Any], files: Mapping[str, ChildFile]) -> dict[str, Any]:
    job = PackagingJob.objects.select_related("model").get(pk=job_id)
    name = f"{Path(job.model.file_name).stem[:MAX_STEM]}-bundle.zip"
    language = {"target_language": "python"} if result["runs_here"] else {}
    artifact = _artifact(job, job.model, files["bundle"], ArtifactType.BUNDLE, name, **language)
    return result | {"artifact": str(artifact.pk)}
