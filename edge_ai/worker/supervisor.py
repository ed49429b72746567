"""Keeping one queue cluster alive: restart it when it exits or is wedged, reap jobs, say that it lives.

django-q2's cluster exits with 0 when its sentinel is killed, leaving orphans, and stands still for ever when a worker is
killed holding the queue's lock. So the cluster is a child in a session of its own, and whatever goes wrong, the whole
session is killed and begun anew. Any number of supervisors may run, on any number of hosts.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Count, Q

from accounts.models import Workspace
from config.database.identity import acting_as_system, current, workspace_as_system
from edge_ai.fleet.models import ALIVE, Cluster
from edge_ai.models import Job, JobStatus
from edge_ai.models.base import ClockTimestamp
from edge_ai.storage import sweep
from edge_ai.webhooks.outbox import prune
from edge_ai.worker.babysitter import clear_leftovers
from edge_ai.worker.reaper import reap
from edge_ai.worker.webhooks import backlog, sweep_everywhere

log = logging.getLogger(__name__)
TICK_SECONDS = 1.0
HOUSEKEEPING_SECONDS = 600.0
# What a cluster has besides its workers: sentinel, pusher, monitor.
HELPERS = 3
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Supervisor:
    """Watches one cluster."""

    def __init__(self, queue: str, *, grace_seconds: float) -> None:
        self.queue = queue
        self.grace_seconds = grace_seconds
        self.workers = {"studio": settings.STUDIO_WORKERS, "webhook": settings.WEBHOOK_WORKERS}.get(queue, 1)
        self.wedge_seconds = 3.0 * settings.JOB_LEASE_SECONDS
        self.restarts = -1
        self._stop = False
        self._stuck_since: float | None = None
        self._cluster: subprocess.Popen[bytes] | None = None
        self._next_clear = time.monotonic() + HOUSEKEEPING_SECONDS / 10
        self._up = False

    def run(self) -> None:
        """Watch until told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
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

    # -- the cluster ------------------------------------------------------------------------------------------------
    def _spawn(self) -> None:
        environment = dict(os.environ)
        if self.queue != settings.Q_CLUSTER["name"]:
            environment["Q_CLUSTER_NAME"] = self.queue
        self._cluster = subprocess.Popen(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster", "--skip-checks"],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self.restarts += 1
        self._stuck_since = None

    def _kill(self, reason: str) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        log.warning("The %s cluster is restarted: %s", self.queue, reason)
        self._kill_session(cluster)

    @staticmethod
    def _kill_session(cluster: subprocess.Popen[bytes]) -> None:
        # The session, not the tree: the orphans of a dead sentinel are no descendants any more. Engine children have
        # sessions of their own and die with the worker that started them.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == cluster.pid:
                    process.kill()
        cluster.wait()

    def _end_gracefully(self) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        # To the main process only: a signal to the whole group hangs the cluster.
        with contextlib.suppress(ProcessLookupError):
            cluster.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            cluster.wait(self.grace_seconds)
        self._kill_session(cluster)
        with contextlib.suppress(DatabaseError), acting_as_system():
            Cluster.objects.filter(host=socket.gethostname(), queue=self.queue, pid=os.getpid()).delete()

    # -- watching ---------------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        cluster = self._cluster
        if cluster is None or cluster.poll() is not None:
            self._kill(f"it exited with {cluster.returncode if cluster else 'nothing'}")
            self._spawn()
        try:
            self._report()
            self._watch(*(self._look_at_webhooks() if self.queue == "webhook" else self._look()))
            self._keep_house()
        except DatabaseError as error:
            log.warning("The database does not answer: %s", str(error).strip()[:200])
            connection.close()
        finally:
            current().reset_to_public()

    def _keep_house(self) -> None:
        """Now and then, remove what nobody will ask for again: blobs that no row means, work folders of dead attempts."""
        if time.monotonic() < self._next_clear:
            return
        self._next_clear = time.monotonic() + HOUSEKEEPING_SECONDS
        clear_leftovers(settings.WORK_DIR)
        for schema in self._schemas():
            with workspace_as_system(schema):
                if removed := sweep():
                    log.info("%s: %d blobs that nothing refers to were removed.", schema, removed)
                prune()

    @staticmethod
    def _schemas() -> list[str]:
        with acting_as_system():
            return list(Workspace.objects.exclude(schema_name="public").values_list("schema_name", flat=True))

    def _is_up(self) -> bool:
        if self._cluster is None:
            return False
        try:
            return len(psutil.Process(self._cluster.pid).children(recursive=True)) >= self.workers + HELPERS
        except psutil.Error:
            return False

    def _report(self) -> None:
        self._up = self._is_up()
        with acting_as_system():
            Cluster.objects.update_or_create(
                host=socket.gethostname(),
                queue=self.queue,
                pid=os.getpid(),
                defaults={
                    "workers": self.workers,
                    "ready": self._up,
                    "restarts": self.restarts,
                    "seen_at": ClockTimestamp(),
                },
            )
            Cluster.objects.filter(
                host=socket.gethostname(), queue=self.queue, seen_at__lt=ClockTimestamp() - 20 * ALIVE
            ).delete()

    def _look(self) -> tuple[int, int]:
        """Reap in every workspace; returns how many jobs of this queue are overdue, and how many run."""
        overdue = running = 0
        for schema in self._schemas():
            with workspace_as_system(schema):
                rescued = reap()
                if rescued.expired:
                    log.warning("%s: %d jobs were taken from silent workers.", schema, rescued.expired)
                counts = Job.objects.filter(queue=self.queue).aggregate(
                    overdue=Count("pk", filter=Q(status=JobStatus.QUEUED, run_after__lt=ClockTimestamp())),
                    running=Count("pk", filter=Q(status=JobStatus.RUNNING)),
                )
                overdue += counts["overdue"]
                running += counts["running"]
        return overdue, running

    def _look_at_webhooks(self) -> tuple[int, int]:
        """Find deliveries that are due; returns how many are overdue, and how many workers count as busy."""
        sweep_everywhere()
        overdue = sending = 0
        for schema in self._schemas():
            late, busy = backlog(schema)
            overdue, sending = overdue + late, sending + busy
        # Deliveries to an endpoint that fails wait for one another, so one that is on its way is enough of a sign.
        return overdue, self.workers if sending else 0

    def _watch(self, overdue: int, running: int) -> None:
        """Restart a cluster that leaves work lying while it has workers to spare."""
        if not overdue or running >= self.workers:
            self._stuck_since = None
            return
        now = time.monotonic()
        self._stuck_since = self._stuck_since or now
        if now - self._stuck_since > self.wedge_seconds:
            self._kill(f"{overdue} jobs wait and {running} run")
            self._spawn()
