"""Hints for the workers, and the sweep that finds what no hint leads to.

A delivery's row says what is due. A hint in the queue only makes it happen sooner: one that is lost, or comes twice, changes
nothing but the moment.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django_q.tasks import async_task

from edge_ai.models import WebhookDelivery, WebhookMessage
from edge_ai.models.base import ClockTimestamp

QUEUE = "webhook"
DELIVER = "edge_ai.worker.tasks.deliver_webhook"
BATCH = 100
#: A hint that nobody has followed for so long is taken to be lost.
LOST_AFTER = timedelta(minutes=2)


def hint(delivery_id: uuid.UUID, **options: Any) -> None:
    """Tell the workers of a delivery that is due, in the caller's transaction; ``options`` are the queue's."""
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    asked = {"cluster": QUEUE, "task_name": f"webhook {delivery_id}", "ack_failure": True, "save": False}
    async_task(DELIVER, schema_name, str(delivery_id), q_options=asked | options)


def sweep() -> int:
    """Send a hint for what is due in the current workspace and has none; returns how many. Any number may sweep."""
    with transaction.atomic():
        due = list(
            WebhookDelivery.objects.due()
            .filter(Q(enqueued_at__isnull=True) | Q(enqueued_at__lt=ClockTimestamp() - LOST_AFTER))
            .select_for_update(skip_locked=True)
            .order_by("next_attempt_at")
            .values_list("pk", flat=True)[:BATCH]
        )
        if due:
            WebhookDelivery.objects.filter(pk__in=due).update(enqueued_at=ClockTimestamp())
        for delivery_id in due:
            hint(delivery_id)
    return len(due)


def prune() -> int:
    """Remove what was settled so long ago that nobody will look for it; returns how many deliveries."""
    old = ClockTimestamp() - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    with transaction.atomic():
        _, removed = WebhookDelivery.objects.filter(finished_at__lt=old).delete()
        WebhookMessage.objects.filter(created_at__lt=old, deliveries__isnull=True).delete()
    return removed.get("edge_ai.WebhookDelivery", 0)
