"""Charts: saved as picture and as table, read by the keyboard, and drawn in another way where there is one."""

from __future__ import annotations

import csv
from pathlib import Path

from playwright.sync_api import Page, StorageState, expect

from tests.browser.conftest import Open
from tests.browser.work import Work

PNG = b"\x89PNG\r\n\x1a\n"
SIDE_BY_SIDE = "/compare/?run={work.benchmark}&run={work.compared_benchmark}"
PAGES = {
    "/benchmarks/{work.benchmark}/": {"histogram-chart", "series-chart", "operators-chart"},
    "/comparisons/{work.comparison}/": {"scatter-chart", "forest-chart"},
    SIDE_BY_SIDE: {
        *("distribution-chart", "scatter-chart", "latency-chart", "size-chart", "memory-chart", "accuracy-chart"),
    },
    "/settings/usage/": {f"{period}-{what}-chart" for period in ("days", "months") for what in ("minutes", "stored")},
}
# Drawn as soon as there is enough to draw: a second run of a series, a day that has been added up.
LATER = {
    "/models/{work.model}/?tab=history": {f"history-chart-{number}" for number in range(9)},
    "/overview/": {"jobs-chart", "wait-chart"},
}
SHOWN = "id => document.querySelector(`#${id} canvas`).toDataURL()"
# How long a tooltip takes to come or go.
SETTLE_MS = 300


def shown(page: Page, chart: str) -> str:
    """Return what a chart looks like."""
    page.wait_for_timeout(SETTLE_MS)
    return str(page.evaluate(SHOWN, chart))


def saved(page: Page, button: str) -> Path:
    """Press a button that saves something, and return where it was put."""
    with page.expect_download() as download:
        page.locator(button).click()
    return Path(download.value.path())


def test_every_chart_is_saved_as_a_picture_and_as_a_table(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    for address, known in {**PAGES, **LATER}.items():
        page.goto(address.format(work=work))
        charts = {str(each.get_attribute("id")) for each in page.locator(".chart").all()}
        assert charts == known or (address in LATER and charts < known), address
        for chart in sorted(charts):
            page.goto(address.format(work=work))  # of one showing of a page, Chromium lets ten things be saved unasked
            picture = saved(page, f'[data-png="{chart}"]').read_bytes()
            assert picture.startswith(PNG) and len(picture) > 2000, chart
            rows = list(csv.reader(saved(page, f'[data-csv="{chart}"]').read_text("utf-8-sig").splitlines()))
            assert len(rows) > 1 and {len(row) for row in rows[:2]} == {len(rows[0])}, chart


def test_the_saved_table_has_all_digits(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(SIDE_BY_SIDE.format(work=work))
    rows = list(csv.DictReader(saved(page, '[data-csv="scatter-chart"]').read_text("utf-8-sig").splitlines()))
    assert [row["Run"] for row in rows] == ["1", "2"]
    assert rows[0]["model"] == "Shown digits"
    low, median, high = (float(rows[0][name]) for name in ("p50_ci95_low", "p50_ms", "p50_ci95_high"))
    assert 0 < low <= median <= high
    ratio = float(rows[1]["p50_ms"]) / median
    assert abs(float(rows[1]["ratio_p50"]) - ratio) < 1e-9 * ratio
    assert rows[1]["Significant?"] in {"faster", "slower", "inconclusive"}


def test_the_keyboard_reads_a_chart(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(f"/benchmarks/{work.benchmark}/")
    before = shown(page, "series-chart")
    page.locator("#series-chart").focus()
    page.keyboard.press("ArrowRight")
    told = shown(page, "series-chart")
    assert told != before
    page.keyboard.press("End")
    assert shown(page, "series-chart") != told
    page.keyboard.press("Escape")
    page.keyboard.press("+")
    near = shown(page, "series-chart")
    assert near != before
    for _ in range(5):
        page.keyboard.press("-")
    assert shown(page, "series-chart") != near


def test_operators_are_drawn_as_bars_or_as_areas(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    page.goto(f"/benchmarks/{work.benchmark}/")
    bars = shown(page, "operators-chart")
    page.get_by_role("radio", name="Bars").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Areas")).to_be_checked()
    areas = shown(page, "operators-chart")
    assert areas != bars
    page.locator("#operators-chart").focus()
    page.keyboard.press("ArrowRight")
    assert shown(page, "operators-chart") != areas


def test_runs_are_ticked_and_compared_without_a_script(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in, java_script_enabled=False)
    page.goto("/benchmarks/?kind=measured")
    for run in (work.benchmark, work.compared_benchmark):
        page.locator(f'input[name="run"][value="{run}"]').check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Benchmarks side by side")
    expect(page.locator("#runs-table tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Hold against this").click()
    assert f"against={work.compared_benchmark}" in page.url
    expect(page.locator("#runs-table tbody tr").first).to_contain_text("int8")
    page.get_by_role("link", name="Measure these side by side", exact=False).first.click()
    expect(page.locator('input[name="model"]:checked')).to_have_count(2)
