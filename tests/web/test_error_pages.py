"""Pages of errors: what happened, what to do and the request's number; never a traceback or anything internal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts.models import User
from config.errors import error_response
from config.middleware import set_request_id
from edge_ai.engine.errors import UserInputError
from edge_ai.web.views import overview

Browser = Callable[[User], Client]
MISSING = "11111111-2222-4333-8444-555555555555"


def told(response: Any, status: int, *words: str) -> str:
    assert response.status_code == status
    text: str = response.content.decode()
    assert text.count("<h1") == 1
    assert "What to do:" in text
    assert response["X-Request-ID"] in text
    assert "Go to the overview" in text or "Go to the first page" in text
    for word in words:
        assert word in text
    for leak in ("Traceback", "Exception", "/site-packages/", "secret-detail"):
        assert leak not in text
    return text


def test_what_is_not_there(owner: User, browser_of: Browser) -> None:
    for address in ("/nowhere/", f"/models/{MISSING}/", "/models/x/"):
        told(
            browser_of(owner).get(address), 404, "Not found", "belongs to another workspace", reverse("edge_ai:search")
        )
    told(Client().get("/nowhere/"), 404, "sign in first", f"{reverse('accounts:login')}?next=%2Fnowhere%2F")


def test_who_works_in_a_workspace_keeps_the_way_to_everything_else(owner: User, browser_of: Browser) -> None:
    assert 'aria-label="Sections"' in told(browser_of(owner).get("/nowhere/"), 404)
    text = told(Client().get("/nowhere/"), 404)
    assert 'aria-label="Sections"' not in text
    assert reverse("edge_ai:search") not in text


@pytest.mark.parametrize("name", ["model-bulk", "dataset-bulk"])
def test_the_wrong_method(name: str, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).get(reverse(f"edge_ai:{name}"))
    told(response, 405, "Method not allowed", "does not take GET, but POST")
    assert response["Allow"] == "POST"
    told(Client().delete(reverse("edge_ai:error-codes")), 405, "GET, HEAD")


def test_what_a_viewer_may_not_do(viewer: User, browser_of: Browser) -> None:
    told(browser_of(viewer).post(reverse("edge_ai:model-bulk")), 403, "As a viewer", "Ask an admin")


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (SuspiciousOperation("secret-detail"), 400, "The request could not be understood"),
        (PermissionDenied("secret-detail"), 403, "You are not allowed to do this"),
        (RuntimeError("secret-detail"), 500, "by it the log is found"),
    ],
    ids=["400", "403", "500"],
)
def test_what_goes_wrong_within(
    raised: Exception, status: int, words: str, owner: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise raised

    monkeypatch.setattr(overview, "activity", fail)
    browser = browser_of(owner)
    browser.raise_request_exception = False
    told(browser.get(reverse("edge_ai:overview")), status, words)


def test_too_many_requests() -> None:
    set_request_id("a-request-0123456789")
    error = UserInputError("Too many requests.", code="rate_limited", fix="Wait.")
    response = error_response(RequestFactory().get("/models/"), error)
    response["X-Request-ID"] = "a-request-0123456789"
    told(response, 429, "Too many requests", "Wait.", reverse("edge_ai:landing"))


def test_an_expired_form(owner: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    told(
        browser.post(reverse("edge_ai:model-bulk"), {"action": "delete"}),
        403,
        "The form has expired",
        "Nothing was changed",
    )
