"""Small makers of rows. They fill in what a test does not care about."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from accounts.models import User
from config.database.identity import acting_as_system
from edge_ai.models import (
    AnalysisJob,
    Artifact,
    ArtifactType,
    BenchmarkRun,
    Blob,
    ComparedModel,
    ComparisonJob,
    Dataset,
    DeviceProfile,
    DiagnosisJob,
    ImportJob,
    Job,
    JobKind,
    KeptAnswer,
    Model,
    OptimizationBatch,
    OptimizationJob,
    PackagingJob,
    Queue,
    ShareLink,
    Upload,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookMessage,
    WorkspaceExport,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.models.job import CANCELLED_ERROR
from edge_ai.webhooks import vault

ANALYSIS: dict[str, Any] = {
    "inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", 1, 8, 8]}],
    "outputs": [{"name": "scores", "dtype": "float32", "shape": ["batch", 10]}],
    "operators": {"Conv": 2, "Gemm": 1},
    "parameter_count": 1000,
    "weight_bytes": 4000,
    "weight_bytes_by_dtype": {"float32": 4000},
    "macs": 12345,
    "opset": 17,
    "precision": "fp32",
    "warnings": [],
}
HEADER: dict[str, Any] = {
    "arrays": [
        {"name": "image", "dtype": "float32", "shape": [64, 1, 8, 8]},
        {"name": "labels", "dtype": "int64", "shape": [64]},
    ],
    "samples": 64,
    "has_labels": True,
}


def make_blob(content: bytes | None = None) -> Blob:
    """A blob's row; its file is not there."""
    content = content if content is not None else uuid.uuid4().bytes
    blob, _ = Blob.objects.get_or_create(
        sha256=hashlib.sha256(content).hexdigest(), defaults={"size_bytes": len(content)}
    )
    return blob


def make_model(owner: User, **fields: Any) -> Model:
    """A ready model."""
    blob = make_blob()
    defaults: dict[str, Any] = {
        "name": "digits",
        "file_name": "digits.onnx",
        "format": "onnx",
        "status": "ready",
        "analysis": ANALYSIS,
        "precision": "fp32",
        "blob": blob,
        "size_bytes": 5000,
        "sha256": blob.sha256,
    }
    return Model.objects.create(owner=owner, **(defaults | fields))


def make_dataset(owner: User, **fields: Any) -> Dataset:
    """A data set that fits :func:`make_model`."""
    blob = make_blob()
    defaults: dict[str, Any] = {
        "name": "samples",
        "file_name": "samples.npz",
        "blob": blob,
        "size_bytes": 9000,
        "sha256": blob.sha256,
        "header": HEADER,
        "sample_count": 64,
        "has_labels": True,
    }
    return Dataset.objects.create(owner=owner, **(defaults | fields))


def make_upload(owner: User, **fields: Any) -> Upload:
    """An upload of which nothing has arrived."""
    expires_at = timezone.now() + timedelta(hours=1)
    defaults: dict[str, Any] = {"file_name": "digits.onnx", "length_bytes": 100, "expires_at": expires_at}
    return Upload.objects.create(owner=owner, **(defaults | fields))


def make_kept_answer(owner: User, **fields: Any) -> KeptAnswer:
    """What a request was answered."""
    return KeptAnswer.objects.create(owner=owner, **({"key": "k1", "request_sha256": "0" * 64, "status": 201} | fields))


def make_batch(owner: User, *models: Model, **fields: Any) -> OptimizationBatch:
    """A batch of models in int8 on this machine, without its jobs; each was refused in int4."""
    host = host_device()
    asked: dict[str, Any] = {
        "models": [str(model.pk) for model in models],
        "device_profiles": [str(host.pk)],
        "precisions": ["int8", "int4"],
        "dataset": None,
        "target_format": None,
        "optimization_level": "balanced",
        "options": {},
        "priority": 1,
        "fresh": False,
    }
    refused = [
        {
            "model": str(model.pk),
            "model_name": model.name,
            "device_profile": str(host.pk),
            "device_name": host.name,
            "precision": "int4",
            "target_format": "onnx",
            "code": "unsupported_precision",
            "detail": "It has no use for int4.",
            "fix": "Choose int8.",
            "nearest": None,
        }
        for model in models
    ]
    defaults: dict[str, Any] = {"name": "All of them", "content_key": "0" * 64, "asked": asked, "refused": refused}
    return OptimizationBatch.objects.create(owner=owner, **(defaults | fields))


