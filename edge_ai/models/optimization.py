"""The job that makes a smaller or faster variant of a model."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import OwnedQuerySet, known
from edge_ai.models.batch import OptimizationBatch
from edge_ai.models.dataset import Dataset
from edge_ai.models.device import DeviceProfile
from edge_ai.models.job import Job
from edge_ai.models.model import Model, ModelFormat


class Precision(models.TextChoices):
    """How numbers are kept in a variant."""

    FP32 = "fp32", "fp32"
    FP16 = "fp16", "fp16"
    INT8 = "int8", "int8, calibrated"
    INT8_DYNAMIC = "int8_dynamic", "int8, dynamic"
    INT16X8 = "int16x8", "int16 × 8"
    INT4 = "int4", "int4, weights only"
    FP8 = "fp8", "fp8"
    AUTO = "auto", "Choose for me"


class OptimizationLevel(models.TextChoices):
    """What a variant is chosen for."""

    SPEED = "speed", "Fastest"
    BALANCED = "balanced", "Balanced"
    SIZE = "size", "Smallest"


class OptimizationJob(Job):
    """A model, a device, a precision; the variant is the model whose producer this job is."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="optimization_jobs")
    device_profile = models.ForeignKey(DeviceProfile, on_delete=models.PROTECT, related_name="optimization_jobs")
    dataset = models.ForeignKey(
        Dataset, on_delete=models.SET_NULL, null=True, blank=True, related_name="optimization_jobs"
    )
    target_format = models.CharField(max_length=20, choices=ModelFormat.choices)
    precision = models.CharField(max_length=20, choices=Precision.choices)
    optimization_level = models.CharField(
        max_length=10, choices=OptimizationLevel.choices, default=OptimizationLevel.BALANCED
    )
    options = models.JSONField(default=dict, blank=True)
    batch = models.ForeignKey(
        OptimizationBatch, on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs", editable=False
    )

    objects: ClassVar[OwnedQuerySet[OptimizationJob]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("target_format", ModelFormat.values, "edge_ai_optimization_format_known"),
            known("precision", Precision.values, "edge_ai_optimization_precision_known"),
            known("optimization_level", OptimizationLevel.values, "edge_ai_optimization_level_known"),
        ]
