"""``webhooks/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor, scopes_of
from edge_ai.api.filters import WebhookDeliveryFilters, WebhookFilters
from edge_ai.api.schema import CHANGING, LISTING, WRITING, asked, documented
from edge_ai.api.serializers.webhooks import (
    RedeliveredSerializer,
    RedeliveryRequestSerializer,
    RotationRequestSerializer,
    WebhookDeliveryDetailSerializer,
    WebhookDeliverySerializer,
    WebhookRequestSerializer,
    WebhookSerializer,
    WebhookWithSecretSerializer,
)
from edge_ai.api.views.base import StudioListView, StudioView, created, find, gone, valid
from edge_ai.engine.errors import UserInputError
from edge_ai.models import WebhookDelivery, WebhookEndpoint
from edge_ai.services import webhooks as service

TAG = "webhooks"


class WebhookList(StudioListView[WebhookEndpoint]):
    """One's own webhooks."""

    serializer_class = WebhookSerializer
    filterset_class = WebhookFilters
    ordering_fields = ("created_at", "updated_at", "url")

    def get_queryset(self) -> QuerySet[WebhookEndpoint]:
        return WebhookEndpoint.objects.visible_to(self.request.user)

    @documented(
        "list_webhooks",
        tag=TAG,
        summary="List your webhooks, newest first",
        description="Your own alone; nobody sees those of others. Secrets are never shown again.",
        answers={200: WebhookSerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_webhook",
        tag=TAG,
        summary="Register an address to be told of events",
        description="It is told of what you may see. The answer holds the signing secret, which is shown this once. "
        "Takes an admin or owner of the workspace, and a key with the scope `admin`.",
        request=WebhookRequestSerializer,
        answers={201: WebhookWithSecretSerializer},
        problems=WRITING,
        examples=[
            asked(
                "Optimizations",
                {
                    "url": "https://example.com/hooks/studio",
                    "events": ["optimization_job.completed", "optimization_job.failed"],
                    "description": "build server",
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        _require_admin(request)
        endpoint, secret = service.create_endpoint(actor(request), **valid(WebhookRequestSerializer(data=request.data)))
        return created(_with_secret(endpoint, secret), reverse("api:webhook-detail", args=[endpoint.pk]))


class WebhookDetail(StudioView):
    """One webhook."""

    @documented(
        "get_webhook",
        tag=TAG,
        summary="One webhook",
        description="What it is told of, whether it is switched on, and if not, why.",
        answers={200: WebhookSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(WebhookSerializer(_endpoint(request, id)).data)

    @documented(
        "update_webhook",
        tag=TAG,
        summary="Change a webhook, or switch it on or off",
        description="What waits for a webhook that is switched off fails, and can be sent again later.",
        request=WebhookRequestSerializer,
        answers={200: WebhookSerializer},
        problems=WRITING,
        examples=[asked("Switch it on again", {"enabled": True})],
    )
    def patch(self, request: Request, id: UUID) -> Response:
        endpoint = _managed(request, id)
        changes = valid(WebhookRequestSerializer(data=request.data, partial=True))
        endpoint = service.update_endpoint(actor(request), endpoint=endpoint, fields=changes)
        return Response(WebhookSerializer(endpoint).data)

    @documented(
        "delete_webhook",
        tag=TAG,
        summary="Remove a webhook with its log",
        description="What waits to be delivered is not sent. To keep the log, switch it off instead.",
        answers={204: "Removed."},
        problems=CHANGING,
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        service.delete_endpoint(actor(request), endpoint=_managed(request, id))
        return gone()


class WebhookRotation(StudioView):
    """A new secret."""

    @documented(
        "rotate_webhook_secret",
        tag=TAG,
        summary="Give a webhook a new signing secret",
        description="Until the overlap ends, messages carry a signature by each of the two secrets.",
        request=RotationRequestSerializer,
        answers={200: WebhookWithSecretSerializer},
        problems=WRITING,
        examples=[asked("An hour to change over", {"overlap_seconds": 3600})],
    )
    def post(self, request: Request, id: UUID) -> Response:
        endpoint = _managed(request, id)
        overlap = valid(RotationRequestSerializer(data=request.data))["overlap_seconds"]
        secret = service.rotate_secret(actor(request), endpoint=endpoint, overlap=overlap)
        return Response(_with_secret(endpoint, secret))


class WebhookTest(StudioView):
    """Trying it out."""

    post_in_transaction = False  # the receiver is waited for

    @documented(
        "send_webhook_test",
        tag=TAG,
        summary="Send a `webhook.test` event at once",
        description="Waits for the receiver, and answers what came of it. It is tried once, also on a webhook that is "
        "switched off.",
        answers={200: WebhookDeliveryDetailSerializer},
        problems=CHANGING,
    )
    def post(self, request: Request, id: UUID) -> Response:
        endpoint = _managed(request, id)
        made = service.send_test(actor(request), endpoint=endpoint)
        return Response(_detailed(request, endpoint.pk, made.pk))


class WebhookDeliveries(StudioListView[WebhookDelivery]):
    """The log of a webhook."""

    serializer_class = WebhookDeliverySerializer
    filterset_class = WebhookDeliveryFilters
    ordering_fields = ("created_at",)
    queryset = WebhookDelivery.objects.none()

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        mine = WebhookDelivery.objects.visible_to(self.request.user)
        return mine.filter(endpoint_id=self.kwargs["id"]).select_related("message")

    @documented(
        "list_webhook_deliveries",
        tag=TAG,
        summary="List what was sent to a webhook, newest first",
        description="Each with its status, the receiver's last answer and when it is tried next. Filter by "
        "`status=failed` for what was missed.",
        answers={200: WebhookDeliverySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request, id: UUID) -> Response:
        _endpoint(request, id)
        return self.list_rows(request)


class WebhookDeliveryDetail(StudioView):
    """One delivery."""

    @documented(
        "get_webhook_delivery",
        tag=TAG,
        summary="One delivery, with every attempt at it",
        description="What was sent, and for every attempt when it was, how long it took, and what the receiver "
        "answered.",
        answers={200: WebhookDeliveryDetailSerializer},
    )
    def get(self, request: Request, id: UUID, delivery_id: UUID) -> Response:
        return Response(_detailed(request, id, delivery_id))


class WebhookDeliveryRedelivery(StudioView):
    """One delivery again."""

    @documented(
        "redeliver_webhook_delivery",
        tag=TAG,
        summary="Send a delivery again",
        description="With the same `webhook-id`, and the whole schedule of attempts before it.",
        answers={202: WebhookDeliverySerializer},
        problems=CHANGING,
    )
    def post(self, request: Request, id: UUID, delivery_id: UUID) -> Response:
        _managed(request, id)
        again = service.redeliver(actor(request), delivery=_delivery(request, id, delivery_id))
        return Response(WebhookDeliverySerializer(again).data, status=202)


class WebhookRedelivery(StudioView):
    """Many deliveries again."""

    @documented(
        "redeliver_webhook",
        tag=TAG,
        summary="Send again what a webhook missed between two moments",
        description=f"At most {service.MAX_REDELIVERED:,} at once, the oldest first; test events are left out. Each "
        "keeps its `webhook-id`, by which the receiver knows "
        "what it has.",
        request=RedeliveryRequestSerializer,
        answers={202: RedeliveredSerializer},
        problems=WRITING,
        examples=[asked("All that failed since noon", {"since": "2026-03-01T12:00:00Z", "status": "failed"})],
    )
    def post(self, request: Request, id: UUID) -> Response:
        endpoint = _managed(request, id)
        chosen = valid(RedeliveryRequestSerializer(data=request.data))
        count = service.redeliver_many(actor(request), endpoint=endpoint, **chosen)
        return Response({"count": count}, status=202)


def _endpoint(request: Request, endpoint_id: UUID) -> WebhookEndpoint:
    found: WebhookEndpoint = find(WebhookEndpoint.objects.visible_to(actor(request)), endpoint_id)
    return found


def _managed(request: Request, endpoint_id: UUID) -> WebhookEndpoint:
    """Return one's own endpoint, to be changed. What one may not see is not found, whoever one is."""
    endpoint = _endpoint(request, endpoint_id)
    _require_admin(request)
    return endpoint


def _require_admin(request: Request) -> None:
    if "admin" not in scopes_of(request):
        raise UserInputError(
            "Webhooks send the workspace's news elsewhere: that takes an admin or owner, and a key with the scope “admin”.",
            code="permission_denied",
            fix="Ask an admin of the workspace, or use a key with that scope.",
        )


def _delivery(request: Request, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    mine = WebhookDelivery.objects.visible_to(actor(request)).filter(endpoint_id=endpoint_id)
    found: WebhookDelivery = find(mine.select_related("message", "endpoint"), delivery_id)
    return found


def _detailed(request: Request, endpoint_id: UUID, delivery_id: UUID) -> dict[str, Any]:
    return dict(WebhookDeliveryDetailSerializer(_delivery(request, endpoint_id, delivery_id)).data)


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> dict[str, Any]:
    return dict(WebhookSerializer(endpoint).data) | {"secret": secret}
