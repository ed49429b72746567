"""Reading the audit trail: narrowed down, page by page, and as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from edge_ai.models.audit import AuditEvent, AuditEventQuerySet
from edge_ai.services.audit import ACTIONS

COLUMNS = (
    *("at", "actor", "how", "api_key", "address", "request_id"),
    *("action", "object_type", "object_id", "object_name", "before", "after"),
)
BATCH = 1000
#: What a spreadsheet would take for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class TrailFilter:
    """What of the trail is wanted; what is empty does not narrow."""

    actor: str = ""
    """An address or a part of it, or the id of a person."""
    action: str = ""
    subject: str = ""
    """A name or a part of it, or an id."""
    since: datetime | None = None
    until: datetime | None = None

    def narrow(self, events: AuditEventQuerySet) -> AuditEventQuerySet:
        """Return the events that are wanted."""
        if self.actor:
            events = events.filter(_named(self.actor, "actor_id", "actor"))
        if self.action:
            events = events.filter(action=self.action)
        if self.subject:
            events = events.filter(_named(self.subject, "object_id", "object_name"))
        if self.since is not None:
            events = events.filter(at__gte=self.since)
        if self.until is not None:
            events = events.filter(at__lt=self.until)
        return events


@dataclass(frozen=True, kw_only=True)
class TrailPage:
    """Some events, the newest first, and the places where the newer and the older ones begin."""

    events: Sequence[AuditEvent]
    newer: str
    older: str


def trail_page(events: AuditEventQuerySet, *, older_than: str = "", newer_than: str = "", size: int = 50) -> TrailPage:
    """Return one page. The places are what :class:`TrailPage` had; others are passed over."""
    before, after = place(older_than), place(newer_than)
    if after is not None:
        at, pk = after
        events = events.filter(at__gte=at).filter(Q(at__gt=at) | Q(id__gt=pk)).order_by("at", "id")
    else:
        if before is not None:
            at, pk = before
            events = events.filter(at__lte=at).filter(Q(at__lt=at) | Q(id__lt=pk))
        events = events.order_by("-at", "-id")
    rows = list(events[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    if after is not None:
        rows.reverse()
    newer = more if after is not None else before is not None
    older = more if after is None else True
    return TrailPage(
        events=rows,
        newer=mark(rows[0].at, rows[0].pk) if rows and newer else "",
        older=mark(rows[-1].at, rows[-1].pk) if rows and older else "",
    )


def trail_csv(batches: Iterator[Sequence[AuditEvent]]) -> Iterator[str]:
    """Write events as lines of a table, batch by batch."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    # The mark tells spreadsheets that the text is UTF-8.
    sink.write("\ufeff")
    writer.writerow(COLUMNS)
    yield sink.getvalue()
    for events in batches:
        sink.seek(0)
        sink.truncate()
        for event in events:
            writer.writerow([_cell(getattr(event, name)) for name in COLUMNS])
        yield sink.getvalue()


def trail_lines(batches: Iterator[Sequence[AuditEvent]]) -> Iterator[str]:
    """Write events as JSON, one a line, batch by batch."""
    for events in batches:
        yield "".join(
            json.dumps({name: getattr(event, name) for name in ("id", "actor_id", *COLUMNS)}, cls=DjangoJSONEncoder)
            + "\n"
            for event in events
        )


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, dict) else str(value)
    return "'" + text if text.startswith(_FORMULA) else text


def _named(text: str, id_field: str, name_field: str) -> Q:
    try:
        return Q(**{id_field: UUID(text)})
    except ValueError:
        return Q(**{f"{name_field}__icontains": text})


def mark(at: datetime, pk: UUID) -> str:
    """Return a row's place in a list that runs by time."""
    return f"{at.isoformat()}~{pk}"


def place(text: str) -> tuple[datetime, UUID] | None:
    """Read what :func:`mark` wrote; ``None`` for anything else."""
    moment, _, key = text.partition("~")
    try:
        at, pk = parse_datetime(moment), UUID(key)
    except ValueError:
        return None
    return (at, pk) if at is not None and at.tzinfo is not None else None


def read_trail_filter(query: Mapping[str, str]) -> tuple[TrailFilter, dict[str, str]]:
    """Return what a query string asks for, and the words that the form shows."""
    given = {name: query.get(name, "").replace("\0", "").strip()[:200] for name in ("actor", "object")}
    given["action"] = action if (action := query.get("action", "")) in ACTIONS else ""
    days = {name: _day(query.get(name, "")) for name in ("from", "to")}
    given |= {name: day.isoformat() if day else "" for name, day in days.items()}
    last = days["to"]
    wanted = TrailFilter(
        actor=given["actor"],
        action=given["action"],
        subject=given["object"],
        since=_midnight(days["from"]),
        # The last day is meant whole.
        until=_midnight(last + timedelta(days=1)) if last is not None and last < date.max else None,
    )
    return wanted, given


def trail_context(events: Sequence[AuditEvent], given: dict[str, str]) -> dict[str, Any]:
    """Return what the table of events and the form above it show."""
    return {
        "rows": [
            {
                "event": event,
                "what": ACTIONS.get(event.action, ""),
                "changes": _changes(event),
                "workspace": getattr(event, "workspace", None),
            }
            for event in events
        ],
        "filters": given,
        "filtered": any(given.values()),
        "actions": sorted(ACTIONS.items()),
    }


def _changes(event: AuditEvent) -> list[dict[str, Any]]:
    """Put what was and what is side by side, field by field."""
    names = sorted({*event.before, *event.after})
    return [
        {
            "name": name.replace("_", " "),
            "had": name in event.before,
            "was": _shown(event.before.get(name)),
            "has": name in event.after,
            "now": _shown(event.after.get(name)),
        }
        for name in names
    ]


def _shown(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown(each) for each in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_shown(each)}" for name, each in value.items())
    return str(value)


def _day(text: str) -> date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time.min, tzinfo=timezone.get_default_timezone())
