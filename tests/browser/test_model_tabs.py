"""Tabs of a model's page in a browser: charts that are drawn, tables that are found without a script."""

from __future__ import annotations

import re

from playwright.sync_api import StorageState, expect

from tests.browser.bars import COLOURS, go
from tests.browser.conftest import Open
from tests.browser.work import Work


def test_a_family_is_drawn_and_told_in_a_table(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    go(page, f"/models/{work.model}/?tab=variants")
    for chart in ("size", "latency", "accuracy"):
        assert page.locator(f"#family-{chart}-chart canvas").evaluate(COLOURS) > 2, f"{chart} is blank"
    row = page.get_by_role("row").filter(has_text="int8").first
    expect(row).to_contain_text("× smaller")
    expect(row).to_contain_text("points")


def test_layers_are_found_and_sorted_without_javascript(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in, java_script_enabled=False, viewport={"width": 360, "height": 760})
    go(page, f"/models/{work.model}/?tab=layers")
    page.get_by_label("Name or type").fill("conv")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile("tab=layers&search=conv"))
    table = page.get_by_role("region", name="Table of layers")
    expect(table.get_by_role("row")).to_have_count(5)
    table.get_by_role("link", name="MACs").click()
    expect(table.get_by_role("row").nth(1)).to_contain_text("53.1 %")
