"""Webhooks, in and out."""

from __future__ import annotations

from datetime import timedelta

from rest_framework import serializers

from edge_ai.api.fields import EnumField, StrictSerializer
from edge_ai.models import (
    DeliveryStatus,
    DisabledReason,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from edge_ai.outbound.addresses import MAX_URL
from edge_ai.services.webhooks import MAX_OVERLAP, OVERLAP


class WebhookSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    """An address that is told of events."""

    owner = serializers.UUIDField(source="owner_id", read_only=True)
    events = serializers.ListField(child=EnumField(WebhookEvent), read_only=True)
    disabled_reason = serializers.CharField(
        read_only=True,
        help_text=f"One of {', '.join(DisabledReason.values)}; empty while it is switched on.",
    )
    failing_since = serializers.DateTimeField(
        source="first_failure_at",
        read_only=True,
        allow_null=True,
        help_text="Since when every attempt has failed; null after a success. After five days it is switched off.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = [
            "id",
            "owner",
            "url",
            "events",
            "description",
            "enabled",
            "disabled_reason",
            "disabled_at",
            "failing_since",
            "previous_secret_expires_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its signing secret, which is shown this once."""

    secret = serializers.CharField(read_only=True, help_text="Keep it: it is not shown again.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class WebhookRequestSerializer(StrictSerializer):
    """An address, and what it is told of: of everything, where a new one names nothing. With PATCH, what is left out stays."""

    url = serializers.CharField(max_length=MAX_URL, help_text="https:// or http://, public, on port 443 or 80.")
    events = serializers.ListField(
        child=EnumField(WebhookEvent),
        allow_empty=False,
        max_length=len(WebhookEvent.values),
        required=False,
        default=lambda: list(WebhookEvent.values),
        help_text="Left out, a new webhook is told of all.",
    )
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    enabled = serializers.BooleanField(required=False)


class RotationRequestSerializer(StrictSerializer):
    """How long the former secret is still signed with."""

    overlap_seconds = serializers.IntegerField(
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()),
        required=False,
        default=int(OVERLAP.total_seconds()),
        help_text="0 ends it at once, as after a leak.",
    )

    def validate_overlap_seconds(self, value: int) -> timedelta:
        """Return a stretch of time."""
        return timedelta(seconds=value)


class RedeliveryRequestSerializer(StrictSerializer):
    """Which deliveries are sent again, by when they were first due and what came of them."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField(required=False, allow_null=True, default=None)
    status = EnumField(DeliveryStatus, required=False, default=DeliveryStatus.FAILED.value)


class RedeliveredSerializer(serializers.Serializer[dict[str, int]]):
    """How many deliveries are sent again."""

    count = serializers.IntegerField(read_only=True)


class WebhookDeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    """A message on its way to a webhook; `http_status`, `latency_ms` and `error` are of the last attempt."""

    message_id = serializers.CharField(
        source="message.wire_id", read_only=True, help_text="The header `webhook-id`, the same at every attempt."
    )
    event = serializers.CharField(source="event_type", read_only=True)
    status = EnumField(DeliveryStatus, read_only=True)

    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "message_id",
            "event",
            "status",
            "attempt",
            "http_status",
            "latency_ms",
            "error",
            "next_attempt_at",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields


class WebhookAttemptSerializer(serializers.ModelSerializer[WebhookAttempt]):
    """One request and what came of it."""

    request_headers = serializers.DictField(child=serializers.CharField(), read_only=True)
    response_body = serializers.CharField(read_only=True, help_text="The first 4 KB.")
    error_code = serializers.CharField(read_only=True, help_text="Empty for a success.")

    class Meta:
        model = WebhookAttempt
        fields = [
            "number",
            "url",
            "request_headers",
            "latency_ms",
            "http_status",
            "response_body",
            "error_code",
            "error",
            "created_at",
        ]
        read_only_fields = fields


class WebhookDeliveryDetailSerializer(WebhookDeliverySerializer):
    """A delivery with every attempt at it, the last one first, and the text that is sent."""

    request_body = serializers.CharField(source="message.body", read_only=True)
    attempts = WebhookAttemptSerializer(many=True, read_only=True)

    class Meta(WebhookDeliverySerializer.Meta):
        fields = [*WebhookDeliverySerializer.Meta.fields, "request_body", "attempts"]
        read_only_fields = fields
