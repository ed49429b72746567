"""Quotas on the pages: usage with its history, the refusal at the form, and the warning before one submits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import caches
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import Job, JobTime, Model, UsageDay
from edge_ai.sample import ONNX_MODEL
from edge_ai.services import housekeeping
from edge_ai.services.standings import standing
from edge_ai.services.usage_history import usage_history
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories

Browser = Callable[[User], Client]
USAGE = "/settings/usage/"
API = "/api/edge/v1/"


def allow(workspace: Workspace, **limits: Any) -> None:
    """Give a workspace limits of its own."""
    with acting_as_system():
        Workspace.objects.filter(pk=workspace.pk).update(**limits)
    caches["memory"].clear()


def spent(minutes: float, *, days_ago: int = 0) -> None:
    """Write into the ledger that an attempt ran."""
    at = timezone.now() - timedelta(days=days_ago)
    JobTime.objects.create(
        job=uuid4(), kind="benchmark", attempt=1, outcome="completed", seconds=60 * minutes, began_at=at, ended_at=at
    )
    caches["memory"].clear()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a process remembers for its warnings is of no use to the next test."""
    yield
    caches["memory"].clear()


@pytest.fixture
def model(alpha: Workspace, owner: User) -> Model:
    """The owner's model."""
    with inside(alpha, owner):
        return factories.make_model(owner)


def test_every_member_sees_what_is_used_and_what_may_be(
    alpha: Workspace, owner: User, viewer: User, outsider: User, model: Model, browser_of: Browser, script_of: Any
) -> None:
    allow(alpha, max_models=10, max_job_minutes=20)
    with inside_as_system(alpha):
        JobTime.objects.all().delete()
        spent(19)
    answer = browser_of(viewer).get(USAGE)
    assert answer.status_code == 200
    rows = {row["limit"]: row["quota"] for row in answer.context["rows"]}
    assert (rows["models"].used, rows["models"].limit) == (1, 10)
    assert (rows["job_minutes"].used, rows["job_minutes"].is_nearly_gone) == (19, True)
    text = answer.content.decode()
    assert "nearly gone" in text and text.count("style=") == 0
    assert 'data-csv="days-minutes-chart"' in text and 'data-png="months-stored-chart"' in text
    today = answer.context["periods"][0][2][-1]
    assert (today.job_minutes, today.runs, today.models) == (19, 1, 1)

    told = script_of(viewer, scopes=["read"]).get(API + "usage/").json()
    limits = {each["name"]: each for each in told["limits"]}
    assert limits["models"] == {"name": "models", "used": 1.0, "reserved": 0.0, "limit": 10, "resets_at": None}
    assert limits["job_minutes"]["used"] == 19 and limits["job_minutes"]["resets_at"].endswith("01T00:00:00Z")
    assert (len(told["days"]), len(told["months"])) == (30, 12)
    assert told["days"][-1]["models"] == 1 and told["months"][-1]["job_minutes"] == 19
    me = script_of(owner).get(API + "me/").json()
    assert (me["quota"]["max_models"], me["quota"]["max_job_minutes"], me["quota"]["plan"]) == (10, 20, "Standard")
    assert me["usage"]["job_minutes"] == 19
    theirs = browser_of(outsider).get(USAGE).context["rows"]
    assert theirs[2]["quota"].used != 19, "another workspace's"


