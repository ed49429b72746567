"""Stored bytes, named by their hash, once per workspace however many rows mean them."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Blob(models.Model):
    """A file in the workspace's store. The file is there before its row, so a row never lacks its file.

    Belongs to nobody: who may read it is decided by the rows that refer to it. Rows that nothing refers to are removed,
    with their files, by the sweep.
    """

    sha256 = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(sha256__regex=r"^[0-9a-f]{64}$"), name="edge_ai_blob_sha256_form"
            ),
            models.CheckConstraint(condition=models.Q(size_bytes__gte=0), name="edge_ai_blob_size_positive"),
        ]
        indexes = [
            # quota: what came since the last count
            models.Index(fields=["created_at"], include=["size_bytes"], name="edge_ai_blob_newest")
        ]

    def __str__(self) -> str:
        return self.sha256[:12]
