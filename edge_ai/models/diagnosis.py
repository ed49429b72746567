"""The job that finds out why a variant is slower than its baseline, or wrong."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from edge_ai.models.base import OwnedQuerySet
from edge_ai.models.dataset import Dataset
from edge_ai.models.device import DeviceProfile
from edge_ai.models.job import Job
from edge_ai.models.model import Model


class DiagnosisJob(Job):
    """A variant held against its baseline on a device, with every cause that was found."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="diagnoses")
    baseline = models.ForeignKey(Model, on_delete=models.SET_NULL, null=True, related_name="diagnoses_against")
    device_profile = models.ForeignKey(DeviceProfile, on_delete=models.PROTECT, related_name="diagnoses")
    dataset = models.ForeignKey(Dataset, on_delete=models.SET_NULL, null=True, blank=True, related_name="diagnoses")
    threads = models.PositiveSmallIntegerField(null=True, blank=True)
    max_seconds = models.FloatField(default=20)

    objects: ClassVar[OwnedQuerySet[DiagnosisJob]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(max_seconds__gt=0), name="edge_ai_diagnosis_budget")]
