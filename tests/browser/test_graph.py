"""The graph of a model: drawn by a frame that has no origin, follows the theme, and asks nobody else for anything."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import StorageState, expect

from tests.browser.conftest import Open
from tests.browser.work import Work
from tests.studio import RealStudio

LIGHT = "rgb(255, 255, 255)"


def test_a_graph_is_drawn_in_the_theme_and_reaches_no_other_host(
    open_page: Open, signed_in: StorageState, work: Work, studio: RealStudio
) -> None:
    page = open_page(color_scheme="light", storage_state=signed_in)
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.goto(f"/models/{work.model}/?tab=graph")
    expect(page.get_by_role("status").filter(has_text="choose a node")).to_be_visible()
    graph = page.frame_locator("iframe[data-graph]")
    assert graph.locator("g.node").count() > 3
    expect(graph.locator("#canvas")).to_contain_text("MatMul")
    # Another origin than the page's: neither can look into the other.
    assert page.evaluate("document.querySelector('iframe[data-graph]').contentDocument") is None
    body = graph.locator("body")
    expect(body).to_have_css("background-color", LIGHT)
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="Dark").click()
    expect(body).not_to_have_css("background-color", LIGHT)
    elsewhere = [
        url for url in asked if url.startswith("http") and urlsplit(url).netloc != urlsplit(studio.base).netloc
    ]
    assert elsewhere == []
