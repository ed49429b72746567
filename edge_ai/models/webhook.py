"""Webhooks: who is told what, what there is to tell, and how far the telling is.

A message is written in the transaction that made its event true, with one delivery for each endpoint that is to hear of
it. The queue's message is only a hint: a delivery's row is the truth. It is claimed by one conditional statement, under a
lease, so two workers never send it at once and a worker that dies gives it back.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from edge_ai.models.base import ClockTimestamp, known


class WebhookEvent(models.TextChoices):
    """What endpoints can be told of."""

    MODEL_READY = "model.ready", "A model is ready"
    MODEL_FAILED = "model.failed", "A model could not be read"
    OPTIMIZATION_COMPLETED = "optimization_job.completed", "An optimization completed"
    OPTIMIZATION_FAILED = "optimization_job.failed", "An optimization failed"
    OPTIMIZATION_CANCELLED = "optimization_job.cancelled", "An optimization was cancelled"
    BENCHMARK_COMPLETED = "benchmark.completed", "A benchmark completed"
    BENCHMARK_FAILED = "benchmark.failed", "A benchmark failed"
    BENCHMARK_CANCELLED = "benchmark.cancelled", "A benchmark was cancelled"
    BENCHMARK_REGRESSED = "benchmark.regressed", "A benchmark was slower than those before it"
    COMPARISON_COMPLETED = "comparison.completed", "A comparison completed"
    COMPARISON_FAILED = "comparison.failed", "A comparison failed"
    COMPARISON_CANCELLED = "comparison.cancelled", "A comparison was cancelled"
    DIAGNOSIS_COMPLETED = "diagnosis.completed", "A diagnosis completed"
    DIAGNOSIS_FAILED = "diagnosis.failed", "A diagnosis failed"
    DIAGNOSIS_CANCELLED = "diagnosis.cancelled", "A diagnosis was cancelled"
    ARTIFACT_CREATED = "artifact.created", "An artifact was created"
    ARTIFACT_EXPIRING = "artifact.expiring", "An artifact will soon be removed"


#: Sent on request alone, to one endpoint, whatever it is subscribed to.
TEST_EVENT = "webhook.test"
EVENT_TYPES = [*WebhookEvent.values, TEST_EVENT]


class DisabledReason(models.TextChoices):
    """Why nothing is sent to an endpoint."""

    BY_HAND = "by_hand", "Switched off"
    FAILING = "failing", "It failed for five days"
    GONE = "gone", "It answered 410 Gone"


class DeliveryStatus(models.TextChoices):
    """Where a delivery stands."""

    PENDING = "pending", "Waiting"
    SENDING = "sending", "Sending"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    """Endpoints are their owner's business alone; row level security says the same beneath it."""

    def visible_to(self, user: Any) -> WebhookEndpointQuerySet:
        """Endpoints of one person."""
        return self.filter(owner_id=user.pk)

    def disable(self, endpoint: Q, *, reason: DisabledReason) -> bool:
        """Switch off the one endpoint of ``endpoint``; ``False`` when that was done before."""
        return bool(
            self.filter(endpoint, enabled=True).update(
                enabled=False, disabled_reason=reason, disabled_at=ClockTimestamp()
            )
        )


class WebhookEndpoint(models.Model):
    """An address that is told of events, of what its owner may see. Secrets are encrypted: see ``webhooks/vault.py``."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", editable=False)
    url = models.CharField("address", max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    events = ArrayField(models.CharField(max_length=40, choices=WebhookEvent.choices))
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=10, choices=DisabledReason.choices, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, editable=False)
    secret = models.TextField(editable=False)
    #: After a rotation, the secret before: messages are signed with both until it expires.
    previous_secret = models.TextField(blank=True, editable=False)
    previous_secret_expires_at = models.DateTimeField(null=True, editable=False)
    #: When the failures began that no success has ended since.
    first_failure_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[WebhookEndpointQuerySet] = WebhookEndpointQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(events__contained_by=WebhookEvent.values) & ~Q(events=[]),
                name="edge_ai_webhookendpoint_events_known",
            ),
            models.CheckConstraint(
                condition=Q(enabled=True, disabled_reason="", disabled_at__isnull=True)
                | Q(enabled=False, disabled_reason__in=DisabledReason.values, disabled_at__isnull=False),
                name="edge_ai_webhookendpoint_disabled_says_why",
            ),
            models.CheckConstraint(
                condition=Q(previous_secret="", previous_secret_expires_at__isnull=True)
                | (~Q(previous_secret="") & Q(previous_secret_expires_at__isnull=False)),
                name="edge_ai_webhookendpoint_overlap_ends",
            ),
        ]
        indexes = [
            # list: mine, newest first
            models.Index(fields=["owner", "-created_at"], name="edge_ai_webhookendpoint_mine"),
        ]

    def __str__(self) -> str:
        return self.url


class WebhookMessageQuerySet(models.QuerySet["WebhookMessage"]):
    """Messages are seen by whose endpoints they went to."""

    def visible_to(self, user: Any) -> WebhookMessageQuerySet:
        """Messages to one person's endpoints."""
        return self.filter(pk__in=WebhookDelivery.objects.visible_to(user).values("message"))


