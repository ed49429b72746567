"""Lists: as many queries for twenty rows as for one; sorting, filters and pages through the URL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
LISTS = (
    "overview",
    "model-list",
    "job-list",
    "batch-list",
    "benchmark-list",
    "comparison-list",
    "dataset-list",
    "device-list",
    "artifact-list",
)


def queries(browser: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert browser.get(address).status_code == 200
    return len(asked)


@pytest.mark.parametrize("name", LISTS)
def test_more_rows_take_no_more_queries(name: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    make_rows(alpha, owner)
    one = queries(browser, reverse(f"edge_ai:{name}"))
    for _ in range(19):
        make_rows(alpha, owner)
    assert queries(browser, reverse(f"edge_ai:{name}")) == one
    assert one < 20


@pytest.mark.parametrize("tab", ["overview", "graph", "operators", "layers", "variants", "benchmarks", "files"])
def test_a_model_with_more_around_it_takes_no_more_queries(
    tab: str, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    rows = make_rows(alpha, owner)
    address = reverse("edge_ai:model-detail", args=[rows.model.pk]) + f"?tab={tab}"
    one = queries(browser, address)
    with inside(alpha, owner):
        for _ in range(19):
            factories.make_model(owner, parent=rows.model)
            factories.make_benchmark(owner, rows.model)
            factories.make_optimization(owner, rows.model)
            factories.make_artifact(owner, rows.model)
    assert queries(browser, address) == one


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list_says_what_to_do(name: str, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).get(reverse(f"edge_ai:{name}"))
    assert response.status_code == 200
    if name != "device-list":
        text = response.content.decode()
        assert "<tbody" not in text
        assert "pload" in text or "Go to the models" in text or "Optimize a model" in text


def test_sorting_and_pages_are_in_the_address(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        for number in range(30):
            factories.make_model(owner, name=f"net-{number:02}", size_bytes=1000 + number)
    browser = browser_of(owner)
    address = reverse("edge_ai:model-list")
    first = browser.get(address, {"ordering": "size"}).content.decode()
    assert "net-00" in first
    assert "net-24" in first
    assert "net-25" not in first
    assert 'aria-sort="ascending"' in first
    assert "ordering=-size" in first
    assert "1–25 of 30" in first
    second = browser.get(address, {"ordering": "size", "page": "2"}).content.decode()
    assert "net-25" in second
    assert "net-24" not in second
    assert "net-29" in browser.get(address, {"ordering": "-size"}).content.decode()


@pytest.mark.parametrize(
    "query",
    ["ordering=password", "ordering=", "page=999", "page=x", "format=exe", "status=%00", "search=%27%22%3Cb%3E"],
)
def test_a_strange_address_is_no_error(query: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    make_rows(alpha, owner)
    for name in LISTS:
        response = browser_of(owner).get(reverse(f"edge_ai:{name}") + "?" + query)
        assert response.status_code == 200
        assert "<b>" not in response.content.decode()


def test_filters_narrow_the_list(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    rows = make_rows(alpha, owner)
    with inside(alpha, owner):
        factories.make_model(owner, name="speech", tags=["audio"], format="tflite", status="uploaded", analysis=None)
    browser = browser_of(owner)
    address = reverse("edge_ai:model-list")
    for query in ({"search": "spee"}, {"search": "audio"}, {"format": "tflite"}, {"status": "uploaded"}):
        text = browser.get(address, query).content.decode()
        assert "speech" in text
        assert rows.variant.name not in text
    variants = browser.get(address, {"origin": "variant"}).content.decode()
    assert rows.variant.name in variants
    assert "speech" not in variants
    assert "No model matches" in browser.get(address, {"search": "nothing like it"}).content.decode()
