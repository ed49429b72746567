"""Showing a comparison to people outside: links that are signed, expire, and can be revoked.

A token is the workspace's id and 32 random bytes, signed; the workspace keeps only the hash of the random bytes. What a link
shows is read in its maker's name, so it never shows more than its maker sees at that moment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.core import signing
from django.db import transaction
from django.db.models import F
from django_tenants.utils import schema_context

from accounts.models import Membership, User, Workspace
from config.database.identity import acting_as_system, acting_as_user
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.models import ComparisonJob, Event, ShareLink
from edge_ai.models.audit import AuditAction
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.audit import fields_of, note
from edge_ai.services.run_comparison import RunComparison, compare_runs
from edge_ai.services.telemetry import track

LIFETIMES: Final = {
    "1h": ("1 hour", timedelta(hours=1)),
    "1d": ("1 day", timedelta(days=1)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
}
KEPT_AFTER_END: Final = timedelta(days=30)
"""For so long a link that has ended stays in its maker's list."""

#: What the audit trail keeps of a link.
KEPT_IN_TRAIL: Final = ("comparison_id", "runs", "expires_at")

_SECRET_BYTES: Final = 32
_SIGNER = signing.Signer(salt="edge_ai.share_links", sep=".")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a link shows: one of the two."""

    link: ShareLink
    runs: RunComparison | None = None
    comparison: dict[str, Any] | None = None


def share_runs(
    user: User, *, workspace: Workspace, run_ids: Sequence[UUID], against: UUID | None, lifetime: str
) -> tuple[ShareLink, str]:
    """Make a link to benchmark runs side by side; returns it and the only copy of its token.

    Raises
    ------
    UserInputError
        As :func:`edge_ai.services.run_comparison.compare_runs`, and ``invalid_request`` for another lifetime.
    """
    compared = compare_runs(user, run_ids=run_ids, against=against)
    names = [run.model for run in compared.runs]
    return _issue(
        user,
        workspace,
        lifetime,
        title=f"{names[0]} and {len(names) - 1} other{'' if len(names) == 2 else 's'}"[:200],
        runs=[run.run_id for run in compared.runs],
        against=compared.baseline.run_id,
    )


def share_comparison(user: User, *, workspace: Workspace, job: ComparisonJob, lifetime: str) -> tuple[ShareLink, str]:
    """Make a link to a comparison that the person sees; returns it and the only copy of its token.

    Raises
    ------
    UserInputError
        ``conflict`` while it has no result, ``invalid_request`` for another lifetime.
    """
    if not job.result:
        raise UserInputError(
            "The comparison has no numbers yet.",
            code="conflict",
            fix="Wait until it has completed.",
            field="comparison",
        )
    return _issue(user, workspace, lifetime, title=job.name[:200] or "Comparison", comparison=job)


def _issue(user: User, workspace: Workspace, lifetime: str, **fields: Any) -> tuple[ShareLink, str]:
    if lifetime not in LIFETIMES:
        raise UserInputError(
            "A link lasts an hour, a day, 7 days or 30 days.",
            code="invalid_request",
            fix="Choose one of these.",
            field="lifetime",
        )
    secret = secrets.token_bytes(_SECRET_BYTES)
    with transaction.atomic():
        link = ShareLink.objects.create(
            owner=user,
            token_sha256=_digest(secret),
            expires_at=ClockTimestamp() + LIFETIMES[lifetime][1],
            **fields,
        )
        link.refresh_from_db()
        note(AuditAction.SHARE_LINK_CREATED, link, after=fields_of(link, KEPT_IN_TRAIL))
        track(Event.SHARE_LINK_CREATED)
    packed = base64.urlsafe_b64encode(workspace.pk.bytes + secret).rstrip(b"=").decode()
    return link, _SIGNER.sign(packed)


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def revoke(user: User, *, link: ShareLink) -> None:
    """End a link at once; one that has been revoked stays so."""
    open_still = ShareLink.objects.owned_by(user).filter(pk=link.pk, revoked_at__isnull=True)
    with transaction.atomic():
        if open_still.update(revoked_at=ClockTimestamp()):
            note(AuditAction.SHARE_LINK_REVOKED, link)


def open_link(token: str, *, count: bool) -> Shared | None:
    """Return what a link shows, or ``None``: altered, expired, revoked, or its maker or what it shows is gone.

    The connection is left as it was. With ``count`` the view is counted.
    """
    found = _read(token)
    if found is None:
        return None
    workspace_id, secret = found
    with acting_as_system():
        workspace = Workspace.objects.filter(pk=workspace_id).first()
        if workspace is None:
            return None
        with schema_context(workspace.schema_name):
            link = ShareLink.objects.open().filter(token_sha256=_digest(secret)).first()
            maker = _maker(link, workspace) if link is not None else None
            if link is None or maker is None:
                return None
            with acting_as_user(maker.pk):
                shared = _look(link, maker)
            if shared is not None and count:
                ShareLink.objects.filter(pk=link.pk).update(
                    view_count=F("view_count") + 1, last_viewed_at=ClockTimestamp()
                )
                track(Event.SHARE_LINK_OPENED)
            return shared


def _read(token: str) -> tuple[UUID, bytes] | None:
    try:
        packed = _SIGNER.unsign(token)
        content = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    except (signing.BadSignature, binascii.Error, ValueError):
        return None
    if len(content) != 16 + _SECRET_BYTES:
        return None
    return UUID(bytes=content[:16]), content[16:]


def _maker(link: ShareLink, workspace: Workspace) -> User | None:
    """Return who made the link, while they are a member who may share; one who left and came back makes new links."""
    membership = (
        Membership.objects.filter(
            user_id=link.owner_id, workspace=workspace, user__is_active=True, created_at__lte=link.created_at
        )
        .select_related("user")
        .first()
    )
    return membership.user if membership is not None and membership.may_write else None


def _look(link: ShareLink, maker: User) -> Shared | None:
    if link.comparison_id is not None:
        job = ComparisonJob.objects.visible_to(maker).filter(pk=link.comparison_id).first()
        return Shared(link=link, comparison=job.result) if job is not None and job.result else None
    try:
        return Shared(link=link, runs=compare_runs(maker, run_ids=link.runs, against=link.against))
    except EngineError:
        # A run was deleted, or is no longer its maker's to see.
        return None


def forget_ended() -> int:
    """Remove links of the current workspace that ended a while ago; returns how many."""
    gone, _ = ShareLink.objects.filter(expires_at__lt=ClockTimestamp() - KEPT_AFTER_END).delete()
    return gone
