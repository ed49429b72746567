"""The same done to several rows: asked once with names, done through the services, and told how many and why not others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import Artifact, Dataset, Model
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import make_rows, running, status_of_job

Browser = Callable[[User], Client]
BULKS = ("model-bulk", "job-bulk", "artifact-bulk", "dataset-bulk")


def post(browser: Client, name: str, action: str, *rows: Any, confirmed: bool = True, follow: bool = True) -> Any:
    asked: dict[str, Any] = {"action": action, "row": [str(row.pk) for row in rows]}
    return browser.post(reverse(f"edge_ai:{name}"), asked | ({"confirmed": "yes"} if confirmed else {}), follow=follow)


def test_the_page_that_asks_names_what_goes_and_changes_nothing(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    rows = make_rows(alpha, owner)
    with inside(alpha, colleague):
        theirs = factories.make_model(colleague, name="theirs", visibility="workspace")
    response = post(browser_of(owner), "model-bulk", "delete", rows.model, theirs, confirmed=False)
    text = response.content.decode()
    assert response.status_code == 200
    assert "Delete 1 model?" in text
    assert rows.model.name in text
    assert "1 optimization job, 1 benchmark and 0 artifacts" in text
    assert "1 variant that is not chosen stays" in text
    assert "theirs: it belongs to a colleague" in text
    assert f'value="{theirs.pk}"' not in text
    with inside(alpha, owner):
        assert Model.objects.filter(pk=rows.model.pk).exists()


def test_models_are_deleted_but_for_those_that_jobs_work_on(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        idle, busy, other = (factories.make_model(owner, name=name) for name in ("idle", "busy", "other"))
    running(alpha, owner, busy)
    response = post(browser_of(owner), "model-bulk", "delete", idle, busy, other)
    text = response.content.decode()
    assert response.redirect_chain == [(reverse("edge_ai:model-list"), 303)]
    assert "2 models are deleted." in text
    assert "“busy” stays as it is. Jobs are working on “busy”." in text
    with inside(alpha, owner):
        assert [model.name for model in Model.objects.filter(pk__in=[idle.pk, busy.pk, other.pk])] == ["busy"]


def test_models_are_shared_and_made_private(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        mine = [factories.make_model(owner, name=f"mine {number}") for number in range(3)]
    browser = browser_of(owner)
    assert "3 models are shared." in post(browser, "model-bulk", "share", *mine).content.decode()
    seen = browser_of(colleague).get(reverse("edge_ai:model-list")).content.decode()
    assert all(model.name in seen for model in mine)
    asked = post(browser, "model-bulk", "share", *mine, confirmed=False).content.decode()
    assert "Nothing to share" in asked
    assert "it is shared already" in asked
    assert "“mine 0” is private." in post(browser, "model-bulk", "unshare", mine[0]).content.decode()
    assert mine[0].name not in browser_of(colleague).get(reverse("edge_ai:model-list")).content.decode()


def test_comparing_leads_to_the_form_with_the_models_chosen(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    rows = make_rows(alpha, owner)
    browser = browser_of(owner)
    response = post(browser, "model-bulk", "compare", rows.model, rows.variant, confirmed=False, follow=False)
    assert response.status_code == 303
    where = f"{reverse('edge_ai:comparison-create')}?model={rows.model.pk}&model={rows.variant.pk}"
    assert response["Location"] == where
    assert browser.get(where).status_code == 200
    refused = post(browser, "model-bulk", "compare", rows.model, confirmed=False).content.decode()
    assert "A comparison takes 2 to 8 models; 1 were chosen." in refused


def test_jobs_are_cancelled_and_retried(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        waiting = [factories.make_optimization(owner, model, name=f"waits {number}") for number in range(2)]
        ended = factories.make_optimization(owner, model, name="ended", status="completed")
    browser = browser_of(owner)
    text = post(browser, "job-bulk", "cancel", *waiting, ended).content.decode()
    assert "2 jobs are cancelled, or being stopped." in text
    assert "“ended” stays as it is. The job has already ended: completed." in text
    with inside(alpha, owner):
        assert [status_of_job(job.pk) for job in waiting] == ["cancelled", "cancelled"]
    asked = post(browser, "job-bulk", "retry", *waiting, ended, confirmed=False).content.decode()
    assert "Retry 2 jobs?" in asked
    assert "ended: only failed and cancelled jobs run again" in asked
    assert "2 jobs are queued again." in post(browser, "job-bulk", "retry", *waiting).content.decode()
    with inside(alpha, owner):
        assert [status_of_job(job.pk) for job in waiting] == ["queued", "queued"]


def test_artifacts_and_data_sets_are_deleted(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    rows, more = make_rows(alpha, owner), make_rows(alpha, owner)
    browser = browser_of(owner)
    text = post(browser, "artifact-bulk", "delete", rows.artifact, more.artifact).content.decode()
    assert "2 artifacts are deleted." in text
    with inside(alpha, owner):
        unused = factories.make_dataset(owner, name="unused")
    assert "“unused” is deleted." in post(browser, "dataset-bulk", "delete", unused).content.decode()
    with inside(alpha, owner):
        assert not Artifact.objects.filter(pk__in=[rows.artifact.pk, more.artifact.pk]).exists()
        assert not Dataset.objects.filter(pk=unused.pk).exists()
        assert Model.objects.filter(pk=rows.variant.pk).exists()


@pytest.mark.parametrize("name", BULKS)
def test_others_rows_are_not_touched(
    name: str, alpha: Workspace, owner: User, outsider: User, colleague: User, browser_of: Browser
) -> None:
    rows = make_rows(alpha, owner)
    every = (rows.model, rows.variant, rows.artifact, rows.dataset, rows.optimization)
    for person in (outsider, colleague):
        for action in ("delete", "cancel", "retry", "share"):
            text = post(browser_of(person), name, action, *every).content.decode()
            assert "Nothing was done" in text
            assert rows.variant.name not in text
    with inside(alpha, owner):
        assert Model.objects.filter(pk__in=[rows.model.pk, rows.variant.pk], visibility="private").count() == 2
        assert Artifact.objects.filter(pk=rows.artifact.pk).exists()
        assert Dataset.objects.filter(pk=rows.dataset.pk).exists()


@pytest.mark.parametrize("name", BULKS)
def test_a_strange_choice_does_nothing(name: str, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    for asked in ({}, {"action": "delete"}, {"action": "explode", "row": "x"}, {"action": "delete", "row": ["'", "1"]}):
        response = browser.post(reverse(f"edge_ai:{name}"), asked, follow=True)
        assert response.status_code == 200
        assert "Nothing was done" in response.content.decode()


def test_reasons_are_cut_short(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        ended = [
            factories.make_optimization(owner, model, name=f"e{number}", status="completed") for number in range(9)
        ]
    text = post(browser_of(owner), "job-bulk", "cancel", *ended).content.decode()
    assert text.count("stays as it is") == 5
    assert "4 more stay for reasons such as these." in text


def test_viewers_are_offered_no_boxes(alpha: Workspace, owner: User, viewer: User, browser_of: Browser) -> None:
    make_rows(alpha, owner, visibility="workspace")
    for name in ("model-list", "job-list", "artifact-list", "dataset-list"):
        address = reverse(f"edge_ai:{name}")
        assert 'name="row"' in browser_of(owner).get(address).content.decode()
        text = browser_of(viewer).get(address).content.decode()
        assert 'name="row"' not in text
        assert "bulk" not in text.replace("js/bulk.js", "")
