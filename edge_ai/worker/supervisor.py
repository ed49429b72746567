"""Keeping one queue cluster alive: restart it when it exits or stands still, rescue jobs, say that it lives.

The cluster is a child in a session of its own, whose processes all end with the one above them; whatever goes wrong,
the whole session is killed and begun anew. Any number of supervisors may run, on any number of hosts.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from django.db.models import Count, Q

from config.database.identity import acting_as_system, current, workspace_as_system
from config.embedded_postgres import EmbeddedPostgresError, ensure
from edge_ai.fleet.models import ALIVE, Cluster
from edge_ai.models import Job, JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.leftovers import clear_leftovers
from edge_ai.services.schemas import complete_schemas
from edge_ai.worker import confinement, rescue
from edge_ai.worker.babysitter import TAG_VARIABLE, name_of_worker
from edge_ai.worker.chores import expire_uploads
from edge_ai.worker.family import Process, Role, end_with, kill_session, members
from edge_ai.worker.reaper import reap
from edge_ai.worker.stages import tidy
from edge_ai.worker.webhooks import backlog, sweep_everywhere

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0
WEBHOOKS = "webhook"
HOUSEKEEPING_SECONDS = 600.0
#: A part of the cluster that dies is replaced by its sentinel within half a second, or not at all.
MISSING_SECONDS = 5.0
STARTING_SECONDS = 60.0
#: The killed are gone at once, unless the kernel is busy with them.
ENDING_SECONDS = 10.0
#: What was in hand may still be on its way into the database when a worker is found dead.
RESCUE_SECONDS = 10.0
#: How often the embedded database is looked after.
DATABASE_SECONDS = 5.0
#: A cluster that dies younger than this is begun again more and more slowly.
SETTLED_SECONDS = 20.0
MAX_PAUSE_SECONDS = 30.0
#: A job that is due for less is being fetched.
OVERDUE = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one round through the workspaces found of this supervisor's queue."""

    #: Jobs that are due, of workspaces none of whose jobs run: no limit explains why they wait.
    overdue: int
    #: Jobs that this cluster runs.
    running: int


