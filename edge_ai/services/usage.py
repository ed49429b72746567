"""What workspaces use, whom a device template reaches, and how the queues are served: sums over schemas, set by set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Q
from django_tenants.utils import schema_context

from accounts.models import Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster, Ticket
from edge_ai.models import JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.across import workspaces
from edge_ai.services.health import weakest
from edge_ai.services.standings import Standing, standings

#: How far back what a workspace used is added up.
DAYS = 30
_ACTIVE = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a workspace has and does.

    Parameters
    ----------
    standing
        What it has and may have: models, bytes, the job minutes of this month.
    active, ended
        Jobs by status: now, and over the last days.
    last_activity
        When something was changed last, by the audit trail.
    """

    workspace: Workspace
    members: int
    standing: Standing
    active: Mapping[str, int]
    ended: Mapping[str, int]
    last_activity: datetime | None


def usage_of(spaces: Sequence[Workspace]) -> list[Usage]:
    """Return what some workspaces have and do, in their order: two statements, however many they are.

    Jobs that ended are taken from the sums by day, which are ten minutes old at most.
    """
    if not spaces:
        return []
    branches = []
    for space in spaces:
        schema = connection.ops.quote_name(space.schema_name)
        branches.append(
            "SELECT %s, (SELECT json_object_agg(status, n) FROM"  # noqa: S608 - names from the workspaces' table
            f" (SELECT status, count(*) AS n FROM {schema}.edge_ai_job WHERE status = ANY(%s) GROUP BY status) a),"
            " (SELECT json_object_agg(status, n) FROM (SELECT status, sum(jobs) AS n"
            f" FROM {schema}.edge_ai_jobday WHERE day > current_date - %s GROUP BY status) e),"
            f" (SELECT max(at) FROM {schema}.edge_ai_auditevent),"
            " (SELECT count(*) FROM public.accounts_membership WHERE workspace_id = %s)"
        )
    active = [status.value for status in _ACTIVE]
    values = [value for space in spaces for value in (space.schema_name, active, DAYS, space.pk)]
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(branches), values)
        found = {row[0]: row[1:] for row in cursor.fetchall()}
    stands = standings([space.schema_name for space in spaces])
    return [
        Usage(
            workspace=space,
            members=int(found[space.schema_name][3]),
            standing=stands[space.schema_name],
            active=_counts(found[space.schema_name][0]),
            ended=_counts(found[space.schema_name][1]),
            last_activity=found[space.schema_name][2],
        )
        for space in spaces
    ]


def _counts(found: Any) -> dict[str, int]:
    counts = found if isinstance(found, dict) else json.loads(found) if found else {}
    return {status: int(count) for status, count in counts.items()}


@dataclass(frozen=True, kw_only=True)
class UseDay:
    """What was done on one day (UTC) in all workspaces together, by event, and in how many workspaces anything was."""

    day: date
    events: Mapping[str, int]
    workspaces: int


def use_by_day(*, until: date, days: int = DAYS, slug: str = "") -> list[UseDay]:
    """Return the sums of the last days, each of them: one statement, however many workspaces there are."""
    first = until - timedelta(days=days - 1)
    counts: dict[date, dict[str, int]] = {}
    active: dict[date, set[str]] = {}
    spaces = workspaces(slug)
    if spaces:
        branches = [
            f"SELECT %s, day, event, events FROM {connection.ops.quote_name(schema)}.edge_ai_eventday"  # noqa: S608 - names from the workspaces' table
            " WHERE day BETWEEN %s AND %s"
            for schema in spaces
        ]
        with acting_as_system(), connection.cursor() as cursor:
            cursor.execute(
                " UNION ALL ".join(branches), [value for schema in spaces for value in (schema, first, until)]
            )
            for schema, day, event, count in cursor.fetchall():
                so_far = counts.setdefault(day, {})
                so_far[event] = so_far.get(event, 0) + count
                active.setdefault(day, set()).add(schema)
    return [
        UseDay(day=day, events=counts.get(day, {}), workspaces=len(active.get(day, ())))
        for day in (first + timedelta(days=place) for place in range(days))
    ]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Whom the change of a device template concerns.

    Parameters
    ----------
    own_profiles
        Profiles that people made from it: theirs, and not changed with it.
    jobs
        Optimizations and benchmarks for it, whose results stay as they are.
    """

    workspaces: int
    own_profiles: int
    jobs: int


def reach_of(slug: str) -> Reach:
    """Return whom a template's change concerns."""
    spaces = workspaces()
    if not spaces:
        return Reach(workspaces=0, own_profiles=0, jobs=0)
    branches = []
    for schema in map(connection.ops.quote_name, spaces):
        of_it = f"SELECT id FROM {schema}.edge_ai_deviceprofile WHERE slug = %s AND is_template"  # noqa: S608 - names from the workspaces' table
        branches.append(
            f"SELECT (SELECT count(*) FROM {schema}.edge_ai_deviceprofile WHERE made_from = %s AND NOT is_template),"  # noqa: S608 - as above
            f" (SELECT count(*) FROM {schema}.edge_ai_optimizationjob WHERE device_profile_id IN ({of_it}))"
            f" + (SELECT count(*) FROM {schema}.edge_ai_benchmarkrun WHERE device_profile_id IN ({of_it}))"
        )
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(branches), [slug] * 3 * len(branches))
        rows = cursor.fetchall()
    return Reach(
        workspaces=len(spaces), own_profiles=sum(int(row[0]) for row in rows), jobs=sum(int(row[1]) for row in rows)
    )


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """Who serves a queue, and what is in it, of all workspaces together.

    Parameters
    ----------
    taken, due, later
        Jobs in work, jobs that could run now, and jobs that are not to run yet.
    waiting_s
        For how long the job that waits longest has been due, in seconds; ``None`` where none waits.
    sandbox
        The weakest level at which its live workers hold their children; ``None`` while none has said.
    """

    name: str
    clusters: int
    workers: int
    taken: int
    due: int
    later: int
    waiting_s: float | None
    sandbox: str | None


def queues() -> list[QueueState]:
    """Return the state of every queue: two statements, however many workspaces there are."""
    now = ClockTimestamp()
    free = Q(taken_until=None) | Q(taken_until__lte=now)
    due = free & Q(due_at__lte=now)
    age = ExpressionWrapper(now - F("due_at"), output_field=DurationField())
    with schema_context("public"), acting_as_system():
        alive = list(Cluster.objects.alive().values_list("queue", "workers", "sandbox_level"))
        lines: dict[str, dict[str, Any]] = {
            str(line["queue"]): dict(line)
            for line in Ticket.objects.values("queue").annotate(
                taken=Count("pk", filter=~free),
                due=Count("pk", filter=due),
                later=Count("pk", filter=free & Q(due_at__gt=now)),
                age=Max(age, filter=due),
            )
        }
    return [
        _state(name, [each[1:] for each in alive if each[0] == name], lines.get(name, {})) for name in settings.QUEUES
    ]


def _state(name: str, alive: Sequence[tuple[int, str]], line: Mapping[str, Any]) -> QueueState:
    age = line.get("age")
    return QueueState(
        name=name,
        clusters=len(alive),
        workers=sum(workers for workers, _ in alive),
        taken=int(line.get("taken", 0)),
        due=int(line.get("due", 0)),
        later=int(line.get("later", 0)),
        waiting_s=None if age is None else float(age.total_seconds()),
        sandbox=weakest(level for _, level in alive),
    )
