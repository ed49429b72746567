"""Webhook deliveries of all workspaces, for those who watch over them."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Count, Q

from accounts.models import Workspace
from config.database.identity import acting_as_system, workspace_as_system
from edge_ai.models import DeliveryStatus, WebhookDelivery
from edge_ai.models.base import ClockTimestamp
from edge_ai.webhooks.outbox import sweep

#: What is late by less may be waiting for its turn: endpoints that fail are given one request at a time.
OVERDUE_AFTER = timedelta(seconds=30)


def sweep_everywhere() -> int:
    """Send hints for what is due in every workspace; returns how many."""
    sent = 0
    for schema in workspaces():
        with workspace_as_system(schema):
            sent += sweep()
    return sent


def backlog(schema: str) -> tuple[int, int]:
    """Return how many deliveries of a workspace are overdue, and how many are being sent."""
    with workspace_as_system(schema):
        now = ClockTimestamp()
        open_ = WebhookDelivery.objects.filter(status__in=[DeliveryStatus.PENDING, DeliveryStatus.SENDING])
        counts = open_.aggregate(
            overdue=Count("pk", filter=Q(status=DeliveryStatus.PENDING, next_attempt_at__lt=now - OVERDUE_AFTER)),
            sending=Count("pk", filter=Q(status=DeliveryStatus.SENDING, lease_expires_at__gt=now)),
        )
    return counts["overdue"], counts["sending"]


def workspaces() -> list[str]:
    """Return the schema of every workspace."""
    with acting_as_system():
        return list(Workspace.objects.filter(made_at__isnull=False).values_list("schema_name", flat=True))
