"""Staff change a device template, see what will spread, and everybody sees it on the device's page."""

from __future__ import annotations

import time

from playwright.sync_api import StorageState, expect

from tests.browser.bars import serious
from tests.browser.conftest import Open

BOARD = "Raspberry Pi Pico 2 (RP2350)"
#: How long the workers may take to carry a change to every workspace.
SPREADS_WITHIN_S = 60


def test_staff_change_a_template_and_people_see_it(open_page: Open, signed_in: StorageState) -> None:
    page = open_page(storage_state=signed_in)
    page.goto("/admin/catalogue/devicetemplate/?q=Pico")
    page.get_by_role("link", name=BOARD).first.click()
    said = f"Changed by a test at {time.time():.0f}."
    page.get_by_label("Description:").fill(said)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Change “{BOARD}”?")
    row = page.get_by_role("row").filter(has_text=said)
    expect(row.get_by_role("rowheader")).to_have_text("Description")
    expect(row.locator("ins")).to_have_text(said)
    assert not serious(page)
    page.get_by_role("button", name="Change it everywhere").click()
    expect(page.get_by_text("The change is on its way to every workspace.")).to_be_visible()
    until = time.monotonic() + SPREADS_WITHIN_S
    page.goto("/devices/?search=Pico")
    page.get_by_role("main").get_by_role("link", name=BOARD).click()
    while not page.get_by_text(said).is_visible() and time.monotonic() < until:
        page.wait_for_timeout(500)
        page.reload()
    expect(page.get_by_text(said)).to_be_visible()
    page.goto("/settings/audit/?action=device_template.changed")
    expect(page.get_by_role("row").filter(has_text=BOARD).first).to_contain_text("device_template.changed")
