"""What a supervisor makes of what it sees. Its work on real processes is tested in `test_supervision`."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Cluster
from edge_ai.models import Job
from edge_ai.models.base import ClockTimestamp
from edge_ai.worker import supervisor as module
from edge_ai.worker.babysitter import name_of_worker
from edge_ai.worker.family import Process, Role, look_at
from edge_ai.worker.supervisor import OVERDUE, Look, Supervisor
from tests.conftest import inside_as_system
from tests.edge_ai import factories

LEASE = timedelta(seconds=30)


@pytest.fixture
def supervisor(db: None) -> Supervisor:
    """A supervisor whose cluster is up, with two workers."""
    found = Supervisor("studio", grace_seconds=1)
    found.workers = 2
    found._tag = "0a"
    found.restarts = 0
    found._up = found._was_up = True
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time since the machine started, as the test sets it."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])  # type: ignore[attr-defined]  # its own import
    return now


def waits(owner: User, since: timedelta) -> Job:
    """A job that has been due for some time."""
    job = factories.make_optimization(owner)
    Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp() - since, enqueued_at=ClockTimestamp())
    return Job.objects.get(pk=job.pk)


def test_jobs_that_lie_about_are_counted_where_no_limit_explains_it(
    supervisor: Supervisor, owner: User, outsider: User, alpha: Workspace, beta: Workspace
) -> None:
    worker = Process(pid=7, started=1, name=Role.WORKER, parent=1, session=1)
    supervisor._seen = frozenset({worker})
    with inside_as_system(alpha):
        waits(owner, OVERDUE + timedelta(seconds=5))
        waits(owner, timedelta(0))
    assert supervisor._look() == Look(overdue=1, running=0)
    with inside_as_system(alpha):
        running = waits(owner, timedelta(0))
        assert Job.objects.claim(running.pk, worker=name_of_worker(7, "0a"), lease=LEASE)
    with inside_as_system(beta):
        waits(outsider, OVERDUE + timedelta(seconds=5))
    assert supervisor._look() == Look(overdue=1, running=1), "alpha may be held back by how many it may run"


def test_a_cluster_that_leaves_work_lying_is_restarted_and_no_other(
    supervisor: Supervisor, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(supervisor, "_kill", reasons.append)
    for look in (Look(overdue=1, running=2), Look(overdue=0, running=0)):
        for _ in range(3):
            supervisor._watch_work(look)
            clock[0] += supervisor.wedge_seconds
    assert not reasons
    supervisor._watch_work(Look(overdue=3, running=1))
    clock[0] += supervisor.wedge_seconds - 1
    supervisor._watch_work(Look(overdue=3, running=1))
    assert not reasons
    clock[0] += 2
    supervisor._watch_work(Look(overdue=3, running=1))
    assert reasons == ["3 jobs wait and it runs 1"]


def test_a_worker_counts_as_dead_only_when_it_is(supervisor: Supervisor) -> None:
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = look_at(living.pid)
        assert found is not None
        worker = Process(pid=found.pid, started=found.started, name=Role.WORKER, parent=1, session=1)
        supervisor._follow(frozenset({worker}))
        supervisor._follow(frozenset())
        assert not supervisor._dead, "it is not below the cluster any more, and lives"
    finally:
        living.kill()
        living.wait()
    supervisor._follow(frozenset())
    assert list(supervisor._dead) == [f"{socket.gethostname()}:{living.pid}:0a"]


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("connection already closed")])
def test_a_database_that_is_away_is_said_once_and_lived_without(
    supervisor: Supervisor, error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The engine, where a test ran it in this process, has switched warnings off.
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("edge_ai.worker.supervisor.connection.close", lambda: None)
    for _ in range(3):
        with supervisor._database():
            raise error
    with supervisor._database():
        pass
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "The database does not answer",
        "The database answers again.",
    ]


def test_it_says_that_it_is_ready_while_a_part_is_replaced(supervisor: Supervisor) -> None:
    supervisor._up = False
    supervisor._report()
    with acting_as_system():
        row: Any = Cluster.objects.get(host=socket.gethostname(), queue="studio")
    assert row.ready
    supervisor._was_up = False
    supervisor._report()
    row.refresh_from_db()
    assert not row.ready
