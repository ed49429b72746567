"""Counting what people do: each event is provoked, others are refused, sums are right, and nothing leaves by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import invitations
from accounts.models import Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import Event, EventDay, Job, UsageEvent
from edge_ai.services import telemetry
from edge_ai.services.activity import activity
from edge_ai.services.jobs import cancel_job, retry_job, settle
from edge_ai.services.telemetry import EVENTS, roll_up_usage, track
from edge_ai.services.telemetry_export import export_usage
from edge_ai.services.usage import use_by_day
from tests.api.support import BASE, sample, send_json
from tests.conftest import PASSWORD, inside, inside_as_system
from tests.edge_ai import factories
from tests.receiver import answering, receiver
from tests.web.support import make_rows
from tests.web.test_sharing import share

Browser = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _none_before(alpha: Workspace, beta: Workspace) -> None:
    """That the workspaces were made has been counted."""
    for workspace in (alpha, beta):
        with inside_as_system(workspace):
            UsageEvent.objects.all().delete()


def counted(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """What was counted: the properties of each time, by event."""
    found: dict[str, list[dict[str, Any]]] = {}
    with inside_as_system(workspace):
        for each in UsageEvent.objects.order_by("at"):
            found.setdefault(each.event, []).append(each.properties)
    return found


def test_every_event_of_the_list_is_provoked(
    alpha: Workspace, owner: User, browser_of: Browser, script_of: Browser, settings: Any
) -> None:
    settings.SIGN_UP = "invite"
    rows = make_rows(alpha, owner)
    browser, script = browser_of(owner), script_of(owner)
    signed_in = Client()
    signed_in.post("/accounts/sign-in/", {"login": owner.email, "password": PASSWORD})
    assert script.post(f"{BASE}models/", {"file": sample("digits.tflite")}).status_code == 201
    assert script.post(f"{BASE}datasets/", {"file": sample("digits-eval.npz")}).status_code == 201
    for place in (
        "models/{}/download/",
        "datasets/{}/download/",
        "artifacts/{}/download/",
        "benchmarks/{}/samples/",
        "comparisons/{}/samples/",
    ):
        row = {"m": rows.model, "d": rows.dataset, "a": rows.artifact, "b": rows.benchmark, "c": rows.comparison}[
            place[0]
        ]
        assert browser.get("/" + place.format(row.pk)).status_code == 302
    shared = share(browser, comparison=str(rows.comparison.pk))
    assert Client().get(shared).status_code == 200
    signed_in.post("/accounts/confirm/", {"password": PASSWORD})
    keys = {"name": "a key", "scope": "read", "days": "30"}
    assert signed_in.post("/settings/api-keys/", keys).status_code == 200
    webhook = {"url": "https://hooks.example.com/studio", "events": ["model.ready"]}
    assert send_json(script, "post", "webhooks/", webhook).status_code == 201
    with inside(alpha, owner):
        host = str(factories.host_device().pk)
    asked = {"model": str(rows.model.pk), "device_profile": host, "target_format": "onnx", "precision": "fp16"}
    first = send_json(script, "post", "optimization-jobs/", asked).json()["id"]
    batch = {"models": [str(rows.model.pk)], "device_profiles": [host], "precisions": ["int8_dynamic"]}
    assert send_json(script, "post", "optimization-jobs/batch/", batch).status_code in {201, 202}
    with inside(alpha, owner):
        cancel_job(owner, job=Job.objects.get(pk=first))
        retry_job(owner, job=Job.objects.get(pk=first))
    with inside_as_system(alpha):
        settle(factories.make_benchmark(owner, status="completed").pk)
        settle(
            factories.make_benchmark(
                owner,
                status="failed",
                error={"code": "resource_limit", "detail": "x", "fix": "y"},
                finished_at=timezone.now(),
            ).pk
        )
    with acting_as_system():
        me = Membership.objects.get(user=owner)
    tokens: list[str] = []

    def link(token: str) -> str:
        tokens.append(token)
        return token

    invitations.invite(me, email="new@example.com", role=Role.MEMBER, link=link)
    invitations.accept_as_new(token=tokens[0], name="New", password=PASSWORD)
    telemetry.count_new_workspace(alpha, owner)
    found = counted(alpha)
    assert set(found) == {event.value for event in EVENTS} == set(Event.values)
    for event, times in found.items():
        for properties in times:
            assert set(properties) == set(EVENTS[Event(event)].properties), event
    assert {each["what"] for each in found["file.downloaded"]} == {"model", "dataset", "artifact", "samples"}
    assert found["job.failed"] == [{"kind": "benchmark", "code": "resource_limit"}]
    assert found["member.invited"] == [{"role": "member"}]
    told = json.dumps(found)
    for secret in (owner.email, "new@example.com", rows.model.name, "hooks.example.com", str(owner.pk)):
        assert secret not in told


@pytest.mark.parametrize(
    ("event", "properties"),
    [
        ("model.exploded", {}),
        ("Model uploaded", {}),
        (Event.MODEL_UPLOADED, {}),
        (Event.MODEL_UPLOADED, {"format": "onnx", "size_bytes": 1, "name": "secret"}),
        (Event.JOB_SUBMITTED, {"kind": "a text of somebody's"}),
        (Event.JOB_SUBMITTED, {"kind": "x" * 41}),
        (Event.JOB_SUBMITTED, {"kind": "a@example.com"}),
    ],
    ids=range(7),
)
def test_what_is_not_documented_is_refused(
    alpha: Workspace, owner: User, event: str, properties: dict[str, Any]
) -> None:
    with inside(alpha, owner), pytest.raises(ValueError):
        track(event, **properties)
    assert counted(alpha) == {}


def test_nothing_is_counted_outside_a_workspace(db: None) -> None:
    with pytest.raises(RuntimeError):
        track(Event.SIGNED_IN)


def test_members_read_sums_and_nobody_reads_single_events(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        track(Event.WEBHOOK_CREATED)
    with inside_as_system(alpha):
        assert roll_up_usage() == roll_up_usage() == 1
    for user in (owner, colleague):
        with inside(alpha, user):
            assert EventDay.objects.get().events == 1
            assert EventDay.objects.update(events=9) == 0
            with pytest.raises(DatabaseError), transaction.atomic():
                UsageEvent.objects.count()
            with pytest.raises(DatabaseError), transaction.atomic():
                EventDay.objects.create(day=timezone.now().date(), event="model.uploaded", events=9, people=1)
    with inside(alpha, None):
        assert not EventDay.objects.exists()


def test_days_are_added_up_and_single_events_go(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, settings: Any, browser_of: Browser
) -> None:
    today = timezone.now().date()
    with inside(alpha, owner):
        for _ in range(3):
            track(Event.FILE_DOWNLOADED, what="model")
        track(Event.MODEL_UPLOADED, format="onnx", size_bytes=5)
    with inside(beta, outsider):
        track(Event.FILE_DOWNLOADED, what="model")
    for workspace in (alpha, beta):
        with inside_as_system(workspace):
            roll_up_usage()
    with inside(alpha, owner):
        (day,) = activity(until=today, days=1)
        assert (day.uploaded, day.downloaded, day.shared, day.jobs) == (1, 3, 0, 0)
    (all_of_them,) = use_by_day(until=today, days=1)
    assert all_of_them.events["file.downloaded"] == 4
    assert all_of_them.workspaces == 2
    (one,) = use_by_day(until=today, days=1, slug="beta")
    assert one.events == {"file.downloaded": 1}
    page = browser_of(owner).get("/overview/").content.decode()
    assert "Shared links opened" in page and '"downloaded": 3' in page
    with acting_as_system():
        staff = User.objects.create_superuser("staff@example.com", PASSWORD)
    shown = browser_of(staff).get(reverse("admin:edge_ai_use")).content.decode()
    assert re.search(r"File downloaded</th>.*?>4</td>", shown), shown
    elsewhere = browser_of(staff).get(reverse("admin:edge_ai_use"), {"workspace": "nowhere"})
    assert "Nothing was counted" in elsewhere.content.decode()
    with inside_as_system(alpha):
        UsageEvent.objects.update(at=timezone.now() - timedelta(days=settings.TELEMETRY_DAYS + 1))
        roll_up_usage()
        assert not UsageEvent.objects.exists()
        assert EventDay.objects.count() == 2, "the sums stay"


def test_nothing_leaves_unless_it_is_told_where_to(
    alpha: Workspace, owner: User, settings: Any, tmp_path: Path
) -> None:
    with inside(alpha, owner):
        track(Event.MODEL_UPLOADED, format="onnx", size_bytes=5)
    with inside_as_system(alpha):
        assert export_usage() == 0
        settings.TELEMETRY_FILE = str(tmp_path / "events.jsonl")
        assert (export_usage(), export_usage()) == (1, 0)
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told["event"], told["workspace"]) == ("model.uploaded", "alpha")
    assert told["properties"] == {"format": "onnx", "size_bytes": 5}
    assert owner.email not in line and str(owner.pk) not in line
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o777 == 0o600


def test_an_address_gets_them_as_webhooks_are_sent(alpha: Workspace, owner: User, settings: Any) -> None:
    with inside(alpha, owner):
        track(Event.WEBHOOK_CREATED)
    settings.TELEMETRY_TOKEN = "of-the-operator"
    with receiver() as there:
        settings.TELEMETRY_URL = there.url
        with inside_as_system(alpha):
            # A private address is refused like a webhook's, and the event waits.
            assert export_usage() == 0
            settings.WEBHOOK_ALLOW_NETWORKS = (ip_network("127.0.0.0/8"),)
            there.behave = answering(500)
            assert export_usage() == 0
            there.behave = answering(204, b"")
            assert (export_usage(), export_usage()) == (1, 0)
        failed, sent = there.received
    assert failed.body == sent.body and json.loads(sent.body)["event"] == "webhook.created"
    assert sent.headers["authorization"] == "Bearer of-the-operator"
    assert sent.headers["content-type"] == "application/x-ndjson"


def test_the_list_is_written_from_the_code_and_no_more_is_called(db: None) -> None:
    page = (Path(django_settings.BASE_DIR) / "docs" / "telemetry-events.md").read_text()
    assert all(f"`{event.value}`" in page for event in EVENTS)
    called = set()
    for path in (Path(django_settings.BASE_DIR) / "edge_ai").rglob("*.py"):
        called |= set(re.findall(r"(?:track|usage_of)\(Event\.([A-Z_]+)", path.read_text()))
    assert called == {event.name for event in EVENTS}
