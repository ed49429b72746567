"""The job that measures several models by turns."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from edge_ai.models.base import OwnedQuerySet
from edge_ai.models.blob import Blob
from edge_ai.models.dataset import Dataset
from edge_ai.models.device import DeviceProfile
from edge_ai.models.job import Job
from edge_ai.models.model import Model


class ComparisonJob(Job):
    """Two to eight models measured by turns on a device; the others are held against the first."""

    device_profile = models.ForeignKey(DeviceProfile, on_delete=models.PROTECT, related_name="comparisons")
    dataset = models.ForeignKey(Dataset, on_delete=models.SET_NULL, null=True, blank=True, related_name="comparisons")
    threads = models.PositiveSmallIntegerField(null=True, blank=True)
    margin = models.FloatField(default=0.02)
    max_seconds = models.FloatField(default=120)
    samples_blob = models.ForeignKey(
        Blob, on_delete=models.PROTECT, null=True, blank=True, related_name="comparisons", editable=False
    )

    objects: ClassVar[OwnedQuerySet[ComparisonJob]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(max_seconds__gt=0), name="edge_ai_comparison_budget"),
            models.CheckConstraint(condition=Q(margin__gt=0, margin__lt=1), name="edge_ai_comparison_margin"),
        ]


class ComparedModel(models.Model):
    """A model's place in a comparison; the first is what the others are held against."""

    id = models.BigAutoField(primary_key=True)
    comparison = models.ForeignKey(ComparisonJob, on_delete=models.CASCADE, related_name="compared")
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="compared")
    place = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "place"], name="edge_ai_comparedmodel_one_place"),
            models.UniqueConstraint(fields=["comparison", "model"], name="edge_ai_comparedmodel_once"),
            models.CheckConstraint(condition=Q(place__lt=8), name="edge_ai_comparedmodel_eight"),
        ]

    def __str__(self) -> str:
        return f"{self.place}: {self.model_id}"
