"""Calibration and evaluation data."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import Owned, OwnedQuerySet, known
from edge_ai.models.blob import Blob


class DatasetKind(models.TextChoices):
    """What a data set is for."""

    CALIBRATION = "calibration", "Calibration"
    EVALUATION = "evaluation", "Evaluation"
    BOTH = "both", "Calibration and evaluation"


class Dataset(Owned):
    """Samples for a model's inputs, with labels or without. ``header`` is what the file's directory says it holds."""

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=4000)
    kind = models.CharField(max_length=12, choices=DatasetKind.choices, default=DatasetKind.BOTH)
    file_name = models.CharField(max_length=255)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="datasets")
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    header = models.JSONField()
    sample_count = models.PositiveIntegerField()
    has_labels = models.BooleanField()

    objects: ClassVar[OwnedQuerySet[Dataset]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("kind", DatasetKind.values, "edge_ai_dataset_kind_known"),
            known("visibility", ["private", "workspace"], "edge_ai_dataset_visibility_known"),
            models.CheckConstraint(condition=models.Q(sample_count__gt=0), name="edge_ai_dataset_not_empty"),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="edge_ai_dataset_mine"),  # list: mine, newest first
            models.Index(fields=["-created_at", "id"], name="edge_ai_dataset_newest"),  # list: the workspace's
        ]

    def __str__(self) -> str:
        return self.name
