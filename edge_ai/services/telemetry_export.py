"""Handing counted events on, to a file or an address of the operator's. Without either, nothing leaves the studio."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Sequence

from django.conf import settings
from django.db import connection, transaction
from django.utils.crypto import salted_hmac

from accounts.models import Workspace
from edge_ai.engine.errors import UserInputError
from edge_ai.models import UsageEvent
from edge_ai.models.base import ClockTimestamp
from edge_ai.outbound.addresses import SendError
from edge_ai.webhooks.sender import send

log = logging.getLogger(__name__)
BATCH, BATCHES = 500, 20
_PERSON = "edge_ai.services.telemetry_export.person"


def export_usage() -> int:
    """Hand on what the current workspace has counted since; returns how many events.

    Each is handed on once at the least: who is interrupted between sending and noting it sends it again, with the same
    id. Where the file or the address fails, they wait for the next turn.
    """
    if not (settings.TELEMETRY_FILE or settings.TELEMETRY_URL):
        return 0
    slug = Workspace.objects.values_list("slug", flat=True).get(
        schema_name=connection.schema_name  # type: ignore[attr-defined]  # the tenant backend's
    )
    done = 0
    for _ in range(BATCHES):
        with transaction.atomic():
            waiting = list(
                UsageEvent.objects.select_for_update(skip_locked=True)
                .filter(exported_at__isnull=True)
                .order_by("at", "id")[:BATCH]
            )
            if not waiting:
                break
            try:
                _hand_on(lines(slug, waiting))
            except (OSError, SendError, UserInputError) as error:
                log.warning("Events of %s could not be handed on: %s", slug, error)
                break
            UsageEvent.objects.filter(pk__in=[each.pk for each in waiting]).update(exported_at=ClockTimestamp())
        done += len(waiting)
    return done


def lines(slug: str, events: Sequence[UsageEvent]) -> bytes:
    """Write events as JSON, one a line. People are told apart by a keyed hash that only this studio can make."""
    told = (
        {
            "id": str(each.pk),
            "at": each.at.isoformat(),
            "workspace": slug,
            "event": each.event,
            "how": each.how,
            "person": salted_hmac(_PERSON, str(each.user_id), algorithm="sha256").hexdigest()[:32]
            if each.user_id
            else None,
            "properties": each.properties,
        }
        for each in events
    )
    return b"".join(json.dumps(each, sort_keys=True).encode() + b"\n" for each in told)


def _hand_on(body: bytes) -> None:
    if settings.TELEMETRY_FILE:
        # Appended as one, also where several workers write to it.
        descriptor = os.open(settings.TELEMETRY_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as sink:
            fcntl.flock(sink, fcntl.LOCK_EX)
            sink.write(body)
    if settings.TELEMETRY_URL:
        headers = {"Content-Type": "application/x-ndjson"}
        if settings.TELEMETRY_TOKEN:
            headers["Authorization"] = f"Bearer {settings.TELEMETRY_TOKEN}"
        answer = send(
            settings.TELEMETRY_URL,
            body=body,
            headers=headers,
            seconds=settings.WEBHOOK_SECONDS,
            networks=settings.WEBHOOK_ALLOW_NETWORKS,
        )
        if not answer.ok:
            raise SendError("http_status", f"It answered {answer.status}; only 2xx is a success.")
