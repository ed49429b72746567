"""A comparison is shared, opened by somebody without an account, and revoked."""

from __future__ import annotations

from playwright.sync_api import StorageState, expect

from tests.browser.bars import NOT_FOUND, serious
from tests.browser.conftest import Open
from tests.browser.work import Work

DRAWN = "canvas => canvas.width > 0 && canvas.toDataURL().length > 2000"


def test_a_link_is_made_opened_and_revoked(open_page: Open, signed_in: StorageState, work: Work) -> None:
    page = open_page(storage_state=signed_in)
    stranger = open_page(expected=NOT_FOUND, viewport={"width": 360, "height": 800})
    subjects = {
        f"/compare/?run={work.benchmark}&run={work.compared_benchmark}": ["distribution-chart", "scatter-chart"],
        f"/comparisons/{work.comparison}/": ["scatter-chart", "forest-chart"],
    }
    for subject, charts in subjects.items():
        page.goto(subject)
        page.get_by_label("Lasts").select_option("1h")
        page.get_by_role("button", name="Make a link").click()
        link = page.locator("#made-link").inner_text()
        stranger.goto(link)
        expect(stranger.get_by_role("heading", level=1)).to_contain_text("side by side")
        expect(stranger.get_by_role("main")).to_contain_text("Shown digits")
        for chart in charts:
            assert stranger.locator(f"#{chart} canvas").evaluate(DRAWN), chart
        assert stranger.evaluate("document.documentElement.scrollWidth") <= 360
        assert serious(stranger) == []
        hrefs = stranger.locator("main a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert hrefs == [], "nothing leads further in"
        page.goto(subject)
        row = page.get_by_role("region", name="Table of links").locator("tbody tr").first
        expect(row.locator("td").nth(2)).to_have_text("1")
        row.get_by_text("Revoke…").click()
        row.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("is revoked: it leads nowhere now.")).to_be_visible()
        answer = stranger.reload()
        assert answer is not None and answer.status == 404
        expect(stranger.get_by_role("heading", level=1)).to_have_text("This link leads nowhere")
        assert serious(stranger) == []
