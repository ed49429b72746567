"""The doctor: each part well, and each part's trouble told in words and figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.db import OperationalError

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai import storage
from edge_ai.fleet.models import ALIVE, Cluster
from edge_ai.models import Job
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import doctor, schemas
from edge_ai.services.doctor import Finding, State, examine
from tests.conftest import inside_as_system
from tests.edge_ai import factories


@pytest.fixture(autouse=True)
def _no_clusters(db: None) -> Iterator[None]:
    with acting_as_system():
        Cluster.objects.all().delete()
    yield


def cluster(queue: str, *, silent: timedelta = timedelta(0), **fields: Any) -> None:
    """A supervisor's last word."""
    with acting_as_system():
        defaults: dict[str, Any] = {"host": "h", "pid": 1, "workers": 2, "ready": True, "sandbox_level": "strong"}
        made = Cluster.objects.create(queue=queue, **(defaults | fields))
        Cluster.objects.filter(pk=made.pk).update(seen_at=ClockTimestamp() - silent)


def found() -> dict[str, Finding]:
    """Every finding by its name."""
    return {finding.check: finding for finding in examine()}


def printed(*arguments: str) -> tuple[int, str]:
    """Run the command; returns its exit status and what it printed."""
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_a_studio_that_is_well(alpha: Workspace) -> None:
    for queue in ("studio", "benchmark"):
        cluster(queue)
    findings = found()
    bad = {name: finding for name, finding in findings.items() if finding.state is not State.OK}
    assert not bad
    assert {"database", "roles", "migrations", "clock", "storage", "disk", "converters", "leftovers"} <= set(findings)
    status, text = printed()
    assert status == 0
    assert "queue studio" in text and "2 live workers" in text
    status, text = printed("--json")
    body = json.loads(text)
    assert (status, body["status"]) == (0, "ok")
    assert {"check", "state", "detail", "facts"} == set(body["findings"][0])


def test_a_queue_without_a_live_worker_is_an_error_and_what_waits_is_counted(owner: User, alpha: Workspace) -> None:
    cluster("studio", silent=ALIVE + timedelta(seconds=1))
    with inside_as_system(alpha):
        job = factories.make_optimization(owner)
        later = factories.make_optimization(owner)
        Job.objects.filter(pk=job.pk).update(run_after=ClockTimestamp() - timedelta(seconds=70))
        Job.objects.filter(pk=later.pk).update(run_after=ClockTimestamp() + timedelta(seconds=70))
    line = found()["queue studio"]
    assert line.state is State.ERROR
    assert (line.facts["live_workers"], line.facts["waiting"]) == (0, 1)
    assert 70 <= line.facts["oldest_waiting_seconds"] < 130
    assert "supervise studio" in line.detail
    status, text = printed()
    assert status == 1 and "ERROR" in text
    assert json.loads(printed("--json")[1])["status"] == "error"


def test_work_that_lies_about_while_workers_are_free_is_told(owner: User, alpha: Workspace) -> None:
    cluster("studio", restarts=3)
    with inside_as_system(alpha):
        waits, silent = factories.make_optimization(owner), factories.make_optimization(owner)
        assert Job.objects.claim(silent.pk, worker="w", lease=timedelta(seconds=-1))
        Job.objects.filter(pk=waits.pk).update(run_after=ClockTimestamp() - timedelta(hours=1))
    line = found()["queue studio"]
    assert line.state is State.WARNING
    assert (line.facts["stuck"], line.facts["past_lease"], line.facts["restarts"]) == (True, 1, 3)


@pytest.mark.parametrize(
    ("level", "state"), [("none", State.ERROR), ("partial", State.WARNING), ("", State.WARNING), ("standard", State.OK)]
)
def test_the_weakest_sandbox_of_a_host_is_told(level: str, state: State) -> None:
    cluster("studio", host="one")
    cluster("benchmark", host="two", sandbox_level=level)
    assert found()["sandbox one"].facts == {"level": "strong"}
    assert found()["sandbox two"].state is state


def test_a_database_that_does_not_answer_leaves_the_rest_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(statement: str) -> tuple[Any, ...]:
        raise OperationalError("connection refused")

    monkeypatch.setattr(doctor, "_query", refuse)
    findings = found()
    assert findings["database"].state is State.ERROR and "connection refused" in findings["database"].detail
    assert set(findings) == {"database", "storage", "disk", "converters"}


def test_a_role_with_too_much_power_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, word in ((("root", True, 0), "superuser"), (("owner", False, 9), "owns 9 tables")):
        monkeypatch.setattr(doctor, "_query", lambda *_, answer=answer: answer)
        (finding,) = doctor._roles()
        assert finding.state is State.ERROR and word in finding.detail


def test_a_migration_that_was_not_applied_is_told(monkeypatch: pytest.MonkeyPatch, alpha: Workspace) -> None:
    wanted = schemas.wanted_migrations

    def newer(labels: tuple[str, ...]) -> frozenset[tuple[str, str]]:
        return wanted(labels) | ({("fleet", "9999_to_come")} if "fleet" in labels else set())

    monkeypatch.setattr(schemas, "wanted_migrations", newer)
    finding = found()["migrations"]
    assert finding.state is State.ERROR and finding.facts["missing"] == ["fleet.9999_to_come"]


def test_a_storage_that_refuses_and_a_full_disk_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setattr(storage, "backend", lambda: FileSystemStorage(location=tmp_path / "file"))
    usage = SimpleNamespace(free=10_000_000, total=10**12)
    monkeypatch.setattr(doctor, "shutil", SimpleNamespace(disk_usage=lambda _: usage))
    findings = found()
    assert findings["storage"].state is State.ERROR
    assert findings["disk"].state is State.ERROR and "largest upload" in findings["disk"].detail


def test_a_storage_that_lacks_a_setting_is_told_by_its_name(settings: Any) -> None:
    settings.STORAGE_BACKEND = "s3"
    finding = found()["storage"]
    assert finding.state is State.ERROR
    assert finding.detail == (
        "The storage s3 cannot be used: S3_BUCKET is not set. Set S3_BUCKET; docs/self-hosting.md says what each storage needs."
    )


def test_a_clock_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(doctor, "time", SimpleNamespace(time=lambda: now + 3 * 86_400))
    finding = found()["clock"]
    assert finding.state is State.WARNING
    assert finding.facts["skew_seconds"] == pytest.approx(3 * 86_400, abs=60)
