"""``telemetry/``: what happened in the workspace."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actor import How
from edge_ai.api.authentication import membership_of, scopes_of
from edge_ai.api.filters import MomentFilter
from edge_ai.api.schema import LISTING, documented
from edge_ai.api.serializers.telemetry import AuditEventSerializer
from edge_ai.api.views.base import StudioListView
from edge_ai.engine.errors import UserInputError
from edge_ai.models import AuditEvent
from edge_ai.services.audit import ACTIONS


class AuditEventFilters(filters.FilterSet):  # type: ignore[misc]  # django-filter has no type information
    """Of the audit trail."""

    actor = filters.UUIDFilter(field_name="actor_id", help_text="What one person did.")
    how = filters.ChoiceFilter(choices=How.choices)
    action = filters.MultipleChoiceFilter(
        choices=[(action, action) for action in sorted(ACTIONS)], distinct=False, help_text="Repeat it for several."
    )
    object_type = filters.CharFilter(max_length=30)
    object_id = filters.UUIDFilter(help_text="What happened to one thing.")
    request_id = filters.CharFilter(max_length=64, help_text="What one request changed.")
    at_after = MomentFilter(field_name="at", lookup_expr="gt")
    at_before = MomentFilter(field_name="at", lookup_expr="lt")
    search = filters.CharFilter(
        method="find", max_length=200, help_text="Text in the name of the object or of the actor."
    )

    def find(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Events with the text."""
        return queryset.filter(Q(object_name__icontains=value) | Q(actor__icontains=value))


class AuditEventList(StudioListView[AuditEvent]):
    """The audit trail of the workspace."""

    serializer_class = AuditEventSerializer
    filterset_class = AuditEventFilters
    ordering_fields = ("at",)
    ordering = ("-at",)

    def get_queryset(self) -> QuerySet[AuditEvent]:
        membership = membership_of(self.request)
        return AuditEvent.objects.none() if membership is None else AuditEvent.objects.visible_to(membership)

    @documented(
        "list_audit_events",
        tag="telemetry",
        summary="The audit trail of the workspace, newest first",
        description="Who changed what, when, how and from where. Takes an admin or owner of the workspace, and a key with "
        "the scope `admin`. Events are never changed or removed.",
        answers={200: AuditEventSerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        if "admin" not in scopes_of(request):
            raise UserInputError(
                "The audit trail takes an admin or owner of the workspace, and a key with the scope “admin”.",
                code="permission_denied",
                fix="Ask an admin of the workspace, or use a key with that scope.",
            )
        return self.list_rows(request)
