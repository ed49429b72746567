"""The audit trail, out."""

from __future__ import annotations

from rest_framework import serializers

from accounts.actor import How
from edge_ai.api.fields import EnumField
from edge_ai.models import AuditEvent


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    """One change."""

    at = serializers.DateTimeField(read_only=True)
    actor = serializers.UUIDField(
        source="actor_id",
        read_only=True,
        allow_null=True,
        help_text="The person; null for the studio itself. The id stays when the person has gone.",
    )
    actor_name = serializers.CharField(
        source="actor", read_only=True, help_text="The person's address as it was then; empty for the studio itself."
    )
    how = EnumField(How, read_only=True)
    api_key = serializers.CharField(
        read_only=True, help_text="The eight characters after `eas_` of the key; else empty."
    )
    address = serializers.CharField(
        read_only=True, help_text="Where the request came from; empty for the studio itself."
    )
    action = serializers.CharField(read_only=True, help_text="Such as `model.deleted`; see the documentation's list.")
    object_type = serializers.CharField(read_only=True, help_text="What stands before the dot of the action.")
    before = serializers.JSONField(read_only=True, help_text="Fields that changed, as they were.")
    after = serializers.JSONField(read_only=True, help_text="Fields that changed, as they are since.")

    class Meta:
        model = AuditEvent
        fields = [
            *("id", "at", "actor", "actor_name", "how", "api_key", "address", "request_id"),
            *("action", "object_type", "object_id", "object_name", "before", "after"),
        ]
        read_only_fields = fields
