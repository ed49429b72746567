"""One attempt at a delivery: claim it, ask whether it may still be told, sign, send, and write down what came of it."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import Membership
from edge_ai.engine.errors import UserInputError
from edge_ai.models import (
    TEST_EVENT,
    Artifact,
    BenchmarkRun,
    ComparisonJob,
    DeliveryStatus,
    DisabledReason,
    Model,
    OptimizationJob,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.outbound.addresses import SendError
from edge_ai.webhooks import signing, vault
from edge_ai.webhooks.notice import tell_owner
from edge_ai.webhooks.schedule import DISABLED_AFTER, WAITS, retry_after, wait_after
from edge_ai.webhooks.sender import send

log = logging.getLogger(__name__)
KEPT_BYTES = 4096
GONE = 410
#: Beyond the time that sending may take, before another worker may try.
LEASE_MARGIN = timedelta(seconds=30)
BUSY_WAIT = timedelta(seconds=1)
SWITCHED_OFF = "The endpoint is switched off."
#: Where the subject of an event is found, by the first word of the event's name.
SUBJECTS: dict[str, Any] = {
    "model": Model,
    "optimization_job": OptimizationJob,
    "benchmark": BenchmarkRun,
    "comparison": ComparisonJob,
    "artifact": Artifact,
}


@dataclass(kw_only=True)
class Outcome:
    """What came of an attempt; ``error_code`` is empty for a success."""

    request_headers: dict[str, str] = field(default_factory=dict)
    http_status: int | None = None
    latency_ms: float | None = None
    response_body: str = ""
    error_code: str = ""
    error: str = ""
    asked_to_wait: timedelta | None = None

    @property
    def ok(self) -> bool:
        """The receiver took the message."""
        return not self.error_code


def attempt(delivery_id: uuid.UUID) -> bool:
    """Make the attempt that is due, in the current workspace. ``False``: there is none to make, or somebody else makes it.

    Runs with the rights of the studio, outside of any transaction of its own while the receiver is waited for.
    """
    token = WebhookDelivery.objects.claim(delivery_id, lease=timedelta(seconds=settings.WEBHOOK_SECONDS) + LEASE_MARGIN)
    if token is None:
        # An endpoint that fails answers one request at a time; this one is found again by the sweep.
        WebhookDelivery.objects.filter(
            pk=delivery_id, status=DeliveryStatus.PENDING, next_attempt_at__lte=ClockTimestamp()
        ).update(next_attempt_at=ClockTimestamp() + BUSY_WAIT, enqueued_at=None)
        return False
    belongs = Membership.objects.filter(
        user_id=OuterRef("endpoint__owner_id"),
        user__is_active=True,
        workspace__schema_name=str(connection.schema_name),  # type: ignore[attr-defined]  # the tenant backend's
    )
    rows = WebhookDelivery.objects.select_related("endpoint__owner", "message").annotate(belongs=Exists(belongs))
    delivery = rows.get(pk=delivery_id)
    refusal = _refusal(delivery)
    if refusal:
        WebhookDelivery.objects.finish(delivery_id, token, status=DeliveryStatus.FAILED, error=refusal)
        return False
    outcome = _send(delivery)
    _settle(delivery, token, outcome)
    return True


def _refusal(delivery: Any) -> str:
    """Say why a delivery may not be made any more; empty when it may."""
    endpoint = delivery.endpoint
    is_test = delivery.event_type == TEST_EVENT
    if not endpoint.enabled and not is_test:
        return SWITCHED_OFF
    if delivery.attempt - delivery.schedule_began > (1 if is_test else len(WAITS)):
        return "The workers that sent it were lost again and again."
    if not delivery.belongs:
        return "The endpoint's owner is no member of the workspace any more."
    table = SUBJECTS.get(delivery.event_type.partition(".")[0])
    if table is not None and delivery.message.subject_id is not None:
        subject = table.objects.filter(pk=delivery.message.subject_id)
        # What was deleted meanwhile was seen when it happened; what was made private since is told no more.
        if subject.exists() and not subject.visible_to(endpoint.owner).exists():
            return "What it is about is not visible to the endpoint's owner any more."
    return ""


def _send(delivery: WebhookDelivery) -> Outcome:
    endpoint, message = delivery.endpoint, delivery.message
    try:
        keys = [vault.open_(endpoint.secret)]
        expires = endpoint.previous_secret_expires_at
        if expires is not None and expires > timezone.now():
            keys.append(vault.open_(endpoint.previous_secret))
    except vault.SecretLostError:
        return Outcome(error_code="secret_lost", error="The signing secret cannot be read any more: rotate it.")
    body = message.body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "EdgeAIStudio-Webhooks/1",
        **signing.headers(message.wire_id, int(time.time()), body, keys=keys),
    }
    outcome = Outcome(request_headers=headers)
    began = time.monotonic()
    try:
        answer = send(
            endpoint.url,
            body=body,
            headers=headers,
            seconds=settings.WEBHOOK_SECONDS,
            networks=settings.WEBHOOK_ALLOW_NETWORKS,
        )
    except (SendError, UserInputError) as error:
        outcome.error_code, outcome.error = error.code, str(error)[:300]
    else:
        outcome.http_status = answer.status
        outcome.response_body = answer.body[:KEPT_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
        if not answer.ok:
            outcome.error_code = "redirected" if 300 <= answer.status < 400 else "http_status"
            outcome.error = _told(answer.status)
            outcome.asked_to_wait = retry_after(answer.headers.get("retry-after"), now=timezone.now())
    outcome.latency_ms = 1000 * (time.monotonic() - began)
    return outcome


def _told(status: int) -> str:
    if 300 <= status < 400:
        return f"It answered {status}, a redirect, and those are not followed: give the address that it leads to."
    return f"It answered {status}; only 2xx is a success."


def _settle(delivery: WebhookDelivery, token: uuid.UUID, outcome: Outcome) -> None:
    """Write the attempt down, with what follows from it for the delivery and for the endpoint."""
    disabled: DisabledReason | None = None
    with transaction.atomic():
        if WebhookDelivery.objects.select_for_update().filter(pk=delivery.pk).first() is None:
            return  # its endpoint was deleted while the receiver was waited for
        WebhookAttempt.objects.create(
            delivery=delivery,
            number=delivery.attempt,
            url=delivery.endpoint.url,
            request_headers=outcome.request_headers,
            latency_ms=outcome.latency_ms,
            http_status=outcome.http_status,
            response_body=outcome.response_body,
            error_code=outcome.error_code,
            error=outcome.error,
        )
        last = {"http_status": outcome.http_status, "latency_ms": outcome.latency_ms, "error": outcome.error}
        if outcome.ok:
            WebhookDelivery.objects.finish(delivery.pk, token, status=DeliveryStatus.DELIVERED, **last)
            WebhookEndpoint.objects.filter(pk=delivery.endpoint_id, first_failure_at__isnull=False).update(
                first_failure_at=None
            )
        else:
            wait = None
            if delivery.event_type != TEST_EVENT and outcome.http_status != GONE:
                wait = wait_after(delivery.attempt - delivery.schedule_began, asked=outcome.asked_to_wait)
            if wait is None:
                WebhookDelivery.objects.finish(delivery.pk, token, status=DeliveryStatus.FAILED, **last)
            else:
                WebhookDelivery.objects.postpone(delivery.pk, token, delay=wait, **last)
            if delivery.event_type != TEST_EVENT:
                disabled = _count_failure(delivery.endpoint_id, outcome)
    if disabled is not None:
        log.warning("Webhook endpoint %s was disabled: %s.", delivery.endpoint_id, disabled.label)
        tell_owner(delivery.endpoint, disabled, outcome.error)


def _count_failure(endpoint_id: uuid.UUID, outcome: Outcome) -> DisabledReason | None:
    """Note that an endpoint fails, and disable it when it is gone or has failed for too long; returns why, once."""
    WebhookEndpoint.objects.filter(pk=endpoint_id).update(
        first_failure_at=Coalesce(F("first_failure_at"), ClockTimestamp())
    )
    if outcome.http_status == GONE:
        reason, which = DisabledReason.GONE, Q(pk=endpoint_id)
    else:
        reason = DisabledReason.FAILING
        which = Q(pk=endpoint_id, first_failure_at__lte=ClockTimestamp() - DISABLED_AFTER)
    if not WebhookEndpoint.objects.disable(which, reason=reason):
        return None
    WebhookDelivery.objects.give_up(endpoint_id, error=SWITCHED_OFF)
    return reason
