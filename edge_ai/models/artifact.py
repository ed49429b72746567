"""Things to take away."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from edge_ai.models.base import ClockTimestamp, Owned, OwnedQuerySet, known
from edge_ai.models.benchmark import BenchmarkRun
from edge_ai.models.blob import Blob
from edge_ai.models.device import DeviceProfile
from edge_ai.models.model import Model
from edge_ai.models.optimization import OptimizationJob


class ArtifactType(models.TextChoices):
    """What an artifact is."""

    OPTIMIZED_MODEL = "optimized_model", "Optimized model"
    RECIPE = "recipe", "Recipe"
    BENCHMARK_SAMPLES = "benchmark_samples", "Benchmark samples"
    BUNDLE = "bundle", "Bundle"


class Artifact(Owned):
    """A file that a job made, kept for download until it expires."""

    artifact_type = models.CharField(max_length=20, choices=ArtifactType.choices)
    file_name = models.CharField(max_length=255)
    mime_type = models.CharField(max_length=100)
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="artifacts")
    optimization_job = models.ForeignKey(
        OptimizationJob, on_delete=models.SET_NULL, null=True, blank=True, related_name="artifacts"
    )
    benchmark = models.ForeignKey(
        BenchmarkRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="artifacts"
    )
    device_profile = models.ForeignKey(
        DeviceProfile, on_delete=models.SET_NULL, null=True, blank=True, related_name="artifacts"
    )
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="artifacts")
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    target_platform = models.CharField(max_length=100, blank=True)
    target_language = models.CharField(max_length=40, blank=True)
    download_count = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)
    #: When its owner was told that it will go.
    warned_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[OwnedQuerySet[Artifact]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("artifact_type", ArtifactType.values, "edge_ai_artifact_type_known"),
            known("visibility", ["private", "workspace"], "edge_ai_artifact_visibility_known"),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="edge_ai_artifact_mine"),  # list: mine, newest first
            models.Index(fields=["-created_at", "id"], name="edge_ai_artifact_newest"),  # list: the workspace's
            models.Index(fields=["expires_at"], name="edge_ai_artifact_expiry"),  # what is too old, or soon will be
        ]

    def __str__(self) -> str:
        return self.file_name

    @property
    def goes_soon(self) -> bool:
        """It is so near its end that its owner is told; the same as :func:`going_soon`."""
        if self.expires_at is None:
            return False
        left = self.expires_at - timezone.now()
        return left < timedelta(days=settings.ARTIFACT_WARNING_DAYS) and left < timezone.now() - self.created_at


def going_soon() -> models.Q:
    """Artifacts in the last ``ARTIFACT_WARNING_DAYS`` of their time, and in the second half of it."""
    now = ClockTimestamp()
    lived = models.ExpressionWrapper(now - models.F("created_at"), output_field=models.DurationField())
    return models.Q(expires_at__lt=now + timedelta(days=settings.ARTIFACT_WARNING_DAYS)) & models.Q(
        expires_at__lt=now + lived
    )