class WebhookMessage(models.Model):
    """What happened, as it is told. The id is made of the event itself, so an event told twice is the same message."""

    id = models.UUIDField(primary_key=True, editable=False)
    event_type = models.CharField(max_length=40)
    #: What it is about, so that a retry hours later can ask whether the receiver may still see it.
    subject_id = models.UUIDField(null=True)
    #: The exact text that is sent and signed.
    body = models.TextField()
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    objects: ClassVar[WebhookMessageQuerySet] = WebhookMessageQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [known("event_type", EVENT_TYPES, "edge_ai_webhookmessage_event_known")]

    def __str__(self) -> str:
        return f"{self.event_type} {self.pk}"

    @property
    def wire_id(self) -> str:
        """The id as receivers get it, the same at every attempt."""
        return f"msg_{self.pk.hex}"


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    """The transitions ``pending → sending → delivered | failed``, and ``sending → pending`` for another attempt."""

    def visible_to(self, user: Any) -> WebhookDeliveryQuerySet:
        """Deliveries to one person's endpoints."""
        return self.filter(endpoint__owner_id=user.pk)

    def due(self) -> WebhookDeliveryQuerySet:
        """Deliveries whose time has come, and those whose worker fell silent."""
        now = ClockTimestamp()
        return self.filter(
            Q(status=DeliveryStatus.PENDING, next_attempt_at__lte=now)
            | Q(status=DeliveryStatus.SENDING, lease_expires_at__lt=now)
        )

    def claim(self, delivery_id: uuid.UUID, *, lease: timedelta) -> uuid.UUID | None:
        """Take a delivery that is due. Returns the lease's token, or ``None`` when somebody else has it or it must wait.

        An endpoint that fails gets one request at a time, so that it cannot keep all workers waiting for its answers.
        """
        token = uuid.uuid4()
        busy = WebhookDelivery.objects.filter(
            endpoint=OuterRef("endpoint"),
            endpoint__first_failure_at__isnull=False,
            status=DeliveryStatus.SENDING,
            lease_expires_at__gt=ClockTimestamp(),
        ).exclude(pk=OuterRef("pk"))
        won = (
            self.due()
            .filter(~Exists(busy), pk=delivery_id)
            .update(
                status=DeliveryStatus.SENDING,
                attempt=F("attempt") + 1,
                lease_token=token,
                lease_expires_at=ClockTimestamp() + lease,
                next_attempt_at=None,
                enqueued_at=None,
            )
        )
        return token if won else None

    def finish(self, delivery_id: uuid.UUID, token: uuid.UUID, *, status: DeliveryStatus, **facts: Any) -> bool:
        """End the holder's attempt for good. ``False``: the lease was lost, and nothing is written."""
        return bool(
            self.filter(pk=delivery_id, status=DeliveryStatus.SENDING, lease_token=token).update(
                status=status, finished_at=ClockTimestamp(), lease_token=None, lease_expires_at=None, **facts
            )
        )

    def postpone(self, delivery_id: uuid.UUID, token: uuid.UUID, *, delay: timedelta, **facts: Any) -> bool:
        """End the holder's attempt and have another one made later."""
        return bool(
            self.filter(pk=delivery_id, status=DeliveryStatus.SENDING, lease_token=token).update(
                status=DeliveryStatus.PENDING,
                next_attempt_at=ClockTimestamp() + delay,
                lease_token=None,
                lease_expires_at=None,
                **facts,
            )
        )

    def start_again(self) -> int:
        """Send these at once, with the whole schedule before them. Those that are being sent are left alone."""
        return self.exclude(status=DeliveryStatus.SENDING).update(
            status=DeliveryStatus.PENDING,
            schedule_began=F("attempt"),
            next_attempt_at=ClockTimestamp(),
            enqueued_at=None,
            finished_at=None,
        )

    def give_up(self, endpoint_id: uuid.UUID, *, error: str) -> int:
        """Let nothing wait any more for an endpoint that nothing is sent to."""
        return self.filter(endpoint_id=endpoint_id, status=DeliveryStatus.PENDING).update(
            status=DeliveryStatus.FAILED, finished_at=ClockTimestamp(), next_attempt_at=None, error=error
        )


