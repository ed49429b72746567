"""What is shared stays in sight of colleagues where what it was made of is private: models, data sets and devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import Dataset, DeviceProfile, Job, Model
from tests.api.support import BASE
from tests.conftest import inside_as_system
from tests.edge_ai import factories
from tests.web.support import POST_ONLY, Rows, address, make_rows, routes, running

LISTS = {
    "job-list": ("optimization", "benchmark", "comparison", "diagnosis"),
    "benchmark-list": ("benchmark",),
    "comparison-list": ("comparison",),
    "artifact-list": ("artifact",),
    "batch-list": ("batch",),
}
DETAILS = {
    "job-detail": ("job_id", "optimization"),
    "benchmark-detail": ("run_id", "benchmark"),
    "comparison-detail": ("comparison_id", "comparison"),
    "diagnosis-detail": ("diagnosis_id", "diagnosis"),
    "artifact-detail": ("artifact_id", "artifact"),
    "batch-detail": ("batch_id", "batch"),
}

API = {
    "optimization-jobs/": "optimization",
    "benchmarks/": "benchmark",
    "comparisons/": "comparison",
    "diagnoses/": "diagnosis",
    "artifacts/": "artifact",
}
ERROR = {"code": "accuracy_drop", "detail": "Far.", "fix": "Use more data.", "retryable": False, "details": {}}


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    made = make_rows(alpha, owner, visibility="workspace")
    with inside_as_system(alpha):
        for table in (Model, Dataset, DeviceProfile):
            table.objects.filter(visibility="workspace").update(visibility="private")
    return made


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_list_shows_what_is_shared_of_something_private(
    rows: Rows, colleague: User, browser_of: Callable[[User], Client], name: str
) -> None:
    shown = browser_of(colleague).get(reverse(f"edge_ai:{name}")).content.decode()
    for each in LISTS[name]:
        assert str(getattr(rows, each).pk) in shown, each
    assert f"/models/{rows.model.pk}/" not in shown


@pytest.mark.parametrize("name", sorted(DETAILS))
def test_a_page_shows_what_is_shared_of_something_private(
    rows: Rows, colleague: User, browser_of: Callable[[User], Client], name: str
) -> None:
    parameter, of = DETAILS[name]
    key: Any = getattr(rows, of).pk
    answer = browser_of(colleague).get(reverse(f"edge_ai:{name}", kwargs={parameter: key}))
    assert answer.status_code == 200
    shown = answer.content.decode()
    assert f"/models/{rows.model.pk}/" not in shown
    assert f"/devices/{rows.device.pk}/" not in shown


def test_ones_own_job_stays_when_a_colleague_makes_the_model_private(
    rows: Rows, alpha: Workspace, colleague: User, browser_of: Callable[[User], Client]
) -> None:
    with inside_as_system(alpha):
        Model.objects.update(visibility="workspace")
    mine: list[Job] = [running(alpha, colleague, rows.model)]
    with inside_as_system(alpha):
        mine.append(
            factories.make_optimization(colleague, rows.model, status="failed", error=ERROR, finished_at=timezone.now())
        )
        mine.append(factories.make_benchmark(colleague, rows.model, status="queued"))
        Model.objects.update(visibility="private")
    browser = browser_of(colleague)
    for job in mine:
        name = "benchmark-detail" if job.kind == "benchmark" else "job-detail"
        shown = browser.get(reverse(f"edge_ai:{name}", args=[job.pk]))
        assert shown.status_code == 200, name
        assert "The model is private." in shown.content.decode()
        assert browser.get(reverse("edge_ai:job-events", args=[job.pk])).status_code == 200
    again = browser.post(reverse("edge_ai:job-retry", args=[mine[1].pk]), follow=True).content.decode()
    assert "is queued again." in again
    afresh = browser.post(reverse("edge_ai:job-afresh", args=[mine[1].pk]), follow=True).content.decode()
    assert "The model or the device of this job is private." in afresh
    gone = browser.post(reverse("edge_ai:job-cancel", args=[mine[2].pk]), follow=True)
    assert gone.status_code == 200
    assert "Cancelled" in gone.content.decode()


@pytest.mark.parametrize("path", sorted(API))
def test_the_api_tells_what_is_shared_of_something_private(
    rows: Rows, colleague: User, script_of: Callable[..., Client], path: str
) -> None:
    script = script_of(colleague)
    key = str(getattr(rows, API[path]).pk)
    listed = script.get(f"{BASE}{path}")
    assert listed.status_code == 200
    assert key in [each["id"] for each in listed.json()["results"]]
    assert script.get(f"{BASE}{path}{key}/").status_code == 200


HIDINGS = {
    "everything": lambda rows: [rows.model, rows.variant, rows.dataset, rows.device, rows.batch],
    "the original and the jobs": lambda rows: [rows.model, rows.optimization, rows.benchmark],
}


@pytest.mark.parametrize("hidden", sorted(HIDINGS))
def test_no_page_fails_for_what_is_hidden(
    alpha: Workspace, owner: User, colleague: User, browser_of: Callable[[User], Client], hidden: str
) -> None:
    rows = make_rows(alpha, owner, visibility="workspace")
    with inside_as_system(alpha):
        for row in HIDINGS[hidden](rows):
            type(row).objects.filter(pk=row.pk).update(visibility="private")
    browser = browser_of(colleague)
    for route in routes():
        if route.name not in POST_ONLY:
            searched = {"search": "digits"} if str(route.name).endswith("-list") else {}
            assert browser.get(address(route, rows), searched).status_code < 500, route.name
        assert browser.post(address(route, rows)).status_code < 500, route.name
    for words in ("digits", "int8", str(rows.model.pk), str(rows.benchmark.pk)):
        assert browser.get(reverse("edge_ai:search"), {"q": words}).status_code == 200
