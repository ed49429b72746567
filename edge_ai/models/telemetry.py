"""What people do with a workspace, for counting: no names, no addresses, no words of theirs."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from accounts.actor import How
from edge_ai.models.base import ClockTimestamp, known


class Event(models.TextChoices):
    """What is counted. What each means, and what it says besides, :data:`edge_ai.services.telemetry.EVENTS` tells."""

    SIGNED_UP = "account.signed_up", "Signed up"
    SIGNED_IN = "account.signed_in", "Signed in"
    WORKSPACE_CREATED = "workspace.created", "Workspace made"
    MEMBER_INVITED = "member.invited", "Member invited"
    MEMBER_JOINED = "member.joined", "Member joined"
    API_KEY_CREATED = "api_key.created", "API key made"
    MODEL_UPLOADED = "model.uploaded", "Model uploaded"
    DATASET_UPLOADED = "dataset.uploaded", "Data set uploaded"
    JOB_SUBMITTED = "job.submitted", "Job submitted"
    BATCH_SUBMITTED = "batch.submitted", "Batch submitted"
    JOB_COMPLETED = "job.completed", "Job completed"
    JOB_FAILED = "job.failed", "Job failed"
    JOB_CANCELLED = "job.cancelled", "Job cancelled"
    JOB_RETRIED = "job.retried", "Job run again"
    FILE_DOWNLOADED = "file.downloaded", "File downloaded"
    SHARE_LINK_CREATED = "share_link.created", "Link shared"
    SHARE_LINK_OPENED = "share_link.opened", "Shared link opened"
    WEBHOOK_CREATED = "webhook.created", "Webhook added"


class UsageEvent(models.Model):
    """That something was done, once. Kept for ``TELEMETRY_DAYS``; what it came to stays in the days."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    event = models.CharField(max_length=40, editable=False)
    # Not a foreign key: it is only counted, and outlives the account.
    user_id = models.UUIDField(null=True, editable=False)
    how = models.CharField(max_length=10, choices=How.choices, editable=False)
    properties: models.JSONField[Any, Any] = models.JSONField(default=dict, editable=False)
    exported_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            known("how", How.values, "edge_ai_usageevent_how_known"),
            models.CheckConstraint(
                condition=models.Q(event__regex=r"^[a-z_]+\.[a-z_]+$"), name="edge_ai_usageevent_event_form"
            ),
        ]
        indexes = [
            models.Index(fields=["at"], name="edge_ai_usage_by_time"),  # the roll-up, and what is too old
            models.Index(  # the exporter: what it has not sent, the oldest first
                fields=["at", "id"], name="edge_ai_usage_unsent", condition=models.Q(exported_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.event


class EventDay(models.Model):
    """How often something was done on one day (UTC), and by how many people. Written by the roll-up, which may run again."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    event = models.CharField(max_length=40)
    events = models.PositiveIntegerField()
    people = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "event"], name="edge_ai_eventday_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.event}: {self.events}"
