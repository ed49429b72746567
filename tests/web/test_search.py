"""One search over everything: by name, by the beginning of a digest, by id; grouped, and only what one may see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User, Workspace
from edge_ai.web.finding import SHOWN, SUGGESTED, Group, find
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
SUGGEST = {"HX-Request": "true"}


def kinds(groups: list[Group]) -> list[str]:
    return [group.name for group in groups]


def titles(groups: list[Group]) -> list[str]:
    return [hit.title for group in groups for hit in group.hits]


def test_each_kind_is_found_by_name(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, name="Heron net")
        factories.make_optimization(owner, model, name="Heron to int8")
        factories.make_benchmark(owner, model, name="Heron timed")
        factories.make_device(owner, name="Heron board")
        factories.make_dataset(owner, name="Heron samples")
        assert kinds(find(owner, "heron", most=9)) == ["model", "job", "benchmark", "device", "dataset"]
        assert find(owner, "no such thing", most=9) == []
        assert find(owner, "  ", most=9) == []
    text = browser_of(owner).get(reverse("edge_ai:search"), {"q": "heron"}).content.decode()
    for name in ("Heron net", "Heron to int8", "Heron timed", "Heron board", "Heron samples"):
        assert f">{name}</a>" in text


def test_digests_from_six_digits_and_ids_from_eight(alpha: Workspace, owner: User) -> None:
    rows = make_rows(alpha, owner)
    with inside(alpha, owner):
        other = factories.make_model(owner, name="other", sha256="abcdef" + "0" * 58)
        assert titles(find(owner, "ABCDEF", most=9)) == ["other"]
        assert find(owner, "abcde", most=9) == []
        assert titles(find(owner, other.sha256, most=9)) == ["other"]
        for row, kind in (
            (rows.variant, "model"),
            (rows.optimization, "job"),
            (rows.benchmark, "benchmark"),
            (rows.device, "device"),
            (rows.dataset, "dataset"),
        ):
            whole = str(row.pk)
            for words in (whole, whole.upper(), whole.replace("-", ""), whole[:8], whole[:13]):
                assert kind in kinds(find(owner, words, most=9)), words
            assert kind not in kinds(find(owner, whole[:7], most=9)) or whole[:6] in rows.model.sha256


def test_only_what_one_may_see(
    alpha: Workspace, owner: User, colleague: User, outsider: User, browser_of: Browser
) -> None:
    rows = make_rows(alpha, owner)
    with inside(alpha, colleague):
        factories.make_model(colleague, name="digits of a colleague")
    for person in (colleague, outsider):
        for words in (rows.variant.name, str(rows.model.pk), rows.model.sha256):
            text = browser_of(person).get(reverse("edge_ai:search"), {"q": words}).content.decode()
            assert f"/models/{rows.model.pk}/" not in text
            assert f"/models/{rows.variant.pk}/" not in text
    assert (
        "digits of a colleague"
        not in browser_of(owner).get(reverse("edge_ai:search"), {"q": "digits"}).content.decode()
    )


def test_what_begins_with_the_words_comes_first_and_the_rest_is_led_to(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        factories.make_model(owner, name="crane")
        for number in range(SHOWN + 3):
            factories.make_model(owner, name=f"a crane {number}")
        found = find(owner, "crane", most=SUGGESTED)
    assert titles(found)[0] == "crane"
    assert len(titles(found)) == SUGGESTED
    assert found[0].more == f"{reverse('edge_ai:model-list')}?search=crane"
    text = browser_of(owner).get(reverse("edge_ai:search"), {"q": "crane"}).content.decode()
    assert 'href="/models/?search=crane"' in text


def test_it_takes_as_many_queries_whatever_there_is(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)

    def asked(headers: dict[str, str]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(reverse("edge_ai:search"), {"q": "digits"}, headers=headers).status_code == 200
        return len(queries)

    make_rows(alpha, owner)
    before = asked({}), asked(SUGGEST)
    for _ in range(20):
        make_rows(alpha, owner)
    assert (asked({}), asked(SUGGEST)) == before
    assert max(before) < 15


def test_suggestions_are_options_of_a_listbox(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    make_rows(alpha, owner)
    browser = browser_of(owner)
    text = browser.get(reverse("edge_ai:search"), {"q": "digits"}, headers=SUGGEST).content.decode()
    assert "<h1" not in text
    assert 'role="listbox"' in text
    assert text.count('role="option"') >= 3
    assert "Everything that matches" in text
    none = browser.get(reverse("edge_ai:search"), {"q": "zebra"}, headers=SUGGEST).content.decode()
    assert "Nothing matches" in none
    assert browser.get(reverse("edge_ai:search"), {"q": ""}, headers=SUGGEST).content.decode().strip() == ""


@pytest.mark.parametrize("words", ["%", "'", "<b>x</b>", "\\", "x" * 5000, "-", "%00", "deadbeef", "0" * 64])
def test_strange_words_are_no_error(words: str, owner: User, browser_of: Browser) -> None:
    for headers in ({}, SUGGEST):
        response = browser_of(owner).get(reverse("edge_ai:search"), {"q": words}, headers=headers)
        assert response.status_code == 200
        assert "<b>x" not in response.content.decode()


def test_jobs_are_found_among_very_many_benchmarks(
    alpha: Workspace, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ai.web.finding.READ", 5)
    with inside(alpha, owner):
        model = factories.make_model(owner, name="stork")
        factories.make_optimization(owner, model, name="stork to int8")
        for number in range(7):
            factories.make_benchmark(owner, model, name=f"stork {number}")
        found = {group.name: [hit.title for hit in group.hits] for group in find(owner, "stork", most=2)}
    assert found["job"] == ["stork to int8"]
    assert found["benchmark"] == ["stork 6", "stork 5"]
