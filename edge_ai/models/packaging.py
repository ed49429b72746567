"""The job that makes a bundle of a model: everything that a person needs to run it elsewhere."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import OwnedQuerySet
from edge_ai.models.job import Job
from edge_ai.models.model import Model


class PackagingJob(Job):
    """A model with its card, its recipe and a program that runs it, in one archive, which becomes an artifact."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="packaging_jobs")

    objects: ClassVar[OwnedQuerySet[PackagingJob]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]
