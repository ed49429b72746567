"""Tables that all workspaces share: living clusters, the benchmark slot of each host, and the line of waiting jobs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from django.db import connection, models, transaction
from django.db.models.functions import Now

from edge_ai.models.base import ClockTimestamp

# A supervisor writes every second or two; after this long without a word it counts as gone.
ALIVE = timedelta(seconds=15)
# A queue's pace is a mean over about so many of its latest jobs.
PACE_MEMORY = 50


class ClusterQuerySet(models.QuerySet["Cluster"]):
    """Finding the living."""

    def heard(self) -> ClusterQuerySet:
        """Clusters heard of lately, whether their workers are up or not."""
        return self.filter(seen_at__gt=ClockTimestamp() - ALIVE)

    def alive(self) -> ClusterQuerySet:
        """Clusters heard of lately, whose workers are up."""
        return self.heard().filter(ready=True)


class Cluster(models.Model):
    """A queue cluster under a supervisor, as the supervisor last saw it."""

    id = models.BigAutoField(primary_key=True)
    host = models.CharField(max_length=200)
    queue = models.CharField(max_length=12)
    pid = models.PositiveIntegerField()
    workers = models.PositiveSmallIntegerField()
    ready = models.BooleanField(default=False)
    restarts = models.PositiveIntegerField(default=0)
    #: The sandbox level that the supervisor found by trying attacks when it started, and what it found of each layer.
    sandbox_level = models.CharField(max_length=10, blank=True)
    sandbox_report = models.JSONField(default=dict, blank=True)
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

    def is_taken(self, host: str) -> bool:
        """Tell whether somebody measures on a host."""
        return self.filter(host=host, token__isnull=False, lease_expires_at__gt=ClockTimestamp()).exists()

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


@dataclass(frozen=True, kw_only=True)
class Line:
    """The line of a queue before one job.

    Workspaces take turns, so before the *n*-th job of one come at most *n* of each other. What runs now, and the limits of
    workspaces, are not counted into the place.

    Parameters
    ----------
    place
        Its place over all workspaces; 1 is next.
    own
        The jobs of its own workspace that go before it.
    running
        Jobs that somebody holds, of every workspace.
    pace_seconds
        How long a job of the queue runs at present; ``None`` before one was measured.
    workers
        How many serve the queue.
    """

    place: int
    own: list[uuid.UUID]
    running: list[uuid.UUID]
    pace_seconds: float | None
    workers: int


class TicketQuerySet(models.QuerySet["Ticket"]):
    """Who is next."""

    def take(self, queue: str, *, most: int, lease: timedelta) -> Ticket | None:
        """Take the ticket whose turn it is; ``None`` when nobody is due whose workspace has room.

        The workspace with the fewest jobs running goes first and, among equals, the one that was served longest ago;
        of its own jobs the one with the highest priority and, among equals, the one that waits longest.

        Parameters
        ----------
        queue
            Which cluster asks.
        most
            How many jobs of one workspace may run at once on this queue, where the workspace has no limit of its own.
        lease
            How long the ticket counts as running when nothing is heard of it.
        """
        with transaction.atomic(), connection.cursor() as cursor:
            # One at a time: two who count at once would both find room for one more.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fleet_ticket'), hashtext(%s))", [queue])
            cursor.execute(TAKE, {"queue": queue, "most": most, "lease": lease.total_seconds()})
            row = cursor.fetchone()
        return self.get(pk=row[0]) if row else None

    def next(self, queue: str, *, most: int) -> uuid.UUID | None:
        """Return the job whose turn it is, without taking its ticket; see :meth:`take`."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(LOOK, {"queue": queue, "most": most})
            row = cursor.fetchone()
        return row[0] if row else None

    def keep(self, job_id: uuid.UUID, *, lease: timedelta) -> None:
        """Let a ticket count as running for longer."""
        self.filter(pk=job_id).update(taken_until=ClockTimestamp() + lease)

    def line_before(self, job_id: uuid.UUID, *, queue: str, schema_name: str) -> Line | None:
        """Return the line before a workspace's waiting job; ``None`` when it does not wait. One query."""
        waits, line = self._line(queue=queue, schema=schema_name, job=job_id, priority=None, jobs=1)
        return line if waits else None

    def line_for_another(self, *, queue: str, schema_name: str, priority: int, jobs: int = 1) -> Line:
        """Return the line before the last of so many jobs that a workspace submits now. One query."""
        return self._line(queue=queue, schema=schema_name, job=None, priority=priority, jobs=jobs)[1]

    def _line(self, **known: Any) -> tuple[bool, Line]:
        with connection.cursor() as cursor:
            cursor.execute(AHEAD, known | {"alive": ALIVE})
            waits, own, others, running, pace_seconds, workers = cursor.fetchone()
        place = len(own) + known["jobs"] + int(others)
        return waits, Line(place=place, own=own, running=running, pace_seconds=pace_seconds, workers=int(workers))

    def waiting(self, queue: str) -> TicketQuerySet:
        """Tickets that nobody holds."""
        return self.filter(queue=queue).exclude(taken_until__gt=ClockTimestamp())

    def running(self, queue: str) -> TicketQuerySet:
        """Tickets that somebody holds."""
        return self.filter(queue=queue, taken_until__gt=ClockTimestamp())


