"""How long artifacts are kept; and telling people that theirs will go: by webhook, each, and by one mail a day at most."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from smtplib import SMTPException
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.urls import reverse

from accounts.models import Membership, Plan, Workspace
from edge_ai.models import Artifact, WebhookEvent
from edge_ai.models.artifact import going_soon
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.webhooks import emit

log = logging.getLogger(__name__)
#: No second mail before. An hour less than a day, so that the chore's own hour does not make two days of one.
REST = timedelta(hours=23)
#: More are counted only.
LISTED = 20
AT_ONCE = 1000


def artifact_days() -> int:
    """Return for how many days the current workspace keeps the artifacts that are made now; 0: for ever."""
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    workspace = Workspace.objects.select_related("plan").get(schema_name=schema_name)
    plan = workspace.plan or Plan.objects.filter(is_default=True).first()
    said = (each.artifact_days for each in (workspace, plan) if each is not None)
    return next((days for days in said if days is not None), int(settings.ARTIFACT_DAYS))


def warn() -> int:
    """Tell the owners of the current workspace's artifacts that will soon be removed; returns of how many.

    Each is told of once. What could not be told for want of a mail server is told by a later call.
    """
    now = ClockTimestamp()
    due = Artifact.objects.filter(going_soon(), warned_at=None, expires_at__gt=now)
    told_lately = Artifact.objects.filter(warned_at__gt=now - REST).values("owner_id")
    owners = due.exclude(owner_id__in=told_lately).order_by().values_list("owner_id", flat=True).distinct()
    return sum(_warn_owner(owner_id) for owner_id in list(owners))


def _warn_owner(owner_id: UUID) -> int:
    now = ClockTimestamp()
    try:
        with transaction.atomic():
            rows = Artifact.objects.select_for_update(skip_locked=True).filter(
                going_soon(), owner_id=owner_id, warned_at=None, expires_at__gt=now
            )
            going = list(rows.order_by("expires_at", "pk")[:AT_ONCE])
            if not going:
                return 0
            Artifact.objects.filter(pk__in=[each.pk for each in going]).update(warned_at=now)
            for artifact in going:
                emit(WebhookEvent.ARTIFACT_EXPIRING, artifact)
            _write(owner_id, going)
    except (OSError, SMTPException) as error:
        log.warning("User %s could not be told by mail of artifacts that expire: %s", owner_id, error)
        return 0
    return len(going)


def _write(owner_id: UUID, going: Sequence[Artifact]) -> None:
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    member = (
        Membership.objects.select_related("user", "workspace")
        .filter(user_id=owner_id, user__is_active=True, workspace__schema_name=schema_name)
        .first()
    )
    if member is None:  # nobody is there to be told; colleagues see it on the page
        return
    many = f"{len(going)} file{'s' if len(going) != 1 else ''}"
    lines = [
        f"- {each.file_name}, on {each.expires_at:%Y-%m-%d %H:%M} UTC:\n  {_address('artifact-detail', each.pk)}"
        for each in going[:LISTED]
    ]
    if len(going) > LISTED:
        lines.append(f"- and {len(going) - LISTED} more")
    text = (
        f"In the workspace {member.workspace.name} {many} of yours will soon be removed, as artifacts are kept for a limited "
        "time. Download what you still need; the models stay.\n\n"
        + "\n".join(lines)
        + f"\n\nAll that go soon:\n{_address('artifact-list')}?expires=soon\n"
    )
    send_mail(f"{many} will soon be removed", text, None, [member.user.email])


def _address(name: str, *args: UUID) -> str:
    return str(settings.PUBLIC_URL) + reverse(f"edge_ai:{name}", args=args)