class Supervisor:
    """Watches one cluster."""

    def __init__(self, queue: str, *, grace_seconds: float) -> None:
        self.queue = queue
        self.grace_seconds = grace_seconds
        self.workers = {"studio": settings.STUDIO_WORKERS, "webhook": settings.WEBHOOK_WORKERS}.get(queue, 1)
        self.wedge_seconds = 3.0 * settings.JOB_LEASE_SECONDS
        self.restarts = -1
        self._stop = False
        self._cluster: subprocess.Popen[bytes] | None = None
        self._tag = ""
        self._seen: frozenset[Process] = frozenset()
        self._spawned_at = 0.0
        self._spawn_not_before = 0.0
        self._pause = 0.5
        self._was_up = False
        self._up = False
        # Deliveries open no models.
        self._sandbox = {} if queue == WEBHOOKS else confinement.establish()
        self._missing_since: float | None = None
        self._stuck_since: float | None = None
        self._database_away = False
        self._next_clear = time.monotonic() + HOUSEKEEPING_SECONDS / 10
        self._next_ensure = 0.0
        #: Names of dead workers, and until when their jobs are looked for.
        self._dead: dict[str, float] = {}

    def run(self) -> None:
        """Watch until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._told_to_stop)
        try:
            self._spawn()
            while not self._stop:
                self._tick()
                time.sleep(TICK_SECONDS if self._up else TICK_SECONDS / 5)
        finally:
            self._end_gracefully()

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        if number == signal.SIGQUIT:  # what whoever started us sends by dying
            self.grace_seconds = 0.0

    # -- the cluster ------------------------------------------------------------------------------------------------
    def _spawn(self) -> None:
        self._tag = secrets.token_hex(4)
        environment = os.environ | {"Q_CLUSTER_NAME": self.queue, TAG_VARIABLE: self._tag}
        self._cluster = subprocess.Popen(
            [sys.executable, "-m", "edge_ai.worker.cluster"],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=functools.partial(end_with, os.getpid(), signal.SIGKILL),
        )
        self.restarts += 1
        self._spawned_at = time.monotonic()
        self._was_up = self._up = False
        self._missing_since = self._stuck_since = None

    def _kill(self, reason: str) -> None:
        """End the cluster for certain; the next round begins another."""
        log.warning("The %s cluster is restarted: %s", self.queue, reason)
        self._end_session()
        lived = time.monotonic() - self._spawned_at
        self._pause = 0.5 if lived > SETTLED_SECONDS else min(MAX_PAUSE_SECONDS, self._pause * 2)
        self._spawn_not_before = time.monotonic() + (0.0 if lived > SETTLED_SECONDS else self._pause)

    def _end_session(self) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        cluster.kill()
        # Its processes end with it. The session is gone through for what may have slipped out from under it.
        deadline = time.monotonic() + ENDING_SECONDS
        while True:
            kill_session(cluster.pid)
            cluster.wait()
            if not any(member.alive for member in self._seen) or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        self._cluster = None
        self._was_up = self._up = False
        self._follow(frozenset())

    def _end_gracefully(self) -> None:
        """Let running jobs go on until the grace ends, then return what is left of them to the queue."""
        with self._database(), acting_as_system():
            Cluster.objects.filter(host=socket.gethostname(), queue=self.queue, pid=os.getpid()).delete()
        cluster = self._cluster
        began = time.monotonic()
        if cluster is not None and self.grace_seconds > 0:
            # To the main process only: a signal to the whole group hangs the cluster.
            with contextlib.suppress(ProcessLookupError):
                cluster.send_signal(signal.SIGTERM)
            while cluster.poll() is None and time.monotonic() - began < self.grace_seconds:
                self._follow(members(cluster.pid))
                time.sleep(0.1)
        self._end_session()
        with self._database():
            for schema in complete_schemas():
                with workspace_as_system(schema):
                    if returned := rescue.give_back(self._dead):
                        log.info("%s: %d jobs were returned to the queue.", schema, returned)

    # -- watching ---------------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        self._watch_processes()
        with self._database():
            self._mind_the_database()
            self._report()
            self._watch_work(self._look_at_webhooks() if self.queue == WEBHOOKS else self._look())
            self._keep_house()

    @contextlib.contextmanager
    def _database(self) -> Iterator[None]:
        """Try something with the database; when it is away, say so once and go on without."""
        try:
            yield
        except (DatabaseError, InterfaceError) as error:
            if not self._database_away:
                log.warning("The database does not answer: %s", str(error).strip()[:200])
            self._database_away = True
            connection.close()
        else:
            if self._database_away:
                log.warning("The database answers again.")
            self._database_away = False
        finally:
            current().reset_to_public()

    def _mind_the_database(self) -> None:
        """Start the embedded server, or the process that stops it in the end, should somebody have killed it."""
        if not settings.EMBEDDED_DATABASE or time.monotonic() < self._next_ensure:
            return
        self._next_ensure = time.monotonic() + DATABASE_SECONDS
        try:
            ensure(settings.EMBEDDED_DATA_DIR, fast=settings.EMBEDDED_FAST)
        except EmbeddedPostgresError as error:
            raise OperationalError(str(error)) from error

    def _watch_processes(self) -> None:
        """Restart a cluster that exited, or lacks a part for longer than it takes to replace it."""
        cluster = self._cluster
        if cluster is None:
            if time.monotonic() >= self._spawn_not_before:
                self._spawn()
            return
        if cluster.poll() is not None:
            self._kill(f"it exited with {cluster.returncode}")
            return
        found = members(cluster.pid)
        self._follow(found)
        count = Counter(member.role for member in found)
        wanted = dict.fromkeys(Role, 1) | {Role.WORKER: self.workers}
        missing = [role for role in Role if count[role] < wanted[role]]
        self._up = not missing
        if self._up:
            self._was_up = True
            self._missing_since = None
            return
        now = time.monotonic()
        self._missing_since = self._missing_since or now
        if now - self._missing_since > (MISSING_SECONDS if self._was_up else STARTING_SECONDS):
            self._kill(f"nothing has replaced its {missing[0].removeprefix('studio-')}")

    def _follow(self, found: frozenset[Process]) -> None:
        """Take note of the workers that are there no more."""
        before, until = self._seen, time.monotonic() + RESCUE_SECONDS
        # Who is not below the cluster any more may live on for a moment.
        self._seen = found | {member for member in self._seen - found if member.alive}
        for member in before - self._seen:
            if member.role is Role.WORKER:
                self._dead[name_of_worker(member.pid, self._tag)] = until

    def _look(self) -> Look:
        """Rescue jobs in every workspace, and see how this queue's are doing."""
        overdue = running = 0
        dead = list(self._dead)
        mine = [name_of_worker(member.pid, self._tag) for member in self._seen if member.role is Role.WORKER]
        for schema in complete_schemas():
            with workspace_as_system(schema):
                if taken := rescue.take_from(dead):
                    log.warning("%s: %d jobs were taken from workers that died.", schema, taken)
                if expired := reap().expired:
                    log.warning("%s: %d jobs were taken from silent workers.", schema, expired)
                counts = Job.objects.filter(queue=self.queue).aggregate(
                    overdue=Count("pk", filter=Q(status=JobStatus.QUEUED, run_after__lt=ClockTimestamp() - OVERDUE)),
                    running=Count("pk", filter=Q(status=JobStatus.RUNNING)),
                    mine=Count("pk", filter=Q(status=JobStatus.RUNNING, worker__in=mine)),
                )
                running += counts["mine"]
                overdue += counts["overdue"] if not counts["running"] else 0
        now = time.monotonic()
        self._dead = {name: until for name, until in self._dead.items() if until > now}
        return Look(overdue=overdue, running=running)

    def _look_at_webhooks(self) -> Look:
        """Find deliveries that are due, and see how those that are due for long are doing."""
        sweep_everywhere()
        overdue = sending = 0
        for schema in complete_schemas():
            late, busy = backlog(schema)
            overdue, sending = overdue + late, sending + busy
        # Deliveries to an endpoint that fails wait for one another, so one that is on its way is enough of a sign.
        return Look(overdue=overdue, running=self.workers if sending else 0)

    def _watch_work(self, look: Look) -> None:
        """Restart a cluster that leaves work lying while it has workers to spare."""
        if not self._up or not look.overdue or look.running >= self.workers:
            self._stuck_since = None
            return
        now = time.monotonic()
        self._stuck_since = self._stuck_since or now
        if now - self._stuck_since > self.wedge_seconds:
            self._kill(f"{look.overdue} jobs wait and it runs {look.running}")

    def _report(self) -> None:
        with acting_as_system():
            Cluster.objects.update_or_create(
                host=socket.gethostname(),
                queue=self.queue,
                pid=os.getpid(),
                defaults={
                    "workers": self.workers,
                    # A part that was just recycled is not missed yet.
                    "ready": self._was_up,
                    "restarts": self.restarts,
                    "seen_at": ClockTimestamp(),
                    **self._sandbox,
                },
            )
            Cluster.objects.filter(
                host=socket.gethostname(), queue=self.queue, seen_at__lt=ClockTimestamp() - 20 * ALIVE
            ).delete()

    def _keep_house(self) -> None:
        """Now and then, remove what nobody on this host will ask for again. What all hosts share goes by schedule."""
        if time.monotonic() < self._next_clear:
            return
        self._next_clear = time.monotonic() + HOUSEKEEPING_SECONDS
        tidy()
        expire_uploads()
        for schema in complete_schemas():
            clear_leftovers(settings.WORK_DIR, schema)
