"""Taking away, renaming, deleting; and what every page has to withstand."""

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
from tests.web.support import Rows, make_rows, running

Browser = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """One of everything."""
    return make_rows(alpha, owner)


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def test_downloads_lead_to_signed_links_and_are_counted(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    for address in (
        to("model-download", rows.model.pk),
        to("artifact-download", rows.artifact.pk),
        to("benchmark-samples", rows.benchmark.pk),
    ):
        assert browser.get(address)["Location"].startswith("/files/")
    with inside(alpha, owner):
        assert Artifact.objects.get(pk=rows.artifact.pk).download_count == 1


def test_a_model_is_renamed_and_shared(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    asked = {
        "name": "Better name",
        "description": "Reads digits.",
        "tags": "vision, digits, vision",
        "visibility": "workspace",
    }
    response = browser_of(owner).post(to("model-update", rows.model.pk), asked)
    assert response.status_code == 303
    with inside(alpha, owner):
        model = Model.objects.get(pk=rows.model.pk)
    assert (model.name, model.tags, model.visibility) == ("Better name", ["vision", "digits"], "workspace")
    refused = browser_of(owner).post(to("model-update", rows.model.pk), asked | {"name": ""})
    assert refused.status_code == 422


def test_deleting_a_model_names_what_goes_with_it(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    text = browser.get(to("model-delete", rows.model.pk)).content.decode()
    assert "1 optimization job, 1 benchmark and 0 artifacts" in text
    with inside(alpha, owner):
        assert Model.objects.filter(pk=rows.model.pk).exists(), "asking deletes nothing"
    response = browser.post(to("model-delete", rows.model.pk))
    assert response.status_code == 303
    with inside(alpha, owner):
        assert not Model.objects.filter(pk=rows.model.pk).exists()
        assert Model.objects.filter(pk=rows.variant.pk).exists()


def test_a_model_that_is_worked_on_is_not_deleted(
    alpha: Workspace, rows: Rows, owner: User, browser_of: Browser
) -> None:
    running(alpha, owner, rows.model)
    response = browser_of(owner).post(to("model-delete", rows.model.pk))
    assert response.status_code == 409
    assert "Jobs are working on" in response.content.decode()


def test_data_sets_and_artifacts_are_deleted(alpha: Workspace, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    assert browser.post(to("dataset-delete", rows.dataset.pk)).status_code == 303
    assert browser.post(to("artifact-delete", rows.artifact.pk)).status_code == 303
    with inside(alpha, owner):
        assert not Dataset.objects.filter(pk=rows.dataset.pk).exists()
        assert not Artifact.objects.filter(pk=rows.artifact.pk).exists()


def test_posts_need_the_token_of_the_form(rows: Rows, owner: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    response = browser.post(to("job-cancel", rows.optimization.pk))
    assert response.status_code == 403
    assert "The form has expired" in response.content.decode()


def test_a_missing_page_says_what_to_do(owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).get("/nowhere/")
    assert response.status_code == 404
    assert "Go to the overview" in response.content.decode()


def test_names_are_shown_as_text_and_never_as_markup(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    evil = "<script>alert(1)</script>\" onclick='x"
    with inside(alpha, owner):
        model = factories.make_model(owner, name=evil, file_name=evil, description=evil, tags=[evil[:40]])
        factories.make_dataset(owner, name=evil)
        factories.make_optimization(owner, model, name=evil)
    browser = browser_of(owner)
    for address in (
        to("model-list"),
        to("model-detail", model.pk),
        to("job-list"),
        to("dataset-list"),
        to("overview"),
        to("optimization-create", model.pk),
    ):
        text = browser.get(address).content.decode()
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text
