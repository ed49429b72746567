"""What is around every page: sections, search, themes and menus; and charts and filters of some."""

from __future__ import annotations

import re

from playwright.sync_api import StorageState, expect

from tests.browser.bars import COLOURS, NARROW, NOT_FOUND, go, serious, too_wide
from tests.browser.conftest import Open, sign_in
from tests.browser.work import Work
from tests.studio import RealStudio

MISSING = "11111111-2222-4333-8444-555555555555"
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"


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


def test_the_keyboard_reaches_the_search(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/jobs/")
    page.keyboard.press("/")
    expect(page.get_by_role("combobox", name="Search", exact=True)).to_be_focused()
    page.keyboard.type("Shown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search/\?q=Shown"))


def test_what_is_not_there_is_said_within_the_bars(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in, expected=NOT_FOUND, viewport={"width": NARROW, "height": 760})
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        go(page, f"/models/{MISSING}/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
        assert serious(page) + too_wide(page) == []


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
