"""Optimizing several models at once on the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import Model, OptimizationBatch, OptimizationJob
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results

Browser = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def models(alpha: Workspace, owner: User) -> list[Model]:
    """Two models."""
    with inside(alpha, owner):
        return [factories.make_model(owner, name=name) for name in ("first net", "second net")]


@pytest.fixture
def asked(alpha: Workspace, owner: User, models: list[Model]) -> dict[str, Any]:
    """What a browser sends: two models in two precisions, of which one cannot work."""
    with inside(alpha, owner):
        host = factories.host_device()
    return {"model": [model.pk for model in models], "device_profile": [host.pk], "precision": ["fp16", "fp32"]}


def to(name: str, *arguments: Any) -> str:
    return reverse(f"edge_ai:{name}", args=arguments)


def words(response: Any) -> str:
    """A page without white space between its words."""
    return " ".join(response.content.decode().split())


def test_models_of_the_address_are_chosen_and_planned(models: list[Model], owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    query = "&".join(f"model={model.pk}" for model in models)
    assert f"{to('batch-create')}?model={models[0].pk}" in words(browser.get(to("optimization-create", models[0].pk)))
    text = words(browser.get(f"{to('batch-create')}?{query}&precision=fp16&precision=fp32"))
    assert text.count(" checked") == 5, "two models, this machine, two precisions"
    assert '<span class="hero">2</span> jobs will run; 2 combinations cannot work.' in text
    assert "first net in fp32 for This machine" in text
    assert "there is nothing to reduce" in text
    empty = words(browser.get(to("batch-create")))
    assert "Choose models, devices and precisions" in empty


def test_models_that_are_chosen_in_the_list_are_optimized_together(
    models: list[Model], owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    chosen = {"action": "optimize", "row": [str(model.pk) for model in models]}
    response = browser.post(to("model-bulk"), chosen)
    assert response.status_code == 303
    form = browser.get(response["Location"]).context["form"]
    assert form.chosen("model") == {str(model.pk) for model in models}
    nothing = browser.post(to("model-bulk"), {"action": "optimize"}, follow=True)
    assert "Nothing was done" in nothing.content.decode()


def test_the_plan_follows_the_form(asked: dict[str, Any], owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    text = words(browser.post(to("batch-create"), asked | {"action": "plan"}, headers=HTMX))
    assert "<html" not in text and "2</span> jobs will run" in text
    assert "The last one starts" in text
    refused = asked | {"action": "plan", "precision": ["fp32"]}
    text = words(browser.post(to("batch-create"), refused, headers=HTMX))
    assert "No combination works" in text and "second net in fp32 for This machine" in text


def test_a_batch_is_submitted_once_however_often_it_is_sent(
    alpha: Workspace, asked: dict[str, Any], models: list[Model], owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    sent = asked | {"key": browser.get(to("batch-create")).context["form"]["key"].value(), "name": "Tonight"}
    response = browser.post(to("batch-create"), sent)
    with inside(alpha, owner):
        batch = OptimizationBatch.objects.get()
        job = OptimizationJob.objects.filter(batch=batch).order_by("created_at").first()
    assert job is not None
    assert (response.status_code, response["Location"]) == (303, to("batch-detail", batch.pk))
    assert browser.post(to("batch-create"), sent)["Location"] == response["Location"]
    other = browser.post(
        to("batch-create"), sent | {"key": browser.get(to("batch-create")).context["form"]["key"].value()}
    )
    assert other["Location"] != response["Location"], "a form that was opened anew is another wish"
    text = words(browser.get(to("batch-detail", batch.pk)))
    for shown in ("Tonight", "Cancel all", 'hx-trigger="every 2s"', "2</span> queued", "2</span> cannot work"):
        assert shown in text, shown
    assert to("batch-detail", batch.pk) in words(browser.get(to("job-detail", job.pk)))
    assert "Tonight" in words(browser.get(to("batch-list")))
    again = browser.get(to("batch-detail", batch.pk)).context["again"]
    form = browser.get(f"{to('batch-create')}?{again}").context["form"]
    assert form.chosen("model") == {str(model.pk) for model in models}
    assert form.chosen("precision") == {"fp16", "fp32"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": []}, "Choose a model at least."),
        ({"device_profile": []}, "Choose a device at least."),
        ({"precision": []}, "Choose a precision at least."),
        ({"precision": ["fp32"]}, "None of the combinations can work."),
    ],
)
def test_what_is_missing_or_cannot_work_is_told(
    change: dict[str, Any], said: str, alpha: Workspace, asked: dict[str, Any], owner: User, browser_of: Browser
) -> None:
    response = browser_of(owner).post(to("batch-create"), asked | change)
    assert response.status_code == 422
    assert said in words(response)
    with inside(alpha, owner):
        assert not OptimizationBatch.objects.exists()


def test_all_are_cancelled_and_run_again(
    alpha: Workspace, asked: dict[str, Any], owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    address = browser.post(to("batch-create"), asked)["Location"]
    with inside(alpha, owner):
        batch = OptimizationBatch.objects.get()
    text = words(browser.post(to("batch-cancel", batch.pk), follow=True))
    assert "2 jobs cancelled" in text and "Cancel all" not in text and "hx-get" not in text.partition('id="batch"')[2]
    assert "nothing left to cancel" in words(browser.post(to("batch-cancel", batch.pk), follow=True))
    text = words(browser.post(to("batch-retry", batch.pk), follow=True))
    assert "2 jobs are queued again." in text
    assert browser.get(address).status_code == 200


def test_the_matrix_shows_what_came_of_each_and_takes_no_more_queries(
    alpha: Workspace, asked: dict[str, Any], owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    address = browser.post(to("batch-create"), asked)["Location"]
    with CaptureQueriesContext(connection) as few:
        browser.get(address, headers=HTMX)
    with inside(alpha, owner):
        batch = OptimizationBatch.objects.get()
        [one, two] = OptimizationJob.objects.order_by("created_at")
        OptimizationJob.objects.filter(pk=one.pk).update(**(results.ENDED | {"result": results.OPTIMIZED}))
        OptimizationJob.objects.filter(pk=two.pk).update(**results.FAILED)
        for _ in range(20):
            factories.make_optimization(owner, one.model, batch=batch, device_profile=one.device_profile)
    with CaptureQueriesContext(connection) as many:
        text = words(browser.get(address, headers=HTMX))
    assert len(many) == len(few) < 20
    assert "3.33× smaller" in text and "38.6 dB" in text
    assert "The variant computes something else" in text
    assert text.count("Cannot work") == 2
