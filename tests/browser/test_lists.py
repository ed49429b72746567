"""Lists, the search and the notices in a real browser: by mouse, by keyboard alone, and without JavaScript."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Page, Route, StorageState, expect

from tests.browser.conftest import Open
from tests.browser.work import SAMPLE, await_final, upload
from tests.studio import RealStudio

CONTENT = (SAMPLE / "digits.onnx").read_bytes()
JOB_MS = 120_000
# What the browser and htmx log of a request that the test itself has cut off.
CUT_OFF = ("net::ERR_FAILED", "htmx:afterRequest", "htmx:sendError", "htmx:sendAbort")


@pytest.fixture
def named(studio: RealStudio) -> str:
    """Three models whose names begin alike, with a word that nothing else has."""
    word = f"Kite {uuid.uuid4().hex[:6]}"
    for letter in "abc":
        model = upload(studio, "models/", "digits.onnx", CONTENT, name=f"{word} {letter}")["id"]
        await_final(studio, f"models/{model}/")
    return word


def shown(page: Page, word: str) -> list[str]:
    """The names in the table, in order."""
    return [name for name in page.locator("#list tbody th a").all_inner_texts() if word in name]


def test_filters_order_length_and_bulk_without_javascript(open_page: Open, signed_in: StorageState, named: str) -> None:
    page = open_page(viewport={"width": 360, "height": 760}, storage_state=signed_in, java_script_enabled=False)
    page.goto("/models/?view=all")
    page.get_by_label("Name, tag or SHA-256").fill(named)
    page.locator("#f-format").select_option("onnx")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".chip")).to_have_count(2)
    page.get_by_role("columnheader").get_by_role("link", name="Model").click()
    page.get_by_role("columnheader").get_by_role("link", name="Model").click()
    expect(page).to_have_url(re.compile("ordering=name"))
    assert shown(page, named) == [f"{named} {letter}" for letter in "abc"]
    # Elsewhere and back: the view has stayed.
    page.goto("/jobs/")
    page.goto("/models/")
    expect(page).to_have_url(re.compile("ordering=name"))
    page.get_by_label(f"Choose {named} a").check()
    page.get_by_label(f"Choose {named} b").check()
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 2 models?")
    expect(page.get_by_role("main")).to_contain_text(f"{named} b")
    page.get_by_role("button", name="Delete 2 models").click()
    expect(page.locator(".note-success")).to_contain_text("2 models are deleted.")
    assert shown(page, named) == [f"{named} c"]
    page.get_by_role("link", name="Show all", exact=True).click()
    expect(page.locator(".chip")).to_have_count(0)


def test_the_list_follows_what_is_typed_and_says_when_it_cannot(
    open_page: Open, signed_in: StorageState, named: str
) -> None:
    page = open_page(storage_state=signed_in, expected=CUT_OFF)
    page.goto("/models/?view=all")
    page.evaluate("window.notReloaded = true")
    page.get_by_label("Name, tag or SHA-256").press_sequentially(f"{named} b")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.get_by_label("Name, tag or SHA-256")).to_be_focused()
    expect(page.locator("[data-list-said]")).to_have_text("1 model")
    assert "format=" not in page.url
    page.get_by_role("columnheader").get_by_role("link", name="Size").press("Enter")
    expect(page).to_have_url(re.compile("ordering=-size"))
    expect(page.locator("#sort-size")).to_be_focused()
    assert page.evaluate("window.notReloaded")

    def cut(route: Route) -> None:
        route.abort()

    page.route("**/models/?*", cut)
    page.locator("#f-format").select_option("tflite")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("could not be loaded")
    expect(page.locator("#list")).not_to_have_attribute("aria-busy", "true")
    page.unroute("**/models/?*")
    alert.get_by_role("link", name="Try again").click()
    expect(page.locator("#list")).to_contain_text("No model matches")
    page.go_back()
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


def test_rows_are_chosen_and_counted(open_page: Open, signed_in: StorageState, named: str) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(f"/models/?search={named}")
    bar = page.locator("[data-bulk]")
    expect(bar).to_be_hidden()
    page.get_by_label("Choose all on this page").check()
    expect(bar).to_contain_text("3 models chosen")
    page.get_by_label(f"Choose {named} b").uncheck()
    expect(bar).to_contain_text("2 models chosen")
    assert page.get_by_label("Choose all on this page").evaluate("box => box.indeterminate")
    bar.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(re.compile(r"/comparisons/new/\?model=.+&model="))
    page.go_back()
    page.get_by_label("Choose all on this page").check()
    bar.get_by_role("button", name="Share…", exact=True).click()
    page.get_by_role("button", name="Share 3 models").click()
    expect(page.locator(".note-success")).to_contain_text("3 models are shared.")


def test_the_search_suggests_and_the_keys_choose(open_page: Open, signed_in: StorageState, named: str) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/overview/")
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Search", exact=True)
    expect(box).to_be_focused()
    page.keyboard.type(named)
    options = page.get_by_role("option")
    expect(options.filter(has_text=f"{named} a").first).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    page.keyboard.press("Escape")
    expect(options.first).to_be_hidden()
    expect(box).to_have_value(named)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search/\?q=Kite"))
    expect(page.get_by_role("heading", level=1)).to_contain_text(named)
    page.keyboard.press("/")
    page.keyboard.type(f"{named} c")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=f"{named} c", exact=True)).to_be_visible()


def test_a_phone_searches_without_javascript(open_page: Open, signed_in: StorageState, named: str) -> None:
    page = open_page(viewport={"width": 360, "height": 760}, storage_state=signed_in, java_script_enabled=False)
    page.goto("/overview/")
    page.get_by_role("banner").get_by_role("link", name="Search").click()
    page.get_by_label("Name, SHA-256 or id").fill(f"{named} a")
    page.get_by_role("main").get_by_role("button", name="Search").click()
    page.get_by_role("link", name=f"{named} a", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{named} a")


def test_keys_lead_to_sections_and_through_rows(open_page: Open, signed_in: StorageState, named: str) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/overview/")
    for key, heading in (
        *(("m", "Models"), ("j", "Jobs"), ("b", "Benchmarks"), ("d", "Devices"), ("c", "Compare")),
        *(("a", "Artifacts"), ("t", "Data sets"), ("s", "API keys"), ("o", "Overview")),
    ):
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        page.wait_for_load_state()
    page.goto(f"/models/?search={named}&ordering=name")
    for key, letter in (("j", "a"), ("j", "b"), ("j", "c"), ("j", "c"), ("k", "b")):
        page.keyboard.press(key)
        expect(page.get_by_role("link", name=f"{named} {letter}", exact=True)).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_label(f"Choose {named} b")).to_be_checked()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{named} a")
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next and previous row of a list")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_job_that_ends_is_told_once_on_any_page(open_page: Open, signed_in: StorageState, studio: RealStudio) -> None:
    page = open_page(storage_state=signed_in)
    with page.expect_response(re.compile("/jobs/ended/")):
        page.goto("/devices/")
    name = f"Told {uuid.uuid4().hex[:6]}"
    upload(studio, "models/", "digits.onnx", CONTENT, name=name)
    notice = page.locator("[data-notices]").get_by_text(f"Analysis “{name}” completed.")
    expect(notice).to_be_visible(timeout=JOB_MS)
    assert page.locator("[data-notices]").get_attribute("aria-live") == "polite"
    with page.expect_response(re.compile("/jobs/ended/")):
        page.goto("/artifacts/")
    # The answer is worked through before the page has been idle for so long.
    page.wait_for_timeout(500)
    expect(notice).to_have_count(0)


def test_notices_by_the_system_are_asked_for_only_on_a_click(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.add_init_script(
        "window.asked = 0; Notification.requestPermission = async () => { window.asked += 1; return 'denied'; };"
    )
    page.goto("/overview/")
    page.get_by_label("Account", exact=True).click()
    control = page.get_by_role("switch", name="Notify me when a job ends")
    expect(control).to_have_attribute("aria-checked", "false")
    assert page.evaluate("window.asked") == 0
    control.click()
    assert page.evaluate("window.asked") == 1
    expect(control).to_have_attribute("aria-checked", "false")
