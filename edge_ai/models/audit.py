"""The audit trail: who changed what, when, from where. Rows are added and never changed, by nobody."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from accounts.actor import How
from accounts.models import Membership
from edge_ai.models.base import ClockTimestamp, known


class AuditAction(models.TextChoices):
    """What can happen in a workspace; the label says it in words. What happens to accounts is beside it, in accounts."""

    MODEL_CREATED = "model.created", "A model was uploaded, or made by a job"
    MODEL_CHANGED = "model.changed", "A model was renamed, described, tagged or shared"
    MODEL_DELETED = "model.deleted", "A model was deleted, with its jobs and artifacts"
    DATASET_CREATED = "dataset.created", "A data set was uploaded"
    DATASET_CHANGED = "dataset.changed", "A data set was renamed, described, shared, or given another use"
    DATASET_DELETED = "dataset.deleted", "A data set was deleted"
    DEVICE_CREATED = "device.created", "A device profile was added"
    DEVICE_CHANGED = "device.changed", "A device profile was changed"
    DEVICE_DELETED = "device.deleted", "A device profile was deleted"
    TEMPLATE_CREATED = "device_template.created", "A device template arrived"
    TEMPLATE_CHANGED = "device_template.changed", "A device template was changed by those who run the studio"
    TEMPLATE_DELETED = "device_template.deleted", "A device template was withdrawn"
    JOB_SUBMITTED = "job.submitted", "A job was submitted"
    JOB_CANCELLED = "job.cancelled", "A job was cancelled"
    JOB_RETRIED = "job.retried", "A job was run again"
    BATCH_SUBMITTED = "batch.submitted", "Several optimizations were asked for at once"
    BATCH_CANCELLED = "batch.cancelled", "What was left of a batch was cancelled"
    BATCH_RETRIED = "batch.retried", "The failed jobs of a batch were run again"
    BULK_DONE = "bulk.done", "The same was done to several rows of a list; each is in the trail by itself too"
    ARTIFACT_CREATED = "artifact.created", "A job made a file to download"
    ARTIFACT_DELETED = "artifact.deleted", "An artifact was deleted"
    ARTIFACT_EXPIRED = "artifact.expired", "An artifact's time was over"
    SHARE_LINK_CREATED = "share_link.created", "A comparison was shared by a link"
    SHARE_LINK_REVOKED = "share_link.revoked", "A link to a comparison was revoked"
    EXPORT_REQUESTED = "export.requested", "An export of the workspace was asked for"
    EXPORT_DOWNLOADED = "export.downloaded", "An export of the workspace was downloaded by who asked for it"
    WEBHOOK_CREATED = "webhook.created", "A webhook was added"
    WEBHOOK_CHANGED = "webhook.changed", "A webhook was changed, or switched on or off"
    WEBHOOK_DELETED = "webhook.deleted", "A webhook was deleted with its log"
    WEBHOOK_SECRET_ROTATED = "webhook.secret_rotated", "A webhook was given a new secret"
    WEBHOOK_TESTED = "webhook.tested", "A test was sent to a webhook"
    WEBHOOK_REDELIVERED = "webhook.redelivered", "Deliveries of a webhook were sent again"


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """The one place that says who reads the trail; row level security says the same beneath it."""

    def visible_to(self, membership: Membership) -> AuditEventQuerySet:
        """Everything for owners and admins of the workspace that one is in, and nothing for others."""
        return self if membership.may_administer else self.none()


class AuditEvent(models.Model):
    """One change. It outlives whoever made it and what it was made to, so it refers to neither by a foreign key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    actor_id = models.UUIDField(null=True, editable=False)
    actor = models.CharField(max_length=254, blank=True, editable=False)
    how = models.CharField(max_length=10, choices=How.choices, editable=False)
    api_key = models.CharField(max_length=8, blank=True, editable=False)
    address = models.CharField(max_length=45, blank=True, editable=False)
    request_id = models.CharField(max_length=64, blank=True, editable=False)
    action = models.CharField(max_length=60, editable=False)
    object_type = models.CharField(max_length=30, editable=False)
    object_id = models.UUIDField(editable=False)
    object_name = models.CharField(max_length=200, blank=True, editable=False)
    before: models.JSONField[Any, Any] = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)
    after: models.JSONField[Any, Any] = models.JSONField(default=dict, encoder=DjangoJSONEncoder, editable=False)

    objects: ClassVar[AuditEventQuerySet] = AuditEventQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            known("how", How.values, "edge_ai_auditevent_how_known"),
            models.CheckConstraint(
                condition=models.Q(action__regex=r"^[a-z_]+\.[a-z_]+$"), name="edge_ai_auditevent_action_form"
            ),
        ]
        indexes = [
            models.Index(fields=["-at", "-id"], name="edge_ai_audit_newest"),  # the trail, page by page
            models.Index(fields=["object_id", "-at"], name="edge_ai_audit_of_object"),  # what happened to one thing
            models.Index(fields=["actor_id", "-at"], name="edge_ai_audit_of_actor"),  # what one person did
            models.Index(fields=["action", "-at"], name="edge_ai_audit_of_action"),  # one kind of change
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_name}"