class WebhookDelivery(models.Model):
    """A message on its way to one endpoint. ``http_status``, ``latency_ms`` and ``error`` repeat the last attempt's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    message = models.ForeignKey(WebhookMessage, on_delete=models.CASCADE, related_name="deliveries")
    #: The message's, so that the log can be filtered by it.
    event_type = models.CharField(max_length=40)
    status = models.CharField(max_length=10, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    #: How many attempts were begun, in all and when the present schedule began.
    attempt = models.PositiveIntegerField(default=0)
    schedule_began = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, db_default=ClockTimestamp())
    #: When its hint was put into the queue; null: it has none.
    enqueued_at = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    http_status = models.PositiveSmallIntegerField(null=True)
    latency_ms = models.FloatField(null=True)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)
    finished_at = models.DateTimeField(null=True)

    objects: ClassVar[WebhookDeliveryQuerySet] = WebhookDeliveryQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            known("status", DeliveryStatus.values, "edge_ai_webhookdelivery_status_known"),
            known("event_type", EVENT_TYPES, "edge_ai_webhookdelivery_event_known"),
            # One delivery of a message to an endpoint, whatever is told twice.
            models.UniqueConstraint(fields=["message", "endpoint"], name="edge_ai_webhookdelivery_once"),
            models.CheckConstraint(
                condition=Q(status="sending", lease_token__isnull=False, lease_expires_at__isnull=False)
                | (~Q(status="sending") & Q(lease_token__isnull=True, lease_expires_at__isnull=True)),
                name="edge_ai_webhookdelivery_lease_while_sending",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", next_attempt_at__isnull=False)
                | (~Q(status="pending") & Q(next_attempt_at__isnull=True)),
                name="edge_ai_webhookdelivery_pending_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["delivered", "failed"], finished_at__isnull=False)
                | (~Q(status__in=["delivered", "failed"]) & Q(finished_at__isnull=True)),
                name="edge_ai_webhookdelivery_finished_when_final",
            ),
            models.CheckConstraint(
                condition=Q(schedule_began__lte=F("attempt")), name="edge_ai_webhookdelivery_schedule_within"
            ),
        ]
        indexes = [
            # sweep: what is due and has no hint
            models.Index(fields=["next_attempt_at"], condition=Q(status="pending"), name="edge_ai_webhookdelivery_due"),
            # sweep: workers that fell silent; claim: is the endpoint busy?
            models.Index(
                fields=["endpoint", "lease_expires_at"],
                condition=Q(status="sending"),
                name="edge_ai_webhookdelivery_lease",
            ),
            # log of an endpoint, newest first
            models.Index(fields=["endpoint", "-created_at", "id"], name="edge_ai_webhookdelivery_log"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} to {self.endpoint_id}"

    @property
    def is_final(self) -> bool:
        """Nothing more is tried by itself."""
        return self.status in {DeliveryStatus.DELIVERED, DeliveryStatus.FAILED}


class WebhookAttemptQuerySet(models.QuerySet["WebhookAttempt"]):
    """Attempts are seen by whoever sees their delivery."""

    def visible_to(self, user: Any) -> WebhookAttemptQuerySet:
        """Attempts at one person's endpoints."""
        return self.filter(delivery__endpoint__owner_id=user.pk)


class WebhookAttempt(models.Model):
    """One request and what came of it. The request's body is the message's."""

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    url = models.CharField(max_length=2000)
    request_headers = models.JSONField(default=dict)
    #: How long the whole took; null when nothing was sent.
    latency_ms = models.FloatField(null=True)
    http_status = models.PositiveSmallIntegerField(null=True)
    #: The beginning of the answer's body.
    response_body = models.TextField(blank=True)
    #: Why it is no success; empty for one.
    error_code = models.CharField(max_length=20, blank=True)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    objects: ClassVar[WebhookAttemptQuerySet] = WebhookAttemptQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="edge_ai_webhookattempt_once"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"
