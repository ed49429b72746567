"""The documentation inside the studio: every file a page, every link a place, every word found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

from edge_ai.web import documentation
from edge_ai.web.documentation import address_of, pages, read_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = sorted(each.stem for each in DOCS.glob("*.md"))
# A page of its own shows the codes, in a table.
RENDERED = [name for name in NAMES if name != "errors"]
CLIENT = Client()


def text_of(address: str) -> str:
    response = CLIENT.get(address)
    assert response.status_code == 200, address
    return response.content.decode()


@pytest.mark.parametrize("name", RENDERED)
def test_every_file_is_a_page(db: None, name: str) -> None:
    text = text_of(f"/docs/{name}/")
    assert text.count("<h1") == 1
    assert f'href="/docs/{name}/" aria-current="page"' in text
    assert " style=" not in text
    assert not re.search(r'href="[^"]*\.md[#"]', text)
    assert pages()[name].description


def test_every_link_between_pages_leads_to_a_place(db: None) -> None:
    anchors = {name: set(re.findall(r' id="([^"]+)"', text_of(f"/docs/{name}/"))) for name in NAMES}
    for name in NAMES:
        for target, anchor in re.findall(r'href="/docs/([a-z0-9-]+)/(?:#([^"]+))?"', pages()[name].html):
            assert target in anchors, f"{name} leads to {target}"
            assert not anchor or anchor in anchors[target], f"{name} leads to {target}#{anchor}"
        for anchor in re.findall(r'href="#([^"]+)"', pages()[name].html):
            assert anchor in anchors[name], f"{name} leads to #{anchor}"


def test_files_that_are_no_pages_are_not_linked() -> None:
    page = read_page("x", "# T\n\nSee [a decision](decisions/0001-tenancy.md) and [b](b.md#c).", frozenset({"b"}))
    assert "<span>a decision</span>" in page.html
    assert '<a href="/docs/b/#c" class="link">b</a>' in page.html
    assert address_of("javascript:alert(1)", frozenset()) is None


def test_html_in_markdown_stays_text() -> None:
    page = read_page("x", '# T\n\n<script>alert(1)</script>\n\n```json\n{"a": "<b>"}\n```\n', frozenset())
    assert "<script" not in page.html
    assert "<b>" not in page.html
    assert 'class="hl-' in page.html


def test_pages_are_read_one_after_another(db: None) -> None:
    ordered = list(pages())
    assert ordered[0] == "getting-started"
    assert f'rel="next" href="/docs/{ordered[1]}/"' in text_of(f"/docs/{ordered[0]}/")
    assert f'rel="prev" href="/docs/{ordered[-2]}/"' in text_of(f"/docs/{ordered[-1]}/")
    index = text_of("/docs/")
    assert all(f'href="/docs/{name}/"' in index for name in ordered)


@pytest.mark.parametrize(
    ("query", "name"),
    [("webhook signature", "webhooks"), ("DATABASE_URL", "settings"), ("percentiles", "measuring")],
)
def test_search_finds_the_page_that_tells(query: str, name: str) -> None:
    assert name in [each.page.name for each in documentation.search(query)][:8]


def test_the_best_comes_first() -> None:
    found = documentation.search("sandbox")
    assert found[0].page.name == "sandbox"
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    assert any("<mark>" in each.snippet for each in found)


def test_what_is_looked_for_is_shown_as_text(db: None) -> None:
    text = text_of("/docs/search/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in text
    assert "Nothing holds all words" in text
    assert "Type a word or two" in text_of("/docs/search/")
    assert documentation.search("(((((a+)+)+)+$ " * 20) == []


def test_an_unknown_page_is_not_there(db: None) -> None:
    assert CLIENT.get("/docs/no-such-page/").status_code == 404
    assert CLIENT.post("/docs/").status_code == 405
