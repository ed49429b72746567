"""Supervisors, clusters and `manage.py run` under fire: what is killed comes back, and what it did is done once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edge_ai.sample import ONNX_MODEL
from edge_ai.worker.family import Process, Role, members
from tests.chaos.client import Client, ended
from tests.chaos.facts import Facts, violations
from tests.chaos.victims import Anatomy, Kind, command, postgres, relatives
from tests.studio import ROOT, RealStudio, environment_of, reachable_folder, start_studio

pytestmark = pytest.mark.worker
#: What is to end “within a few seconds”, on a machine with much else to do.
SOON_S = 15


class Bench:
    """A studio with a model that jobs can be made of."""

    def __init__(self, studio: RealStudio) -> None:
        self.studio = studio
        self.client = Client(base=studio.base, api_key=studio.api_key)
        made = self.client.upload("models/", "digits.onnx", ONNX_MODEL.read_bytes(), name="digits")
        ready = self.client.wait(f"models/{made['id']}/", until=lambda row: row["status"] == "ready", seconds=90)
        self.model = ready["id"]
        self.device = self.client.get("device-profiles/?page_size=200")["results"][0]["id"]

    def benchmark(self, seconds: float) -> str:
        """Submit a benchmark that runs so long; returns its path."""
        made = self.client.post(
            "benchmarks/",
            **{"model": self.model, "device_profile": self.device, "threads": 1, "warmup": 1},
            **{"min_seconds": seconds, "max_seconds": seconds},
        )
        return f"benchmarks/{made['id']}/"

    def began(self, path: str) -> list[dict[str, Any]]:
        """Return when attempts at a job began."""
        return [event for event in self.story(path) if " began on " in event["message"]]

    def story(self, path: str) -> list[dict[str, Any]]:
        """Return the events of a job."""
        rows: list[dict[str, Any]] = self.client.get(path + "events/?page_size=500")["results"]
        return rows

    def end(self, path: str, seconds: float = 90) -> dict[str, Any]:
        """Wait for the end of a job."""
        return self.client.wait(path, until=ended, seconds=seconds)

    def engine(self) -> Process:
        """Wait until an engine runs."""
        return self.one(Kind.ENGINE)

    def one(self, kind: Kind, which: Callable[[Process], bool] = lambda _: True) -> Process:
        """Wait until there is a process of a kind."""
        deadline = time.monotonic() + 60
        while not (found := [process for process in Anatomy(self.studio).of(kind) if which(process)]):
            assert time.monotonic() < deadline, f"no {kind}"
            time.sleep(0.05)
        return found[0]

    def supervisor(self, queue: str) -> Process:
        """Return the supervisor of a queue."""
        return self.one(Kind.SUPERVISOR, lambda process: queue in command(process.pid))

    def cluster(self, queue: str) -> Process:
        """Return the main process of a queue's cluster."""
        supervisor = self.supervisor(queue)
        return self.one(Kind.CLUSTER, lambda process: process.parent == supervisor.pid)


@pytest.fixture(scope="module")
def bench(studio: RealStudio) -> Bench:
    """The session's studio."""
    return Bench(studio)


def gone_soon(processes: set[Process], what: str) -> None:
    """Expect processes to end."""
    deadline = time.monotonic() + SOON_S
    while left := [process for process in processes if process.alive]:
        assert time.monotonic() < deadline, f"{what}: {left}"
        time.sleep(0.05)


def moment(row: dict[str, Any]) -> datetime:
    """When something was written, by the database's clock."""
    return datetime.fromisoformat(row["created_at"])


def test_an_idle_worker_that_is_killed_takes_nothing_along(bench: Bench) -> None:
    cluster = bench.cluster("benchmark")
    for _ in range(2):
        worker = next(member for member in members(cluster.pid) if member.role is Role.WORKER)
        os.kill(worker.pid, signal.SIGKILL)
        assert bench.end(bench.benchmark(0.2))["status"] == "completed"
    assert bench.cluster("benchmark") == cluster, "nothing had to be restarted"


@pytest.mark.parametrize("kind", [Kind.SENTINEL, Kind.SUPERVISOR])
def test_with_a_process_go_all_below_it_and_another_takes_its_place(bench: Bench, kind: Kind) -> None:
    path = bench.benchmark(3)
    engine = bench.engine()
    supervisor, cluster = bench.supervisor("benchmark"), bench.cluster("benchmark")
    family = members(cluster.pid)
    sentinel = next(member.pid for member in family if member.role is Role.SENTINEL)
    os.kill(sentinel if kind is Kind.SENTINEL else supervisor.pid, signal.SIGKILL)
    gone_soon({engine, *family}, f"orphans of the {kind}")
    row = bench.end(path)
    assert (row["status"], row["attempt"]) == ("completed", 2)
    assert bench.cluster("benchmark") != cluster


def test_a_sentinel_that_hangs_is_found_by_what_it_does_not_replace(bench: Bench) -> None:
    cluster = bench.cluster("benchmark")
    family = members(cluster.pid)
    sentinel, pusher = (
        next(member.pid for member in family if member.role is role) for role in (Role.SENTINEL, Role.PUSHER)
    )
    os.kill(sentinel, signal.SIGSTOP)
    os.kill(pusher, signal.SIGKILL)
    assert bench.end(bench.benchmark(0.2), seconds=60)["status"] == "completed"
    gone_soon(set(family), "left of the cluster that hung")


