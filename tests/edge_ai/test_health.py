"""Is the studio able to work?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from config.database.identity import acting_as_system
from edge_ai.fleet.models import ALIVE, Cluster, Ticket
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.health import check_health, weakest
from tests.studio import ROOT, free_port


@pytest.fixture(autouse=True)
def _no_clusters(db: None) -> Iterator[None]:
    with acting_as_system():
        Cluster.objects.all().delete()
    yield


def cluster(
    queue: str, *, ready: bool = True, silent: timedelta = timedelta(0), host: str = "h", level: str = ""
) -> None:
    """A supervisor's last word."""
    with acting_as_system():
        made = Cluster.objects.create(host=host, queue=queue, pid=1, workers=1, ready=ready, sandbox_level=level)
        Cluster.objects.filter(pk=made.pk).update(seen_at=ClockTimestamp() - silent)


def test_without_workers_nothing_is_ready_and_each_queue_is_named() -> None:
    answer = Client().get("/health/")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["status"], body["database"], body["queues"]) == (
        "not_ready",
        True,
        {"studio": False, "benchmark": False, "webhook": False},
    )
    assert len(body["missing"]) == 3
    assert "no-cache" in answer["Cache-Control"]


def test_with_a_live_worker_on_each_queue_it_is_ready() -> None:
    cluster("studio")
    cluster("webhook")
    assert check_health().missing == ("no live worker serves the benchmark queue",)
    cluster("benchmark")
    answer = Client().get("/health/")
    assert (answer.status_code, answer.json()["status"], answer.json()["missing"]) == (200, "ok", [])


def test_the_dead_and_the_unborn_do_not_count() -> None:
    cluster("studio", silent=ALIVE + timedelta(seconds=1))
    cluster("benchmark", ready=False)
    assert check_health().queues == {"studio": False, "benchmark": False, "webhook": False}


def ticket(queue: str, *, due_ago_s: float, taken: bool = False) -> None:
    """A job's place in line."""
    with acting_as_system():
        made = Ticket.objects.create(job_id=uuid.uuid4(), schema_name="ws_alpha", queue=queue)
        Ticket.objects.filter(pk=made.pk).update(
            due_at=ClockTimestamp() - timedelta(seconds=due_ago_s),
            taken_until=ClockTimestamp() + timedelta(seconds=60) if taken else None,
        )


def test_how_long_the_oldest_job_waits_is_told_for_each_queue() -> None:
    with acting_as_system():
        Ticket.objects.all().delete()
    assert Client().get("/health/").json()["oldest_waiting_seconds"] == {"studio": None, "benchmark": None}
    ticket("studio", due_ago_s=500, taken=True)
    ticket("studio", due_ago_s=90)
    ticket("studio", due_ago_s=10)
    ticket("benchmark", due_ago_s=-60)
    waiting = Client().get("/health/").json()["oldest_waiting_seconds"]
    assert 90 <= waiting["studio"] < 150
    assert waiting["benchmark"] is None


def test_the_weakest_sandbox_of_each_queue_is_told() -> None:
    cluster("studio", host="one", level="strong")
    cluster("studio", host="two", level="standard")
    assert Client().get("/health/").json()["sandbox"] == {"studio": "standard", "benchmark": None}
    assert weakest(["strong", "", "none"]) == "none"
    assert weakest(["strong", "something new"]) == "something new"
    assert weakest(["", ""]) is None


def test_it_says_no_names_and_asks_the_database_little(django_assert_max_num_queries: Any) -> None:
    cluster("studio", host="secret-host", level="strong")
    ticket("studio", due_ago_s=1)
    with django_assert_max_num_queries(5):  # two, and the identity set and reset around them
        answer = Client().get("/health/")
    assert "secret-host" not in answer.content.decode() and "ws_alpha" not in answer.content.decode()


def test_it_needs_no_workspace_and_no_identity_and_takes_no_other_method() -> None:
    assert (
        Client().get("/health/", headers={"host": "nowhere.localhost", "X-Tenant-ID": "no-such-place"}).status_code
        == 503
    )
    assert Client().post("/health/").status_code == 405


def test_a_database_that_does_not_answer_is_said(tmp_path: Path) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "answer = Client(headers={'host': 'localhost'}).get('/health/')\n"
        "print(answer.status_code, answer.content.decode())"
    )
    nowhere = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgresql://studio_web:hidden@127.0.0.1:{free_port()}/studio",
        "SECRET_KEY": "x" * 60,
        "STUDIO_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    status, _, body = done.stdout.partition(" ")
    assert status == "503"
    found = json.loads(body)
    assert (found["database"], found["status"]) == (False, "not_ready")
    assert found["missing"] == ["the database does not answer or is not set up"]
    assert "hidden" not in done.stdout + done.stderr
