"""Plans: what a workspace may have and use. A workspace without a plan of its own has the default one."""

from __future__ import annotations

import uuid
from typing import Final

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now

#: The limits by their columns, which plans and workspaces share.
LIMITS: Final = (
    "max_models",
    "max_stored_bytes",
    "max_job_minutes",
    "max_open_jobs",
    "max_upload_bytes",
    "concurrent_jobs",
)


class Limits(models.Model):
    """The columns of a plan, and of what one workspace has instead."""

    max_models = models.PositiveIntegerField(
        "models", null=True, blank=True, help_text="Models, variants included, those that jobs are making among them."
    )
    max_stored_bytes = models.PositiveBigIntegerField(
        "stored bytes", null=True, blank=True, help_text="Bytes of all files, each counted once; uploads under way too."
    )
    max_job_minutes = models.PositiveIntegerField(
        "job minutes", null=True, blank=True, help_text="Minutes that jobs may run in a calendar month (UTC)."
    )
    max_open_jobs = models.PositiveIntegerField(
        "open jobs", null=True, blank=True, help_text="Jobs that wait or run at one time; more are refused."
    )
    max_upload_bytes = models.PositiveBigIntegerField(
        "bytes of one upload",
        null=True,
        blank=True,
        help_text="Largest file; never more than MAX_UPLOAD_BYTES and MAX_DATASET_BYTES.",
    )
    concurrent_jobs = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Jobs that run at once on each queue; others wait in line. Empty everywhere: WORKSPACE_CONCURRENT_JOBS.",
    )
    artifact_days = models.PositiveSmallIntegerField(
        "days that artifacts are kept",
        null=True,
        blank=True,
        help_text="Artifacts made from now on are removed after so many days; 0: never. Empty everywhere: ARTIFACT_DAYS.",
    )

    class Meta:
        abstract = True


class Plan(Limits):
    """A set of limits that workspaces share. An empty limit is none."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60, unique=True)
    description = models.CharField(max_length=300, blank=True, help_text="What members of a workspace read about it.")
    is_default = models.BooleanField(
        "default", default=False, help_text="The plan of every workspace that has none of its own; there is one."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="accounts_plan_one_default"
            ),
            models.CheckConstraint(
                condition=models.Q(concurrent_jobs__isnull=True) | models.Q(concurrent_jobs__gte=1),
                name="accounts_plan_runs_something",
            ),
        ]

    def __str__(self) -> str:
        return self.name
