"""A workspace to take away: everything in it that one person may see, as one file, for some days."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import Owned, OwnedQuerySet, known
from edge_ai.models.blob import Blob
from edge_ai.models.job import Job


class WorkspaceExport(Owned):
    """Made by a job, for whoever asked alone: the file holds what that person sees."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="export")
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, null=True, related_name="exports")
    size_bytes = models.BigIntegerField(null=True)
    expires_at = models.DateTimeField(null=True)

    objects: ClassVar[OwnedQuerySet[WorkspaceExport]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("visibility", ["private"], "edge_ai_workspaceexport_is_private"),
            models.CheckConstraint(
                condition=models.Q(blob__isnull=True, size_bytes__isnull=True, expires_at__isnull=True)
                | models.Q(blob__isnull=False, size_bytes__isnull=False, expires_at__isnull=False),
                name="edge_ai_workspaceexport_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="edge_ai_export_mine"),  # settings: mine, newest first
            models.Index(fields=["expires_at"], name="edge_ai_export_expiry"),  # what is too old
        ]

    def __str__(self) -> str:
        return f"Export {self.pk}"
