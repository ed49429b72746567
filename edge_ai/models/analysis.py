"""The job that reads a model file."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import OwnedQuerySet
from edge_ai.models.job import Job
from edge_ai.models.model import Model


class AnalysisJob(Job):
    """Says what a model file holds."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="analysis_jobs")

    objects: ClassVar[OwnedQuerySet[AnalysisJob]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]
