"""Optimizations that were asked for together: several models, devices and precisions at once."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import Owned, OwnedQuerySet, known


class OptimizationBatch(Owned):
    """What was asked, and which combinations can never work; the others are its jobs."""

    name = models.CharField(max_length=200)
    #: The client's own key: the same request with it is the same batch. Empty: the content decides.
    idempotency_key = models.CharField(max_length=200, blank=True, editable=False)
    #: Hash of what was asked.
    content_key = models.CharField(max_length=64, editable=False)
    #: Models, devices, precisions and what all jobs share, as they were asked for.
    asked = models.JSONField(default=dict, editable=False)
    #: Combinations that were refused, each with its reason.
    refused = models.JSONField(default=list, editable=False)
    cancelled_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[OwnedQuerySet[OptimizationBatch]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = "batch"
        verbose_name_plural = "batches"
        constraints = [known("visibility", ["private", "workspace"], "edge_ai_batch_visibility_known")]
        indexes = [
            models.Index(fields=["owner", "content_key"], name="edge_ai_batch_same"),  # the same request again
            models.Index(fields=["-created_at", "id"], name="edge_ai_batch_newest"),  # list
        ]

    def __str__(self) -> str:
        return self.name
