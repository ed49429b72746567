"""Tables that all workspaces share: living clusters, and the benchmark slot of each host."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar

from django.db import connection, models
from django.db.models.functions import Now

from edge_ai.models.base import ClockTimestamp

# A supervisor writes every second or two; after this long without a word it counts as gone.
ALIVE = timedelta(seconds=15)


class ClusterQuerySet(models.QuerySet["Cluster"]):
    """Finding the living."""

    def alive(self) -> ClusterQuerySet:
        """Clusters heard of lately, whose workers are up."""
        return self.filter(seen_at__gt=ClockTimestamp() - ALIVE, ready=True)


class Cluster(models.Model):
    """A queue cluster under a supervisor, as the supervisor last saw it."""

    id = models.BigAutoField(primary_key=True)
    host = models.CharField(max_length=200)
    queue = models.CharField(max_length=12)
    pid = models.PositiveIntegerField()
    workers = models.PositiveSmallIntegerField()
    ready = models.BooleanField(default=False)
    restarts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[ClusterQuerySet] = ClusterQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "queue", "pid"], name="fleet_cluster_once")]

    def __str__(self) -> str:
        return f"{self.queue} on {self.host}"


class BenchmarkSlotManager(models.Manager["BenchmarkSlot"]):
    """One benchmark at a time on a host, across workspaces and clusters."""

    def take(self, host: str, *, holder: str, lease: timedelta) -> uuid.UUID | None:
        """Take the host's slot when it is free or its holder's lease ran out; returns the token, or ``None``."""
        token = uuid.uuid4()
        # One statement, so that two takers cannot both win; the ORM has no conditional upsert.
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO fleet_benchmarkslot (host, token, holder, lease_expires_at)"
                " VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))"
                " ON CONFLICT (host) DO UPDATE SET token = excluded.token, holder = excluded.holder,"
                " lease_expires_at = excluded.lease_expires_at"
                " WHERE fleet_benchmarkslot.token IS NULL OR fleet_benchmarkslot.lease_expires_at < clock_timestamp()"
                " RETURNING token",
                [host, token, holder, lease.total_seconds()],
            )
            return token if cursor.fetchone() else None

    def keep(self, host: str, token: uuid.UUID, *, lease: timedelta) -> bool:
        """Renew the holder's lease; ``False`` when it was lost."""
        return bool(self.filter(host=host, token=token).update(lease_expires_at=ClockTimestamp() + lease))

    def free(self, host: str, token: uuid.UUID) -> None:
        """Give the slot back."""
        self.filter(host=host, token=token).update(token=None, holder="")


class BenchmarkSlot(models.Model):
    """The right to measure on a host."""

    host = models.CharField(max_length=200, primary_key=True)
    token = models.UUIDField(null=True)
    holder = models.CharField(max_length=200, blank=True)
    lease_expires_at = models.DateTimeField()

    objects: ClassVar[BenchmarkSlotManager] = BenchmarkSlotManager()

    def __str__(self) -> str:
        return self.host