def host_device() -> DeviceProfile:
    """“This machine”."""
    return DeviceProfile.objects.get(is_host=True, is_template=True)


def make_device(owner: User, **fields: Any) -> DeviceProfile:
    """Somebody's own device."""
    defaults: dict[str, Any] = {"slug": "my-board", "name": "My board", "category": "single_board_computer"}
    return DeviceProfile.objects.create(owner=owner, **(defaults | fields))


def possible(fields: dict[str, Any]) -> dict[str, Any]:
    """Add what a job of that status must have besides, where the test does not say."""
    needed: dict[str, dict[str, Any]] = {
        "running": {"attempt": 1, "worker": "w", "started_at": ClockTimestamp()},
        "completed": {"progress": 100, "result": {}, "finished_at": ClockTimestamp()},
        "cancelled": {"cancel_requested": True, "error": CANCELLED_ERROR, "finished_at": ClockTimestamp()},
    }
    return needed.get(str(fields.get("status")), {}) | fields


def make_analysis(owner: User, model: Model, **fields: Any) -> AnalysisJob:
    """A queued analysis, without a message."""
    return AnalysisJob.objects.create(
        owner=owner,
        kind=JobKind.ANALYSIS,
        queue=Queue.STUDIO,
        **({"model": model, "name": "analyse"} | possible(fields)),
    )


def make_optimization(owner: User, model: Model | None = None, **fields: Any) -> OptimizationJob:
    """A queued optimization, without a message."""
    defaults: dict[str, Any] = {
        "name": "to int8",
        "model": model or make_model(owner),
        "device_profile": fields.pop("device_profile", None) or host_device(),
        "target_format": "onnx",
        "precision": "int8_dynamic",
    }
    return OptimizationJob.objects.create(
        owner=owner, kind=JobKind.OPTIMIZATION, queue=Queue.STUDIO, **(defaults | possible(fields))
    )


def make_completed(owner: User, model: Model, seconds: float, **fields: Any) -> OptimizationJob:
    """An optimization to fp16 that ran for so long."""
    began = datetime(2026, 5, 4, 10, 0, 0, tzinfo=UTC)
    ended: dict[str, Any] = {
        "precision": "auto",
        "status": "completed",
        "progress": 100,
        "attempt": 1,
        "result": {"precision": "fp16"},
        "started_at": began,
        "finished_at": began + timedelta(seconds=seconds),
    }
    return make_optimization(owner, model, **(ended | fields))


def make_benchmark(owner: User, model: Model | None = None, **fields: Any) -> BenchmarkRun:
    """A queued benchmark, without a message."""
    defaults: dict[str, Any] = {
        "name": "measure",
        "model": model or make_model(owner),
        "device_profile": fields.pop("device_profile", None) or host_device(),
    }
    return BenchmarkRun.objects.create(
        owner=owner, kind=JobKind.BENCHMARK, queue=Queue.BENCHMARK, **(defaults | possible(fields))
    )


def make_comparison(owner: User, *models: Model, **fields: Any) -> ComparisonJob:
    """A queued comparison of two models or more, without a message."""
    compared = list(models) or [make_model(owner)]
    if len(compared) == 1:
        compared.append(make_model(owner, name="digits · int8"))
    defaults: dict[str, Any] = {
        "name": "compare",
        "device_profile": fields.pop("device_profile", None) or host_device(),
    }
    job = ComparisonJob.objects.create(
        owner=owner, kind=JobKind.COMPARISON, queue=Queue.BENCHMARK, **(defaults | possible(fields))
    )
    ComparedModel.objects.bulk_create(
        ComparedModel(comparison=job, model=model, place=place) for place, model in enumerate(compared)
    )
    return job


def make_packaging(owner: User, model: Model | None = None, **fields: Any) -> PackagingJob:
    """A queued bundle, without a message."""
    defaults: dict[str, Any] = {"name": "bundle", "model": model or make_model(owner)}
    return PackagingJob.objects.create(
        owner=owner, kind=JobKind.PACKAGING, queue=Queue.STUDIO, **(defaults | possible(fields))
    )