def test_a_stopped_supervisor_lets_a_short_job_end_and_returns_a_long_one(bench: Bench) -> None:
    supervisor = bench.supervisor("benchmark")
    short = bench.benchmark(1)
    bench.engine()
    os.kill(supervisor.pid, signal.SIGTERM)
    row = bench.end(short)
    gone_soon({supervisor}, "it was told to leave when its job is done")
    assert (row["status"], row["attempt"], len(bench.began(short))) == ("completed", 1, 1)

    supervisor = bench.supervisor("benchmark")
    long = bench.benchmark(5)
    engine = bench.engine()
    os.kill(supervisor.pid, signal.SIGQUIT)
    gone_soon({supervisor, engine}, "it was told to leave at once")
    row = bench.end(long)
    assert (row["status"], row["attempt"]) == ("completed", 1), "the attempt that was cut short does not count"
    assert len(bench.began(long)) == 2
    returned = next(event for event in bench.story(long) if "does not count" in event["message"])
    assert (moment(returned) - moment(bench.began(long)[0])).total_seconds() < 5 + SOON_S


def test_a_message_that_comes_ten_times_makes_one_result(bench: Bench) -> None:
    made = bench.client.post(
        "optimization-jobs/",
        **{"model": bench.model, "device_profile": bench.device, "target_format": "onnx", "precision": "fp16"},
    )
    send = (
        "import sys, uuid, django; django.setup()\n"
        "from config.database.identity import workspace_as_system\n"
        "from edge_ai.services.queue import send\n"
        "with workspace_as_system('ws_demo'):\n"
        "    for _ in range(10): send(uuid.UUID(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", send, made["id"]],
        cwd=ROOT,
        env=environment_of(bench.studio.data_dir) | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        check=True,
        timeout=60,
    )
    path = f"optimization-jobs/{made['id']}/"
    assert bench.end(path)["status"] == "completed"
    assert bench.end(bench.benchmark(0.2))["status"] == "completed"
    assert len(bench.began(path)) == 1
    variants = bench.client.get(f"models/?parent={bench.model}&page_size=200")["results"]
    assert [variant["producer"] for variant in variants].count(made["id"]) == 1


def test_the_doctor_finds_a_working_studio_well(bench: Bench) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT,
        env=environment_of(bench.studio.data_dir),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["queue studio"]["facts"]["live_workers"] == 2
    assert found["queue benchmark"]["facts"]["live_workers"] == 1
    facts = found["migrations"]["facts"]  # tests before this one have made workspaces
    assert facts["missing"] == [] and facts["workspaces"] == facts["complete_workspaces"] >= 1
    assert found["database"]["facts"]["embedded"] is True
    assert abs(found["clock"]["facts"]["skew_seconds"]) < 60


def test_the_chaos_test_would_see_what_must_not_be(bench: Bench) -> None:
    facts = Facts(bench.studio, ["ws_demo"])
    path = bench.benchmark(0.2)
    assert bench.end(path)["status"] == "completed"
    job = path.split("/")[1]
    before = set(violations(facts, bench.studio, [job]))
    assert not any(job in line for line in before)
    facts.ask(
        "INSERT INTO edge_ai_jobevent (job_id, kind, level, attempt, stage, message)"
        f" VALUES ('{job}', 'status', 'info', 1, 'completed', 'Completed.') RETURNING id"
    )
    facts.ask(f"UPDATE edge_ai_benchmarkrun SET samples_blob_id = NULL WHERE job_ptr_id = '{job}' RETURNING 1 AS one")
    lost = str(uuid.uuid4())
    seen = "\n".join(set(violations(facts, bench.studio, [job, lost])) - before)
    for words in ("has 2 times instead of 1", "has 0 blobs instead of 1", f"job {lost} was acknowledged and is gone"):
        assert words in seen


def await_end(folder: Path, studio: RealStudio) -> None:
    """Expect that nothing of a studio is left."""
    deadline = time.monotonic() + 2 * SOON_S
    while left := [*relatives(folder), *postgres(studio)]:
        assert time.monotonic() < deadline, [f"{process} {command(process.pid)}" for process in left]
        time.sleep(0.1)


def test_a_job_survives_the_death_of_everything() -> None:
    with reachable_folder() as folder:
        with start_studio(folder, STUDIO_EMBEDDED_FAST="yes") as studio:
            bench = Bench(studio)
            path = bench.benchmark(2)
            bench.engine()
            victims = [*relatives(studio.data_dir), *postgres(studio)]
            assert len(victims) > 20
            for number in (signal.SIGSTOP, signal.SIGKILL):  # so that none sees another die
                for process in victims:
                    # Some come and go by themselves: what is asked once, and what answers.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, number)
            await_end(studio.data_dir, studio)
        with start_studio(folder, STUDIO_EMBEDDED_FAST="yes") as studio:
            bench.studio, bench.client = studio, Client(base=studio.base, api_key=studio.api_key)
            row = bench.end(path)
            assert (row["status"], row["attempt"]) == ("completed", 2), row["error"]
            assert row["result"]["latency_ms"]["p50"] > 0

            bench.benchmark(60)
            bench.engine()
            # The database stays for those who may come back at once.
            family = set(relatives(studio.data_dir)) - {
                process for process in relatives(studio.data_dir) if "config.embedded_postgres" in command(process.pid)
            }
            os.kill(studio.pid, signal.SIGKILL)
            gone_soon(family - set(postgres(studio)), "orphans of `run`")
            await_end(studio.data_dir, studio)
