"""Which of one's jobs have ended since: one's own alone, each once, at the cost of one query."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from tests.conftest import inside
from tests.edge_ai import factories

Browser = Callable[[User], Client]


def ask(browser: Client, since: str = "") -> Any:
    response = browser.get(reverse("edge_ai:job-ended"), {"since": since})
    assert response.status_code == 200
    assert response["Cache-Control"] == "private, no-store"
    return response.json()


def ended(user: User, name: str, status: str = "completed", ago: timedelta = timedelta(), **fields: Any) -> Any:
    return factories.make_optimization(user, name=name, status=status, finished_at=timezone.now() - ago, **fields)


def names(body: Any) -> list[str]:
    return [job["name"] for job in body["jobs"]]


def test_ones_own_jobs_that_ended_since(
    alpha: Workspace, owner: User, colleague: User, outsider: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    first = ask(browser)
    assert first["jobs"] == []
    with inside(alpha, owner):
        done = ended(owner, "done", visibility="workspace")
        ended(owner, "failed", "failed", error={"code": "internal_error"})
        factories.make_optimization(owner, name="waits")
        ended(owner, "long ago", ago=timedelta(hours=3))
    second = ask(browser, first["since"])
    assert sorted(names(second)) == ["done", "failed"]
    job = next(job for job in second["jobs"] if job["name"] == "done")
    assert job["address"] == reverse("edge_ai:job-detail", args=[done.pk])
    assert (job["kind"], job["status"]) == ("Optimization", "completed")
    assert ask(browser_of(colleague), first["since"])["jobs"] == []
    assert ask(browser_of(outsider), first["since"])["jobs"] == []


def test_an_analysis_is_told_by_what_was_analysed(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    since = ask(browser)["since"]
    with inside(alpha, owner):
        model = factories.make_model(owner)
        factories.make_analysis(
            owner, model, name="Analyse digits.onnx", status="completed", finished_at=timezone.now()
        )
    (job,) = ask(browser, since)["jobs"]
    assert (job["kind"], job["name"]) == ("Analysis", "digits.onnx")


def test_what_is_told_again_has_the_same_mark(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        ended(owner, "old", ago=timedelta(minutes=10))
        ended(owner, "new", ago=timedelta(seconds=5))
    once = ask(browser, (timezone.now() - timedelta(minutes=20)).isoformat())
    assert names(once) == ["new", "old"]
    again = ask(browser, once["since"])
    assert names(again) == ["new"]
    assert again["jobs"][0]["mark"] == once["jobs"][0]["mark"]
    assert again["since"] == once["since"]


@pytest.mark.parametrize(
    "since", ["", "yesterday", "2026-13-45T00:00:00Z", "9999-01-01T00:00:00", "0001-01-01T00:00:00Z"]
)
def test_a_strange_time_is_no_error(since: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        ended(owner, "done")
    assert names(ask(browser_of(owner), since)) == ["done"]


def test_it_is_cheap(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    ask(browser)
    with inside(alpha, owner):
        for number in range(15):
            ended(owner, f"job {number}")
    with CaptureQueriesContext(connection) as asked:
        assert len(ask(browser)["jobs"]) == 10
    mine = [each["sql"] for each in asked if "edge_ai_job" in each["sql"]]
    assert len(mine) == 1
    assert len(asked) < 8
    assert '"result"' not in mine[0]
