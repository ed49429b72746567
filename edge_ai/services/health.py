"""Is the studio able to work? Answered to anybody who asks, so without names, and cheaply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import DurationField, ExpressionWrapper, F, Max, Q
from django_tenants.utils import schema_context

from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster, Ticket
from edge_ai.models import Queue
from edge_ai.models.base import ClockTimestamp

#: How engine children are held, from the weakest.
SANDBOX_LEVELS = ("none", "partial", "standard", "strong")


@dataclass(frozen=True, kw_only=True)
class Health:
    """What works; ``missing`` says in words what does not.

    Parameters
    ----------
    queues
        Whether a live worker serves each.
    waiting_s
        For how long the job that waits longest in each queue has been due, in seconds; ``None`` where none waits.
    sandbox
        The weakest level at which the live workers of each queue hold their children; ``None`` while none has said.
    """

    database: bool
    queues: dict[str, bool]
    waiting_s: dict[str, float | None] = field(default_factory=dict)
    sandbox: dict[str, str | None] = field(default_factory=dict)
    missing: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Everything is there."""
        return not self.missing


def check_health() -> Health:
    """Ask the database, and look for a living cluster on each queue: two queries, however many workspaces there are."""
    queues = dict.fromkeys(settings.QUEUES, False)
    try:
        with schema_context("public"), acting_as_system():
            alive = list(Cluster.objects.alive().values_list("queue", "sandbox_level"))
            waiting_s = oldest_waiting_s()
    except (DatabaseError, InterfaceError):
        connection.close()
        return Health(database=False, queues=queues, missing=("the database does not answer or is not set up",))
    queues |= {queue: True for queue, _ in alive}
    return Health(
        database=True,
        queues=queues,
        waiting_s=waiting_s,
        sandbox={name: weakest(level for queue, level in alive if queue == name) for name in Queue.values},
        missing=tuple(f"no live worker serves the {name} queue" for name, alive in queues.items() if not alive),
    )


def oldest_waiting_s() -> dict[str, float | None]:
    """Return for how long the job that waits longest in each queue has been due, by the line of all workspaces."""
    waiting: dict[str, float | None] = dict.fromkeys(Queue.values)
    now = ClockTimestamp()
    free = Q(taken_until=None) | Q(taken_until__lte=now)
    ages = (
        Ticket.objects.filter(free, due_at__lte=now)
        .values("queue")
        .annotate(age=Max(ExpressionWrapper(now - F("due_at"), output_field=DurationField())))
    )
    waiting |= {row["queue"]: round(row["age"].total_seconds(), 1) for row in ages}
    return waiting


def weakest(levels: Iterable[str]) -> str | None:
    """Return the weakest of some sandbox levels, leaving out who has not said; an unknown word counts as the weakest."""
    said = [level for level in levels if level]
    return min(said, key=lambda level: SANDBOX_LEVELS.index(level) if level in SANDBOX_LEVELS else -1, default=None)
