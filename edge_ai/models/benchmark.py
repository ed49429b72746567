"""The job that measures a model, and its numbers."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from edge_ai.models.base import OwnedQuerySet, known
from edge_ai.models.blob import Blob
from edge_ai.models.dataset import Dataset
from edge_ai.models.device import DeviceProfile
from edge_ai.models.job import Job
from edge_ai.models.model import Model
from edge_ai.models.optimization import OptimizationJob


class ResultKind(models.TextChoices):
    """Whether a benchmark's numbers were measured, or estimated for a device that is not here. They are never mixed."""

    MEASURED = "measured", "Measured"
    ESTIMATED = "estimated", "Estimated"


class BenchmarkRun(Job):
    """A model measured on a device. ``p50_ms`` repeats the result's median so that lists can sort by it.

    That of an estimate is in ``estimated_ms``: whatever reads ``p50_ms`` reads what was measured.

    One of a variant that has yet to be made names, until it is, the variant's source as its model.
    """

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="benchmarks")
    device_profile = models.ForeignKey(DeviceProfile, on_delete=models.PROTECT, related_name="benchmarks")
    variant_of = models.ForeignKey(
        OptimizationJob, on_delete=models.SET_NULL, null=True, blank=True, related_name="benchmarks_of_variant"
    )
    dataset = models.ForeignKey(Dataset, on_delete=models.SET_NULL, null=True, blank=True, related_name="benchmarks")
    baseline = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="compared")
    threads = models.PositiveSmallIntegerField(null=True, blank=True)
    batch_size = models.PositiveIntegerField(default=1)
    warmup = models.PositiveIntegerField(null=True, blank=True)
    min_seconds = models.FloatField(default=3)
    max_seconds = models.FloatField(default=60)
    profile_operators = models.BooleanField(default=True)
    result_kind = models.CharField(
        max_length=9, choices=ResultKind.choices, default=ResultKind.MEASURED, editable=False
    )
    p50_ms = models.FloatField(null=True, blank=True, editable=False)
    estimated_ms = models.FloatField(null=True, blank=True, editable=False)
    samples_blob = models.ForeignKey(
        Blob, on_delete=models.PROTECT, null=True, blank=True, related_name="benchmarks", editable=False
    )

    objects: ClassVar[OwnedQuerySet[BenchmarkRun]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(min_seconds__gt=0, max_seconds__gte=F("min_seconds")), name="edge_ai_benchmark_budget"
            ),
            models.CheckConstraint(condition=Q(batch_size__gte=1), name="edge_ai_benchmark_batch_positive"),
            known("result_kind", ResultKind.values, "edge_ai_benchmark_kind_known"),
            models.CheckConstraint(
                condition=Q(result_kind="measured", estimated_ms__isnull=True)
                | Q(result_kind="estimated", p50_ms__isnull=True, samples_blob__isnull=True, baseline__isnull=True),
                name="edge_ai_benchmark_kinds_apart",
            ),
        ]
        indexes = [
            models.Index(fields=["model", "device_profile"], name="edge_ai_benchmark_best"),  # model list: best p50
            # list: the quickest first, the slowest first
            models.Index(fields=["p50_ms", "job_ptr"], name="edge_ai_benchmark_quickest"),
            models.Index(F("p50_ms").desc(nulls_last=True), "job_ptr", name="edge_ai_benchmark_slowest"),
        ]
