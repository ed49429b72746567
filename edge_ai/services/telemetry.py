"""Counting what people do with a workspace: told where it happens, added up by day, and sent nowhere unless told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.dispatch import receiver

from accounts.actor import acted_by, current_actor
from accounts.models import Membership, User, Workspace
from accounts.signals import AccountAction, state_changed
from config.database.identity import acting_as_system, workspace_as_system
from edge_ai.models import Event, EventDay, UsageEvent
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.schemas import complete_schemas

#: Days that may still change when the roll-up runs: events of these are counted again.
OPEN_DAYS = 2
#: A property is a word of a closed set or a number, never a text of somebody's.
MAX_WORD = 40


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What an event means, and what it says besides, each property with its meaning."""

    meaning: str
    properties: Mapping[str, str] = field(default_factory=dict)


_KIND = {"kind": "kind of the job, such as `optimization`"}
_SIZE = {"size_bytes": "size of the file in bytes"}
#: Everything that is counted; docs/telemetry.md is written from it.
EVENTS: Mapping[Event, Counted] = {
    Event.SIGNED_UP: Counted(
        meaning="A new account became a member for the first time, by an invitation or its own workspace"
    ),
    Event.SIGNED_IN: Counted(meaning="A member signed in; counted in each of their workspaces"),
    Event.WORKSPACE_CREATED: Counted(meaning="The workspace was made"),
    Event.MEMBER_INVITED: Counted(meaning="Somebody was invited", properties={"role": "role that they will have"}),
    Event.MEMBER_JOINED: Counted(
        meaning="Somebody accepted an invitation", properties={"role": "role that they have now"}
    ),
    Event.API_KEY_CREATED: Counted(meaning="An API key was made"),
    Event.MODEL_UPLOADED: Counted(
        meaning="A model was uploaded", properties={"format": "format of the model, such as `onnx`"} | _SIZE
    ),
    Event.DATASET_UPLOADED: Counted(meaning="A data set was uploaded", properties=_SIZE),
    Event.JOB_SUBMITTED: Counted(meaning="A job was submitted; those of a batch too", properties=_KIND),
    Event.BATCH_SUBMITTED: Counted(meaning="A batch was submitted", properties={"jobs": "how many jobs it began with"}),
    Event.JOB_COMPLETED: Counted(
        meaning="A job completed; analyses too", properties=_KIND | {"attempt": "which attempt it was"}
    ),
    Event.JOB_FAILED: Counted(
        meaning="A job failed for good", properties=_KIND | {"code": "error code, as in [Errors](errors.md)"}
    ),
    Event.JOB_CANCELLED: Counted(meaning="A job was cancelled and has ended", properties=_KIND),
    Event.JOB_RETRIED: Counted(meaning="A job was run again", properties=_KIND),
    Event.FILE_DOWNLOADED: Counted(
        meaning="A download was asked for",
        properties={"what": "`model`, `dataset`, `artifact`, `samples` or `export`"},
    ),
    Event.SHARE_LINK_CREATED: Counted(meaning="A comparison was shared by a link"),
    Event.SHARE_LINK_OPENED: Counted(meaning="Somebody opened a shared link"),
    Event.WEBHOOK_CREATED: Counted(meaning="A webhook was added"),
}


def track(event: Event | str, **properties: str | int | None) -> None:
    """Count that something was done in the current workspace, in the caller's transaction.

    Who did it, and how, is known from the request.

    Raises
    ------
    ValueError
        For an event that is not in :data:`EVENTS`, and for properties other than it has: what is not documented is not
        kept.
    """
    with acting_as_system():  # counting is the studio's
        usage_of(event, **properties).save(force_insert=True)


def usage_of(event: Event | str, **properties: str | int | None) -> UsageEvent:
    """Return what :func:`track` writes, for who writes it together with other rows, as the system."""
    try:
        counted = EVENTS[Event(event)]
    except (KeyError, ValueError):
        raise ValueError(f"{event} is no event that is counted; see EVENTS.") from None
    if set(properties) != set(counted.properties):
        told = ", ".join(sorted(counted.properties)) or "nothing"
        raise ValueError(f"{event} says {told}, and not {', '.join(sorted(properties)) or 'nothing'}.")
    for name, value in properties.items():
        if isinstance(value, str) and (len(value) > MAX_WORD or not value.replace("_", "").isalnum()):
            raise ValueError(f"{name} of {event} is a word or a number, and no text.")
    if connection.schema_name == "public":  # type: ignore[attr-defined]  # the tenant backend's
        raise RuntimeError("Events belong to a workspace, and none is entered.")
    actor = current_actor()
    return UsageEvent(event=Event(event).value, user_id=actor.user_id, how=actor.how.value, properties=properties)


def roll_up_usage() -> int:
    """Add up the events of the last days, and remove those whose time is over; returns how many sums there are."""
    since = ClockTimestamp() - timedelta(days=OPEN_DAYS)
    sums = (
        UsageEvent.objects.filter(at__gte=TruncDate(since))
        .annotate(day=TruncDate("at"))
        .values("day", "event")
        .annotate(events=Count("pk"), people=Count("user_id", distinct=True))
        .order_by()
    )
    rows = [EventDay(**each) for each in sums]
    EventDay.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["day", "event"], update_fields=["events", "people"]
    )
    UsageEvent.objects.filter(at__lt=ClockTimestamp() - timedelta(days=settings.TELEMETRY_DAYS)).delete()
    return len(rows)


@receiver(state_changed)
def count_accounts(*, action: AccountAction, subject: Any, workspace: Workspace, **told: Any) -> None:
    """Count what accounts tell, in the workspace that it concerns."""
    if action not in {AccountAction.API_KEY_CREATED, AccountAction.MEMBER_JOINED, AccountAction.MEMBER_INVITED}:
        return
    if workspace.schema_name not in complete_schemas():
        return
    who = subject.pk if action == AccountAction.MEMBER_JOINED else current_actor().user_id
    role = str((told.get("after") or {}).get("role", ""))
    with acted_by(replace(current_actor(), user_id=who)), workspace_as_system(workspace.schema_name):
        if action == AccountAction.API_KEY_CREATED:
            track(Event.API_KEY_CREATED)
        elif action == AccountAction.MEMBER_INVITED:
            track(Event.MEMBER_INVITED, role=role)
        else:
            if is_new(subject):
                track(Event.SIGNED_UP)
            track(Event.MEMBER_JOINED, role=role)


def count_new_workspace(workspace: Workspace, owner: User) -> None:
    """Count that a workspace was made, and its owner with it where it is their first."""
    who = replace(current_actor(), user_id=owner.pk)
    with acted_by(who), workspace_as_system(workspace.schema_name):
        if is_new(owner):
            track(Event.SIGNED_UP)
        track(Event.WORKSPACE_CREATED)


def is_new(user: User) -> bool:
    """Tell whether somebody is a member of one workspace alone, which they have just become."""
    with acting_as_system():
        return Membership.objects.filter(user=user).count() == 1
