"""A resumable upload: what was announced, and what became of it.

Its bytes are a file, whose size is the offset; or they come in parts, straight to the storage.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import Owned, OwnedQuerySet, known


class UploadPurpose(models.TextChoices):
    """What an upload is to become."""

    MODEL = "model", "Model"
    DATASET = "dataset", "Data set"


class Upload(Owned):
    """A file on its way, seen by its owner alone. ``made`` is the model or data set that it became."""

    purpose = models.CharField(max_length=10, choices=UploadPurpose.choices, default=UploadPurpose.MODEL)
    name = models.CharField(max_length=200, blank=True)
    file_name = models.CharField(max_length=255)
    length_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()
    # No foreign key: the row may be a model or a data set, and removing it needs nothing of its upload.
    made = models.UUIDField(null=True, blank=True, editable=False)
    # In parts: how long each is but the last, what the storage knows them by, and by number what each must hash to.
    part_bytes = models.BigIntegerField(default=0, editable=False)
    parts_id = models.CharField(max_length=1024, blank=True, editable=False)
    part_sha256 = models.JSONField(default=dict, blank=True, editable=False)

    objects: ClassVar[OwnedQuerySet[Upload]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("purpose", UploadPurpose.values, "edge_ai_upload_purpose_known"),
            known("visibility", ["private"], "edge_ai_upload_is_private"),
            models.CheckConstraint(condition=models.Q(length_bytes__gt=0), name="edge_ai_upload_not_empty"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="edge_ai_upload_expiry")]  # sweep

    def __str__(self) -> str:
        return self.file_name

    @property
    def is_in_parts(self) -> bool:
        """Tell whether its bytes go straight to the storage."""
        return self.part_bytes > 0

    @property
    def part_count(self) -> int:
        """How many parts there are; none of an upload that is one file."""
        return -(-self.length_bytes // self.part_bytes) if self.is_in_parts else 0

    def bytes_of_part(self, number: int) -> int:
        """Return how long a part is, by its number from 1."""
        return min(self.part_bytes, self.length_bytes - (number - 1) * self.part_bytes)
