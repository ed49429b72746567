"""Every page: no breach of accessibility in either theme, nothing that sticks out of a phone, nothing on the console."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, StorageState, expect

from tests.browser.conftest import Open, sign_in
from tests.browser.work import Work
from tests.studio import RealStudio

MISSING = "11111111-2222-4333-8444-555555555555"
PUBLIC = {
    "landing": "/",
    "sign in": "/accounts/sign-in/",
    "error codes": "/docs/errors/",
}
PAGES = {
    "overview": "/overview/",
    "models": "/models/",
    "models, nothing found": "/models/?search=nothing-has-this-name",
    "model": "/models/{work.model}/",
    "operators": "/models/{work.model}/?tab=operators",
    "variants": "/models/{work.model}/?tab=variants",
    "benchmarks of a model": "/models/{work.model}/?tab=benchmarks",
    "history": "/models/{work.model}/?tab=history",
    "files": "/models/{work.model}/?tab=files",
    "variant": "/models/{work.variant}/",
    "failed model": "/models/{work.broken_model}/",
    "edit": "/models/{work.model}/edit/",
    "delete": "/models/{work.model}/delete/",
    "compatibility": "/models/{work.model}/compatibility/",
    "compatibility of one kind of device": "/models/{work.model}/compatibility/?category=microcontroller",
    "compatibility of one format": "/models/{work.model}/compatibility/?target_format=tflite",
    "optimize": "/models/{work.model}/optimize/",
    "optimize, refused": "/models/{work.model}/optimize/?target_format=openvino&precision=int4",
    "benchmark form": "/models/{work.variant}/benchmark/",
    "data sets": "/datasets/",
    "devices": "/devices/",
    "device": "/devices/{work.device}/",
    "jobs": "/jobs/",
    "optimization": "/jobs/{work.optimization}/",
    "cancelled optimization": "/jobs/{work.cancelled_optimization}/",
    "log": "/jobs/{work.optimization}/events/",
    "bundle": "/jobs/{work.bundle}/",
    "benchmarks": "/benchmarks/",
    "benchmark": "/benchmarks/{work.benchmark}/",
    "compared benchmark": "/benchmarks/{work.compared_benchmark}/",
    "estimate": "/benchmarks/{work.estimate}/",
    "comparisons": "/comparisons/",
    "comparison form": "/comparisons/new/?model={work.model}&model={work.variant}",
    "comparison": "/comparisons/{work.comparison}/",
    "diagnosis": "/diagnoses/{work.diagnosis}/",
    "artifacts": "/artifacts/",
    "keys": "/settings/api-keys/",
    "webhooks": "/settings/webhooks/",
    "webhook": "/settings/webhooks/{work.webhook}/",
    "webhook, nothing found": "/settings/webhooks/{work.webhook}/?status=pending&event=model.failed",
    "add a webhook": "/settings/webhooks/add/",
    "edit a webhook": "/settings/webhooks/{work.webhook}/edit/",
    "workspaces": "/workspaces/",
}
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"
WIDTHS = (1440, 1024, 768, 640, 360)
# How many colours a canvas shows.
COLOURS = """canvas => {
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(pixels).size;
}"""
# What a page that is not there logs in the browser's own name.
NOT_FOUND = "404 (Not Found)"


def serious(page: Page) -> list[str]:
    """Return what axe finds that would keep somebody from using the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{page.url}: {each['id']} ({each['impact']}): {[node['target'] for node in each['nodes']][:5]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


def go(page: Page, address: str) -> None:
    """Open an address that has to be there, or to be said to be missing."""
    answer = page.goto(address)
    assert answer is not None
    assert answer.status in {200, 404}, f"{address}: {answer.status}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_breaks_accessibility(open_page: Open, signed_in: StorageState, work: Work, theme: str) -> None:
    faults: list[str] = []
    for addresses, state in ((PUBLIC, None), (PAGES, signed_in)):
        page = open_page(color_scheme=theme, storage_state=state, expected=NOT_FOUND)
        for address in addresses.values():
            go(page, address.format(work=work))
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            faults += serious(page)
    go(page, f"/models/{MISSING}/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    faults += serious(page)
    assert not faults, "\n".join(faults)


def test_no_page_scrolls_sideways(open_page: Open, signed_in: StorageState, work: Work) -> None:
    wide: list[str] = []
    for addresses, state in ((PUBLIC, None), (PAGES, signed_in)):
        page = open_page(storage_state=state)
        for address in addresses.values():
            go(page, address.format(work=work))
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if excess > 0:
                    wide.append(f"{address} sticks out by {excess} px of {width}")
    assert not wide, "\n".join(wide)


def test_compatibility_is_narrowed_and_explained_without_javascript(
    open_page: Open, signed_in: StorageState, work: Work
) -> None:
    page = open_page(viewport={"width": 360, "height": 760}, storage_state=signed_in, java_script_enabled=False)
    page.goto(f"/models/{work.model}/compatibility/")
    page.get_by_label("Target format").select_option("ncnn")
    page.get_by_label("Kind of device").select_option(label="Microcontroller")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("target_format=ncnn&category=microcontroller"))
    row = page.get_by_role("row").filter(has_text="Raspberry Pi Pico 2")
    row.get_by_text("Refused").click()
    expect(row).to_contain_text("does not run ncnn models; it runs tflite. Choose tflite as the target format")
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_role("heading", name="ONNX", exact=True)).to_be_visible()


def test_a_phone_reaches_every_section(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(viewport={"width": 360, "height": 760}, storage_state=signed_in, has_touch=True)
    for section, heading in {
        "Jobs": "Jobs",
        "Data sets": "Data sets",
        "Devices": "Devices",
        "Artifacts": "Artifacts",
        "Settings": "API keys",
    }.items():
        page.goto("/overview/")
        bar = page.get_by_role("navigation", name="Sections, short")
        if not bar.get_by_role("link", name=section).is_visible():
            bar.get_by_text("More").tap()
        bar.get_by_role("link", name=section).tap()
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(heading, re.IGNORECASE))


def test_the_theme_that_was_chosen_stays(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(color_scheme="light", storage_state=signed_in)
    page.goto("/overview/")
    light = page.evaluate(BACKGROUND)
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(BACKGROUND)
    assert dark != light
    page.goto("/models/")
    assert page.evaluate(BACKGROUND) == dark


def test_the_keyboard_reaches_content_and_search(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/jobs/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search models")).to_be_focused()
    page.keyboard.type("Shown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/models/\?search=Shown"))
    page.locator("#main").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_benchmark_draws_its_samples_and_says_them_in_a_table(
    open_page: Open, signed_in: StorageState, work: Work
) -> None:
    page = open_page(storage_state=signed_in)
    go(page, f"/benchmarks/{work.compared_benchmark}/")
    for chart in ("#histogram-chart", "#series-chart"):
        assert page.locator(f"{chart} canvas").evaluate(COLOURS) > 2, f"{chart} is blank"
    expect(page.get_by_role("main")).to_contain_text("Measured on This machine")
    expect(page.get_by_role("main")).to_contain_text("95 %")


def test_menus_close_by_escape_and_signing_out_ends_it(open_page: Open, studio: RealStudio) -> None:
    page = open_page()
    page.goto("/accounts/sign-in/")
    sign_in(page, studio)
    account = page.get_by_label("Account", exact=True)
    account.click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    account.click()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/overview/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
