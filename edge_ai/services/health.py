"""Is the studio able to work?"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connection
from django_tenants.utils import schema_context

from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster


@dataclass(frozen=True, kw_only=True)
class Health:
    """What works; ``missing`` says in words what does not."""

    database: bool
    queues: dict[str, bool]
    missing: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Everything is there."""
        return not self.missing


def check_health() -> Health:
    """Ask the database, and look for a living cluster on each queue."""
    queues = dict.fromkeys(settings.QUEUES, False)
    try:
        with schema_context("public"), acting_as_system():
            for queue in Cluster.objects.alive().values_list("queue", flat=True):
                queues[queue] = True
    except DatabaseError:
        connection.close()
        return Health(database=False, queues=queues, missing=("the database does not answer or is not set up",))
    return Health(
        database=True,
        queues=queues,
        missing=tuple(f"no live worker serves the {name} queue" for name, alive in queues.items() if not alive),
    )