def make_import(owner: User, **fields: Any) -> ImportJob:
    """A queued import, without a message."""
    defaults: dict[str, Any] = {
        "name": "import",
        "source": "url",
        "address": "https://example.com/net.onnx",
        "closed_url": vault.close("https://example.com/net.onnx?token=hidden"),
    }
    return ImportJob.objects.create(
        owner=owner, kind=JobKind.IMPORT, queue=Queue.STUDIO, **(defaults | possible(fields))
    )


def make_diagnosis(owner: User, model: Model | None = None, **fields: Any) -> DiagnosisJob:
    """A queued diagnosis, without a message."""
    baseline = fields.pop("baseline", None) or make_model(owner)
    defaults: dict[str, Any] = {
        "name": "why",
        "model": model or make_model(owner, parent=baseline),
        "baseline": baseline,
        "device_profile": fields.pop("device_profile", None) or host_device(),
    }
    return DiagnosisJob.objects.create(
        owner=owner, kind=JobKind.DIAGNOSIS, queue=Queue.BENCHMARK, **(defaults | possible(fields))
    )


def make_artifact(owner: User, model: Model | None = None, **fields: Any) -> Artifact:
    """A recipe to take away."""
    blob = make_blob()
    defaults: dict[str, Any] = {
        "artifact_type": ArtifactType.RECIPE,
        "file_name": "recipe.json",
        "mime_type": "application/json",
        "model": model or make_model(owner),
        "blob": blob,
        "size_bytes": blob.size_bytes,
        "sha256": blob.sha256,
    }
    return Artifact.objects.create(owner=owner, **(defaults | fields))


def make_export(owner: User, **fields: Any) -> WorkspaceExport:
    """An export that was made, for an hour."""
    job = Job.objects.create(
        owner=owner, kind=JobKind.EXPORT, queue=Queue.STUDIO, name="export", **possible({"status": "completed"})
    )
    blob = make_blob()
    defaults: dict[str, Any] = {
        "job": job,
        "blob": blob,
        "size_bytes": blob.size_bytes,
        "expires_at": timezone.now() + timedelta(hours=1),
    }
    return WorkspaceExport.objects.create(owner=owner, **(defaults | fields))


def make_share_link(owner: User, comparison: ComparisonJob | None = None, **fields: Any) -> ShareLink:
    """A link of an hour to a comparison, whose token nobody knows."""
    defaults: dict[str, Any] = {
        "title": "compare",
        "token_sha256": hashlib.sha256(uuid.uuid4().bytes).hexdigest(),
        "comparison": comparison or make_comparison(owner),
        "expires_at": timezone.now() + timedelta(hours=1),
    }
    return ShareLink.objects.create(owner=owner, **(defaults | fields))


WEBHOOK_SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBzdHVkaW8ncyB0ZXN0cw=="


def make_endpoint(owner: User, **fields: Any) -> WebhookEndpoint:
    """An endpoint that hears of everything, whose secret is :data:`WEBHOOK_SECRET`."""
    defaults: dict[str, Any] = {
        "url": "https://hooks.example.com/studio",
        "events": WebhookEvent.values,
        "secret": vault.close(WEBHOOK_SECRET),
    }
    return WebhookEndpoint.objects.create(owner=owner, **(defaults | fields))


def make_delivery(endpoint: WebhookEndpoint, **fields: Any) -> WebhookDelivery:
    """A delivery that is due, without a hint."""
    event = fields.pop("event_type", WebhookEvent.MODEL_READY)
    with acting_as_system():
        message = WebhookMessage.objects.create(id=uuid.uuid4(), event_type=event, body='{"type":"model.ready"}')
        return WebhookDelivery.objects.create(endpoint=endpoint, message=message, event_type=event, **fields)


def make_attempt(delivery: WebhookDelivery, **fields: Any) -> WebhookAttempt:
    """An attempt that the receiver answered with 500."""
    defaults: dict[str, Any] = {
        "number": 1,
        "url": delivery.endpoint.url,
        "request_headers": {"webhook-id": delivery.message.wire_id},
        "latency_ms": 12.5,
        "http_status": 500,
        "response_body": "out of order",
        "error_code": "http_status",
        "error": "It answered 500; only 2xx is a success.",
    }
    with acting_as_system():
        return WebhookAttempt.objects.create(delivery=delivery, **(defaults | fields))


def long_ago() -> datetime:
    """A time before any lock that a worker could still hold."""
    return timezone.now() - timedelta(days=30)
