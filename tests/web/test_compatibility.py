"""The page that says what a model can become, and where that runs."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import Model
from tests.conftest import inside
from tests.edge_ai import factories

Browser = Callable[[User], Client]


def address(model: Model) -> str:
    return reverse("edge_ai:model-compatibility", args=[model.pk])


def test_what_works_leads_to_the_form_with_it_filled_in(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model, host = factories.make_model(owner), factories.host_device()
    browser = browser_of(owner)
    text = browser.get(address(model), {"category": "host"}).content.decode()
    query = f"?device_profile={host.pk}&amp;target_format=tflite&amp;precision=fp16"
    assert query in text
    form = browser.get(reverse("edge_ai:optimization-create", args=[model.pk]) + query.replace("&amp;", "&"))
    chosen = {name: str(form.context["form"][name].value()) for name in ("target_format", "precision")}
    assert chosen == {"target_format": "tflite", "precision": "fp16"}
    assert "plan" in form.context, "what the page promises is planned, not refused"


def test_a_refusal_stands_with_its_reason(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        words = [{"name": "words", "dtype": "string", "shape": [None]}]
        text = factories.make_model(owner, format="saved_model", analysis=factories.ANALYSIS | {"inputs": words})
        weights = factories.make_model(owner, format="gguf", analysis=factories.ANALYSIS | {"operators": {}})
    browser = browser_of(owner)
    assert "takes text" in browser.get(address(text)).content.decode()
    refused = browser.get(address(weights)).content.decode()
    assert "GGUF is for llama.cpp" in refused
    assert "Upload the model that this one was made from." in refused, "and what to do instead"


def test_devices_are_narrowed_to_a_category(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    browser = browser_of(owner)
    assert "This machine" in browser.get(address(model)).content.decode()
    phones = browser.get(address(model), {"category": "phone"}).content.decode()
    assert "This machine</a>" not in phones
    assert 'value="phone" selected' in phones


def test_formats_are_narrowed_to_one(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    text = browser_of(owner).get(address(model), {"target_format": "tflite", "category": "host"}).content.decode()
    assert 'id="target-tflite"' in text
    assert 'id="target-openvino"' not in text
    assert 'value="tflite" selected' in text
    assert 'value="host" selected' in text


def test_more_devices_cost_no_more_queries(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
    browser = browser_of(owner)
    browser.get(address(model))
    with CaptureQueriesContext(connection) as few:
        browser.get(address(model))
    with inside(alpha, owner):
        for number in range(10):
            factories.make_device(owner, slug=f"board-{number}", name=f"Board {number}")
    with CaptureQueriesContext(connection) as many:
        text = browser.get(address(model)).content.decode()
    assert "Board 9" in text
    assert len(many) == len(few)


def test_one_who_may_only_look_is_led_nowhere(alpha: Workspace, owner: User, viewer: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, visibility="workspace")
    text = browser_of(viewer).get(address(model)).content.decode()
    assert "fp16" in text
    assert "target_format=" not in text


def test_before_and_without_an_analysis_it_says_so(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        waiting = factories.make_model(owner, status="analyzing", analysis=None)
        failed = factories.make_model(
            owner, status="failed", analysis=None, error={"code": "model_unreadable", "detail": "Cut.", "fix": "Again."}
        )
    browser = browser_of(owner)
    assert "still being analysed" in browser.get(address(waiting)).content.decode()
    response = browser.get(address(failed))
    assert response.status_code == 200
    assert "Cut." in response.content.decode()
