"""What supervisors found of the sandbox on their hosts. Read from their rows alone: the web never tries it itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django_tenants.utils import schema_context

from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster

#: Names of the levels of the sandbox that hold nothing, or not enough to be quiet about.
NONE, PARTIAL = "none", "partial"


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host with workers, and how it holds their children.

    Parameters
    ----------
    name
        Its name.
    queues
        The queues that it serves.
    level
        The level in force; empty where nothing is known yet. Where its supervisors differ, the worst.
    report
        What was found when that supervisor started, as it wrote it down.
    """

    name: str
    queues: tuple[str, ...]
    level: str
    report: Mapping[str, Any]

    @property
    def refused(self) -> str:
        """Why jobs are refused there, if they are."""
        return str(self.report.get("refused", ""))


def hosts() -> list[Host]:
    """Return every host whose supervisors were heard of lately, by name."""
    found: dict[str, Host] = {}
    with schema_context("public"), acting_as_system():
        for cluster in Cluster.objects.heard().order_by("host", "queue", "pk"):
            other = found.get(cluster.host)
            worse = other is None or _rank(cluster.sandbox_level) > _rank(other.level)
            found[cluster.host] = Host(
                name=cluster.host,
                queues=(*(other.queues if other else ()), cluster.queue),
                level=cluster.sandbox_level if other is None or worse else other.level,
                report=cluster.sandbox_report if other is None or worse else other.report,
            )
    return list(found.values())


def unheld() -> list[Host]:
    """Return the hosts where nothing holds jobs, or where they are refused for that reason."""
    return [host for host in hosts() if host.level == NONE]


def _rank(level: str) -> int:
    order = ("", "strong", "standard", PARTIAL, NONE)
    return order.index(level) if level in order else len(order)