#: Whose turn it is, by workspace; both statements below begin with it.
LINE = """
WITH busy AS (
    SELECT schema_name, count(*) AS running FROM fleet_ticket
    WHERE queue = %(queue)s AND taken_until > clock_timestamp() GROUP BY schema_name
), next AS (
    SELECT t.job_id FROM fleet_ticket t
    LEFT JOIN busy b USING (schema_name)
    LEFT JOIN fleet_turn u ON u.schema_name = t.schema_name AND u.queue = t.queue
    LEFT JOIN accounts_workspace w ON w.schema_name = t.schema_name
    LEFT JOIN accounts_plan p ON p.id = coalesce(w.plan_id, (SELECT id FROM accounts_plan WHERE is_default))
    WHERE t.queue = %(queue)s AND t.due_at <= clock_timestamp()
      AND (t.taken_until IS NULL OR t.taken_until < clock_timestamp())
      AND coalesce(b.running, 0) < coalesce(w.concurrent_jobs, p.concurrent_jobs, %(most)s)
    ORDER BY coalesce(b.running, 0), u.served_at NULLS FIRST, t.priority DESC, t.due_at, t.job_id
    LIMIT 1 FOR UPDATE OF t SKIP LOCKED
)"""

LOOK = LINE + " SELECT job_id FROM next"  # noqa: S608 - both are written above

#: A ticket becomes taken, and its workspace's turn is noted, in one statement.
TAKE = (
    LINE  # noqa: S608 - both are written here
    + """, taken AS (
    UPDATE fleet_ticket SET taken_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE job_id = (SELECT job_id FROM next) RETURNING job_id, schema_name
), noted AS (
    INSERT INTO fleet_turn (schema_name, queue, served_at)
    SELECT schema_name, %(queue)s, clock_timestamp() FROM taken
    ON CONFLICT (schema_name, queue) DO UPDATE SET served_at = excluded.served_at
)
SELECT job_id FROM taken"""
)

#: Before a ticket come those of its own workspace that go first, and of each other workspace at most as many again.
AHEAD = """
WITH line AS MATERIALIZED (
    SELECT job_id, schema_name, -priority AS rank, due_at, coalesce(taken_until > clock_timestamp(), false) AS running
    FROM fleet_ticket WHERE queue = %(queue)s
), mine AS (
    SELECT rank, due_at, job_id FROM line WHERE job_id = %(job)s AND NOT running
), own AS (
    SELECT job_id FROM line WHERE schema_name = %(schema)s AND NOT running AND CASE
        WHEN %(job)s::uuid IS NULL THEN rank <= -(%(priority)s)::int
        ELSE (rank, due_at, job_id) < (SELECT rank, due_at, job_id FROM mine)
    END
), others AS (
    SELECT least(count(*), (SELECT count(*) FROM own) + %(jobs)s) AS before
    FROM line WHERE schema_name <> %(schema)s AND NOT running GROUP BY schema_name
)
SELECT %(job)s::uuid IS NULL OR EXISTS (SELECT FROM mine),
    ARRAY(SELECT job_id FROM own),
    (SELECT coalesce(sum(before), 0) FROM others),
    ARRAY(SELECT job_id FROM line WHERE running),
    (SELECT seconds FROM fleet_pace WHERE queue = %(queue)s),
    (SELECT coalesce(sum(workers), 0) FROM fleet_cluster
     WHERE queue = %(queue)s AND ready AND seen_at > clock_timestamp() - %(alive)s)
"""


class Ticket(models.Model):
    """A queued or running job's place in line, where all workspaces can be compared. A hint, like the queue's message.

    Written in the transaction that queues the job and removed when its attempt is over; the job's row, in its
    workspace, stays the truth. A ticket that is lost is written again when the reaper sends the job again.
    """

    job_id = models.UUIDField(primary_key=True)
    schema_name = models.CharField(max_length=63)
    queue = models.CharField(max_length=12)
    priority = models.PositiveSmallIntegerField(default=1)
    due_at = models.DateTimeField(db_default=ClockTimestamp())
    taken_until = models.DateTimeField(null=True)

    objects: ClassVar[TicketQuerySet] = TicketQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        indexes = [models.Index(fields=["queue", "schema_name", "due_at"], name="fleet_ticket_line")]  # who is next

    def __str__(self) -> str:
        return f"{self.schema_name}: {self.job_id}"


class Turn(models.Model):
    """When a workspace was last served on a queue."""

    id = models.BigAutoField(primary_key=True)
    schema_name = models.CharField(max_length=63)
    queue = models.CharField(max_length=12)
    served_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["schema_name", "queue"], name="fleet_turn_once")]

    def __str__(self) -> str:
        return f"{self.schema_name} on {self.queue}"


class PaceManager(models.Manager["Pace"]):
    """Learning how long jobs take."""

    def learn(self, queue: str, seconds: float) -> None:
        """Note that a job of this queue ran for so long."""
        # One statement, so that two workers cannot overwrite each other; the ORM has no conditional upsert.
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO fleet_pace (queue, seconds, jobs) VALUES (%(queue)s, %(seconds)s, 1)"
                " ON CONFLICT (queue) DO UPDATE SET jobs = fleet_pace.jobs + 1, seconds = fleet_pace.seconds"
                " + (excluded.seconds - fleet_pace.seconds) / least(fleet_pace.jobs + 1, %(memory)s)",
                {"queue": queue, "seconds": seconds, "memory": PACE_MEMORY},
            )


class Pace(models.Model):
    """How long a job of a queue runs at present, over all workspaces: a mean in which the latest jobs weigh the most."""

    queue = models.CharField(max_length=12, primary_key=True)
    seconds = models.FloatField()
    jobs = models.PositiveIntegerField()

    objects: ClassVar[PaceManager] = PaceManager()

    def __str__(self) -> str:
        return f"{self.queue}: {self.seconds:.1f} s"
