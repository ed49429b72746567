"""What requests with an ``Idempotency-Key`` were answered, kept for a day for whoever asks the same again."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from edge_ai.models.base import Owned, OwnedQuerySet, known


class KeptAnswer(Owned):
    """The answer to one request of one person, seen by that person alone."""

    key = models.CharField(max_length=200, editable=False)
    #: Hash of verb, address and body: the same key with another one is a conflict.
    request_sha256 = models.CharField(max_length=64, editable=False)
    status = models.PositiveSmallIntegerField(editable=False)
    headers = models.JSONField(default=dict, editable=False)
    #: Encrypted: an answer may hold a secret that is shown once.
    body = models.TextField(blank=True, editable=False)

    objects: ClassVar[OwnedQuerySet[KeptAnswer]] = OwnedQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("visibility", ["private"], "edge_ai_keptanswer_is_private"),
            models.UniqueConstraint(fields=["owner", "key"], name="edge_ai_keptanswer_once"),
        ]
        indexes = [models.Index(fields=["created_at"], name="edge_ai_keptanswer_age")]  # sweep

    def __str__(self) -> str:
        return self.key
