"""Lists: what narrows them is seen and taken away by a link, pages are as long as asked for, and htmx gets the rows alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.models import Job
from edge_ai.web import lists
from edge_ai.web.lists import MODELS
from edge_ai.web.views import models
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
LISTS = (
    *("model-list", "job-list", "benchmark-list", "comparison-list"),
    *("dataset-list", "device-list", "artifact-list", "webhook-list"),
)
# A filter of each list that leaves nothing of what make_rows makes, and its chip.
NARROWED = {
    "model-list": ("precision=bf16", "Precision: bf16"),
    "job-list": ("priority=2", "Priority: High"),
    "benchmark-list": ("kind=estimated", "Measured or estimated: Estimated"),
    "comparison-list": ("status=failed", "Status: Failed"),
    "dataset-list": ("has_labels=false", "Labels: Without labels"),
    "device-list": ("search=no+such+device", "Search: “no such device”"),
    "artifact-list": ("created_after=2999-01-01", "Made since: 2999-01-01"),
    "webhook-list": ("enabled=false", "State: Switched off"),
}


def words(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


def names(text: str) -> list[str]:
    return re.findall(r"net-\d\d", text)


@pytest.mark.parametrize("name", LISTS)
def test_what_narrows_a_list_is_seen_and_taken_away_by_one_link(
    name: str, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    make_rows(alpha, owner)
    browser = browser_of(owner)
    address = reverse(f"edge_ai:{name}")
    query, chip = NARROWED[name]
    text = browser.get(f"{address}?{query}").content.decode()
    assert chip in words(text)
    assert re.search(r"No [a-z ]+ matches", text)
    assert f'href="{address}?view=all"' in text
    whole = browser.get(f"{address}?view=all").content.decode()
    assert chip not in words(whole)
    assert not re.search(r"No [a-z ]+ matches", whole)


@pytest.mark.parametrize("name", LISTS)
def test_htmx_is_given_the_list_alone(name: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    make_rows(alpha, owner)
    response = browser_of(owner).get(reverse(f"edge_ai:{name}") + "?page=1", headers={"HX-Request": "true"})
    text = response.content.decode().strip()
    assert text.startswith('<div id="list"')
    assert text.endswith("</div>")
    assert "<h1" not in text
    assert "HX-Request" in response["Vary"]


def test_a_page_is_as_long_as_asked_for(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        for number in range(55):
            factories.make_model(owner, name=f"net-{number:02}")
    browser = browser_of(owner)
    address = reverse("edge_ai:model-list")

    def shown(query: str) -> int:
        return len(set(names(browser.get(f"{address}?{query}").content.decode())))

    assert shown("page_size=50") == 50
    assert shown("page_size=50&page=2") == 5
    assert shown("page_size=100") == 55
    for strange in ("page_size=0", "page_size=7", "page_size=x", "page_size=1000000", "page_size=-50"):
        assert shown(strange) == 25
    text = browser.get(f"{address}?page_size=50&ordering=name&search=net").content.decode()
    assert "51" not in names(text)
    for kept in ("search=net", "page_size=50", "ordering=name", "page=2"):
        assert kept in re.findall(r'id="page-next" href="([^"]+)"', text)[0]
    # Sorting begins at the first page.
    assert "page=" not in re.findall(r'id="sort-size" href="([^"]+)"', text)[0].replace("page_size=", "")


def test_rows_are_counted_only_so_far(
    alpha: Workspace, owner: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "MODELS", replace(MODELS, counted=30))
    with inside(alpha, owner):
        for number in range(33):
            factories.make_model(owner, name=f"net-{number:02}")
    browser = browser_of(owner)
    address = reverse("edge_ai:model-list")
    assert "1–25 of more than 30 models" in browser.get(address).content.decode()
    second = browser.get(address, {"page": "2"}).content.decode()
    assert "26–33 of more than 30 models" in second
    # Beyond the end: the last page that is known.
    assert "26–33" in browser.get(address, {"page": "900"}).content.decode()


@pytest.mark.parametrize("few", [0, 200], ids=["many", "few"])
def test_jobs_are_found_by_their_names_and_their_models_however_many_have_the_words(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(lists, "FEW", few)
    with inside(alpha, owner):
        kite, wren, crow = (factories.make_model(owner, name=name) for name in ("kite", "wren", "crow"))
        factories.make_benchmark(owner, kite, name="first")
        factories.make_benchmark(owner, wren, name="of a Kite")
        factories.make_benchmark(owner, wren, name="third")
        factories.make_comparison(owner, kite, wren, name="both")
        factories.make_comparison(owner, wren, crow, name="wrens")
    with inside(alpha, colleague):
        factories.make_benchmark(colleague, factories.make_model(colleague, name="kite"), name="not mine")
    browser = browser_of(owner)

    def found(name: str, word: str) -> set[str]:
        rows = browser.get(reverse(f"edge_ai:{name}-list"), {"search": word}).content.decode()
        return set(re.findall(r">(first|of a Kite|third|not mine|both|wrens)</a>", rows))

    assert found("benchmark", "KITE") == {"first", "of a Kite"}
    assert found("benchmark", "wren") == {"of a Kite", "third"}
    assert found("benchmark", "owl") == set()
    assert found("comparison", "kite") == {"both"}
    assert found("comparison", "wrens") == {"wrens"}


def test_rows_without_a_value_come_last_whichever_way(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        factories.make_benchmark(owner, model, name="waits")
        for name, p50_ms in (("quick", 1.0), ("slow", 9.0)):
            factories.make_benchmark(owner, model, name=name, p50_ms=p50_ms, status="completed")
    browser = browser_of(owner)

    def order(ordering: str) -> list[str]:
        text = browser.get(reverse("edge_ai:benchmark-list"), {"ordering": ordering}).content.decode()
        return re.findall(r">(waits|quick|slow)</a>", text)

    assert order("p50") == ["quick", "slow", "waits"]
    assert order("-p50") == ["slow", "quick", "waits"]


def test_models_are_found_by_precision_digest_and_day(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        small = factories.make_model(owner, name="net-01", precision="qdq-int8")
        factories.make_model(owner, name="net-02", precision="fp32")
    browser = browser_of(owner)

    def found(query: str) -> set[str]:
        return set(names(browser.get(reverse("edge_ai:model-list") + "?" + query).content.decode()))

    assert found("precision=int8") == {"net-01"}
    assert found(f"search={small.sha256[:8].upper()}") == {"net-01"}
    assert found("created_after=2020-01-01") == {"net-01", "net-02"}
    assert found("created_after=2999-01-01") == set()
    assert found("created_after=yesterday") == {"net-01", "net-02"}


def test_housekeeping_shows_only_when_asked_for(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        Job.objects.create(owner=owner, kind="deletion", queue="studio", name="Clear up")
    browser = browser_of(owner)
    for query, there in (("", False), ("?kind=deletion", True), ("?kind=nonsense", False), ("?status=queued", False)):
        assert ("Clear up" in browser.get(reverse("edge_ai:job-list") + query).content.decode()) is there