def test_history_goes_by_day_and_month_and_says_what_nobody_saw(alpha: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        JobTime.objects.all().delete()
        today = timezone.now().date()
        spent(3)
        spent(4)
        spent(5, days_ago=29)
        spent(6, days_ago=30)
        spent(50, days_ago=400)
        UsageDay.objects.all().delete()
        UsageDay.objects.create(day=today, model_count=2, stored_bytes=2_000)
        assert usage_history(until=today, now=standing()).days[-1].models == 0, "what it has now goes before"
        history = usage_history(until=today)
        assert [(each.job_minutes, each.runs) for each in (history.days[0], history.days[-1])] == [(5, 1), (7, 2)]
        assert (history.days[-1].models, history.days[-1].stored_bytes) == (2, 2_000)
        assert history.days[-2].stored_bytes is None
        assert sum(each.job_minutes for each in history.months) == 18
        housekeeping.roll_up()
        kept = UsageDay.objects.get(day=today)
        assert (kept.model_count, kept.stored_bytes) == (0, 0), "as the roll-up sees it"
        assert len({each.day for each in history.months}) == 12 and history.months[-1].day == today.replace(day=1)


@pytest.mark.parametrize("form", ["optimization-create", "benchmark-create"], ids=["optimize", "benchmark"])
def test_a_plan_warns_and_the_form_says_why_it_refuses(
    alpha: Workspace, owner: User, model: Model, browser_of: Browser, form: str
) -> None:
    browser = browser_of(owner)
    where = reverse(f"edge_ai:{form}", args=[model.pk])
    with inside(alpha, owner):
        sent = {"device_profile": str(factories.host_device().pk), "precision": "int8_dynamic", "target_format": "onnx"}
        sent |= {"optimization_level": "balanced", "priority": "1"}
    allow(alpha, max_job_minutes=0)
    planned = browser.post(where, sent | {"action": "plan"}, headers={"HX-Request": "true"}).content.decode()
    assert "This would be refused now. The workspace has 0 of 0 job minutes of this month" in planned
    refused = browser.post(where, sent | {"action": "submit"})
    assert refused.status_code == 402
    text = refused.content.decode()
    assert "Quota used up" in text and "ask the operator of the studio" in text
    with inside(alpha, owner):
        assert not Job.objects.exists()
    allow(alpha, max_job_minutes=None)
    assert "would be refused" not in browser.post(where, sent | {"action": "plan"}).content.decode()


def test_plans_of_several_jobs_count_them_all(
    alpha: Workspace, owner: User, model: Model, browser_of: Browser, script_of: Any
) -> None:
    allow(alpha, max_models=2)
    with inside(alpha, owner):
        host = str(factories.host_device().pk)
    sent = {"model": [str(model.pk)], "device_profile": [host], "precision": ["int8_dynamic", "fp16"]}
    sent |= {"optimization_level": ["balanced"], "priority": ["1"], "action": ["plan"]}
    text = browser_of(owner).post(reverse("edge_ai:batch-create"), sent).content.decode()
    assert "The workspace has 1 of 2 models" in text and "this needs 2 more" in text
    script = script_of(owner)
    asked = {
        "models": [str(model.pk)],
        "device_profiles": [host],
        "precisions": ["int8_dynamic", "fp16"],
        "dry_run": True,
    }
    (warning,) = script.post(API + "optimization-jobs/batch/", asked, content_type="application/json").json()[
        "warnings"
    ]
    assert warning["code"] == "quota_exceeded"
    one = {"model": str(model.pk), "device_profile": host, "dry_run": True}
    asked_one = one | {"precision": "int8_dynamic", "target_format": "onnx"}
    told = script.post(API + "optimization-jobs/", asked_one, content_type="application/json").json()
    assert "quota_exceeded" not in {each["code"] for each in told["warnings"]}, "one more fits"
    allow(alpha, max_open_jobs=0)
    told = script.post(API + "benchmarks/", one, content_type="application/json").json()
    assert "too_many_jobs" in {each["code"] for each in told["warnings"]}


def test_a_limit_that_is_nearly_gone_is_told(alpha: Workspace, owner: User, model: Model, browser_of: Browser) -> None:
    allow(alpha, max_job_minutes=10)
    with inside_as_system(alpha):
        JobTime.objects.all().delete()
        spent(9)
    text = browser_of(owner).get(reverse("edge_ai:benchmark-create", args=[model.pk])).content.decode()
    assert "The workspace has 9 of 10 job minutes of this month" in text and "would be refused" not in text


def test_an_upload_form_says_that_there_is_no_room(
    alpha: Workspace, owner: User, model: Model, browser_of: Browser
) -> None:
    allow(alpha, max_models=1)
    file = SimpleUploadedFile("digits.onnx", ONNX_MODEL.read_bytes())
    answer = browser_of(owner).post(reverse("edge_ai:model-upload"), {"file": file})
    assert answer.status_code == 402
    assert "The workspace has 1 of 1 models" in answer.content.decode()
    with inside(alpha, owner):
        assert Model.objects.count() == 1
