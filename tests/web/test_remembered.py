"""Coming back to a list shows the view that was looked at last; an address that says what it wants always gets that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from tests.conftest import ROOT
from tests.web.support import make_rows, written

Browser = Callable[[User], Client]
SAMPLE = ROOT / "edge_ai" / "sample"
VIEWS = {
    "model-list": "search=digits&ordering=name",
    "job-list": "status=completed",
    "benchmark-list": "kind=measured&ordering=-p50&page_size=50",
    "comparison-list": "search=compare",
    "dataset-list": "ordering=-size",
    "device-list": "category=phone",
    "artifact-list": "type=recipe",
    "webhook-list": "enabled=true",
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_last_view_comes_back(name: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    make_rows(alpha, owner)
    browser = browser_of(owner)
    address = reverse(f"edge_ai:{name}")
    assert browser.get(address).status_code == 200
    browser.get(f"{address}?{VIEWS[name]}&page=2")
    back = browser.get(address)
    assert back.status_code == 302
    # Everything but the page's number.
    assert back["Location"] == f"{address}?{VIEWS[name]}"
    with CaptureQueriesContext(connection) as asked:
        assert browser.get(address, follow=True).status_code == 200
    assert not written(asked)


def test_what_the_address_says_wins_and_show_all_forgets(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    rows = make_rows(alpha, owner)
    browser = browser_of(owner)
    address = reverse("edge_ai:model-list")
    browser.get(address, {"origin": "variant"})
    assert f">{rows.model.name}</a>" in browser.get(address, {"origin": "original"}).content.decode()
    assert browser.get(address)["Location"].endswith("?origin=original")
    whole = browser.get(address, {"view": "all"})
    assert whole.status_code == 200
    assert browser.get(address).status_code == 200


def test_a_list_does_not_remember_for_another_list_person_or_workspace(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    browser.get(reverse("edge_ai:model-list"), {"search": "secret"})
    assert browser.get(reverse("edge_ai:job-list")).status_code == 200
    cookie = browser.cookies["view-model-list"]
    assert cookie["httponly"]
    assert cookie["path"] == reverse("edge_ai:model-list")
    browser.force_login(colleague)
    browser.cookies["view-model-list"] = cookie.value
    assert browser.get(reverse("edge_ai:model-list")).status_code == 200


def test_a_cookie_that_was_tampered_with_is_passed_over(owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    browser.cookies["view-model-list"] = "//evil.example/:1abc:x"
    assert browser.get(reverse("edge_ai:model-list")).status_code == 200


def test_an_htmx_request_is_remembered_too(owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    address = reverse("edge_ai:device-list")
    browser.get(address, {"search": "pi"}, headers={"HX-Request": "true"})
    assert browser.get(address)["Location"] == f"{address}?search=pi"


@pytest.mark.parametrize(("name", "file"), [("model", "digits.onnx"), ("dataset", "digits-eval.npz")])
def test_what_was_uploaded_is_in_the_list_that_comes_back(
    name: str, file: str, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    address = reverse(f"edge_ai:{name}-list")
    browser.get(address, {"search": "nothing is called so"})
    assert browser.get(address).status_code == 302
    content = SimpleUploadedFile(file, (SAMPLE / file).read_bytes())
    assert browser.post(reverse(f"edge_ai:{name}-upload"), {"file": content}).status_code == 303
    back = browser.get(address)
    assert back.status_code == 200
    assert file.partition(".")[0] in back.content.decode()
