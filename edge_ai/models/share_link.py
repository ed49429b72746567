"""Links by which people outside the workspace see a comparison, for a while."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from edge_ai.models.base import ClockTimestamp, Owned, OwnedQuerySet, known
from edge_ai.models.comparison import ComparisonJob


class ShareLinkQuerySet(OwnedQuerySet["ShareLink"]):
    """Links are their makers' business alone; row level security says the same beneath it."""

    def open(self) -> ShareLinkQuerySet:
        """Links that are neither revoked nor expired. Whether there is still something behind one is not asked."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=ClockTimestamp())


class ShareLink(Owned):
    """A way in to a comparison job, or to benchmark runs side by side. Its token is not kept, only the token's hash."""

    title = models.CharField(max_length=200)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    comparison = models.ForeignKey(
        ComparisonJob, on_delete=models.CASCADE, null=True, blank=True, related_name="share_links"
    )
    # No foreign keys: with any of them gone the link leads nowhere, and the row still says so.
    runs = ArrayField(models.UUIDField(), default=list, blank=True)
    against = models.UUIDField(null=True, blank=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    view_count = models.PositiveIntegerField(default=0, editable=False)
    last_viewed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[ShareLinkQuerySet] = ShareLinkQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("visibility", ["private"], "edge_ai_sharelink_is_private"),
            models.CheckConstraint(
                condition=Q(comparison__isnull=False, runs=[], against__isnull=True)
                | Q(comparison__isnull=True, runs__len__gte=2, runs__len__lte=8, against__isnull=False),
                name="edge_ai_sharelink_one_subject",
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="edge_ai_sharelink_mine"),  # list: mine, newest first
            models.Index(fields=["expires_at"], name="edge_ai_sharelink_expiry"),  # sweep
        ]

    def __str__(self) -> str:
        return self.title
