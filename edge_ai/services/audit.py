"""Keeping the audit trail: called where something changes, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.db import models
from django.dispatch import receiver

from accounts.actor import How, acted_by, current_actor
from accounts.models import Membership, User, Workspace
from accounts.signals import AccountAction, state_changed
from config.database.identity import acting_as_system, workspace_as_system
from config.middleware import current_request_id
from edge_ai.models.audit import AuditAction, AuditEvent
from edge_ai.models.telemetry import Event
from edge_ai.services.rows import insert_together
from edge_ai.services.schemas import complete_schemas
from edge_ai.services.telemetry import track

#: Every action, with what it means in words.
ACTIONS: dict[str, str] = dict(AuditAction.choices) | dict(AccountAction.choices)
#: Never written down, whoever gives them.
SECRET_FIELDS = frozenset(
    {"secret", "previous_secret", "secret_sha256", "password", "token", "lease_token", "closed_url"}
)


def note(
    action: models.TextChoices,
    subject: models.Model,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add to the current workspace's trail that something happened to ``subject``, in the caller's transaction.

    Who did it, how and from where is known from the request; without one it was the studio itself. Call it before a row
    is deleted, while it still has its id.

    Parameters
    ----------
    before, after
        Fields with their values; those that are the same on both sides are left out. When both are given and nothing
        differs, nothing happened, and nothing is noted.
    """
    event = event_of(action, subject, before=before, after=after)
    if event is not None:
        with acting_as_system():  # the trail is the studio's to write
            event.save(force_insert=True)


def event_of(
    action: models.TextChoices,
    subject: models.Model,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent | None:
    """Return what :func:`note` writes, for who writes it together with other rows, as the system."""
    if before is not None and after is not None:
        same = {name for name in before if name in after and before[name] == after[name]}
        before = {name: value for name, value in before.items() if name not in same}
        after = {name: value for name, value in after.items() if name not in same}
        if not before and not after:
            return None
    return AuditEvent(**_facts(action, subject), before=_told(before), after=_told(after))


def keep(*rows: models.Model | None) -> None:
    """Write what :func:`event_of` and ``usage_of`` returned, in one trip, in the caller's transaction."""
    with acting_as_system():
        insert_together(filter(None, rows))


def note_all(action: models.TextChoices, subjects: Iterable[models.Model]) -> None:
    """Note the same about many rows, in one statement."""
    events = [AuditEvent(**_facts(action, subject)) for subject in subjects]
    with acting_as_system():
        AuditEvent.objects.bulk_create(events)


def fields_of(row: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """Return some of a row's fields as they are now, for ``before`` or ``after``."""
    return {name: getattr(row, name) for name in names}


def _facts(action: models.TextChoices, subject: models.Model) -> dict[str, Any]:
    actor, request_id = current_actor(), current_request_id()
    return {
        "actor_id": actor.user_id,
        "actor": actor.name,
        "how": actor.how,
        "api_key": actor.api_key,
        "address": actor.address,
        "request_id": "" if request_id == "-" else request_id,
        "action": action.value,
        "object_type": action.value.partition(".")[0],
        "object_id": subject.pk,
        "object_name": str(subject)[:200],
    }


def _told(fields: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (fields or {}).items() if name not in SECRET_FIELDS}


@receiver(state_changed)
def note_accounts(
    *,
    action: AccountAction,
    subject: models.Model,
    workspace: Workspace,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **_: Any,
) -> None:
    """Keep what accounts tell, in the trail of the workspace that it concerns."""
    if workspace.schema_name in complete_schemas():
        with workspace_as_system(workspace.schema_name):
            note(action, subject, before=before, after=after)


@receiver(user_logged_in)
def note_sign_in(*, user: User, **_: Any) -> None:
    """Keep a sign-in in the trail of every workspace that the person belongs to."""
    with acting_as_system():
        names = set(Membership.objects.filter(user=user).values_list("workspace__schema_name", flat=True))
    if not names:
        return
    with acted_by(replace(current_actor(), how=How.SESSION, user_id=user.pk, name=user.email)):
        for name in names.intersection(complete_schemas()):
            with workspace_as_system(name):
                note(AccountAction.SIGNED_IN, user)
                track(Event.SIGNED_IN)
