"""A model: an uploaded file or an optimized variant of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from edge_ai.models.base import Owned, OwnedQuerySet, known
from edge_ai.models.blob import Blob

if TYPE_CHECKING:
    from edge_ai.models.optimization import OptimizationJob


class ModelFormat(models.TextChoices):
    """What a model file is, by its content."""

    ONNX = "onnx", "ONNX"
    TFLITE = "tflite", "TensorFlow Lite"
    KERAS = "keras", "Keras"
    SAVED_MODEL = "saved_model", "SavedModel"
    OPENVINO = "openvino", "OpenVINO IR"
    ORT = "ort", "ONNX Runtime format"
    COREML = "coreml", "Core ML"
    NCNN = "ncnn", "NCNN"
    GGUF = "gguf", "GGUF"
    TENSORRT = "tensorrt", "TensorRT engine"
    OTHER = "other", "Other"


class ModelStatus(models.TextChoices):
    """How far a model's analysis is."""

    UPLOADED = "uploaded", "Uploaded"
    ANALYZING = "analyzing", "Analyzing"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"
    ARCHIVED = "archived", "Archived"


class Model(Owned):
    """A model file with what is known about it. A variant names its parent and the job that made it."""

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=4000)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True, size=20)
    file_name = models.CharField(max_length=255)
    format = models.CharField(max_length=20, choices=ModelFormat.choices)
    status = models.CharField(max_length=10, choices=ModelStatus.choices, default=ModelStatus.UPLOADED)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="models")
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    analysis = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    precision = models.CharField(max_length=20, blank=True)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="variants")
    producer: models.ForeignKey[OptimizationJob | None] = models.ForeignKey(
        "edge_ai.OptimizationJob", on_delete=models.SET_NULL, null=True, blank=True, related_name="produced"
    )

    objects: ClassVar[OwnedQuerySet[Model]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("format", ModelFormat.values, "edge_ai_model_format_known"),
            known("status", ModelStatus.values, "edge_ai_model_status_known"),
            known("visibility", ["private", "workspace"], "edge_ai_model_visibility_known"),
            models.CheckConstraint(
                condition=~models.Q(status="ready") | models.Q(analysis__isnull=False),
                name="edge_ai_model_ready_is_analysed",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="failed") | models.Q(error__isnull=False),
                name="edge_ai_model_failed_says_why",
            ),
            # One visible result for each job, whatever is delivered twice.
            models.UniqueConstraint(fields=["producer"], name="edge_ai_model_one_per_job"),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="edge_ai_model_mine"),  # list: mine, newest first
            models.Index(
                fields=["-created_at", "id"], name="edge_ai_model_newest"
            ),  # list: the workspace's, newest first
            # list: in its other orders
            models.Index(fields=["name", "id"], name="edge_ai_model_by_name"),
            models.Index(fields=["size_bytes", "id"], name="edge_ai_model_by_size"),
            models.Index(fields=["updated_at", "id"], name="edge_ai_model_by_change"),
            models.Index(fields=["format", "id"], name="edge_ai_model_by_format"),
            models.Index(fields=["status", "id"], name="edge_ai_model_by_status"),
            # list: of one format or status, newest first
            models.Index(fields=["format", "-created_at", "id"], name="edge_ai_model_of_format"),
            models.Index(fields=["status", "-created_at", "id"], name="edge_ai_model_of_status"),
            models.Index(fields=["parent"], name="edge_ai_model_variants"),  # model page: variants
            GinIndex(fields=["tags"], name="edge_ai_model_tags"),  # list: filter by tag
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_ready(self) -> bool:
        """Analysed, and so fit for jobs."""
        return self.status == ModelStatus.READY
