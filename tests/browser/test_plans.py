"""The plans beside forms, and lists at the widths of usual screens."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Error, Route, StorageState, expect

from tests.browser.conftest import Open
from tests.browser.work import SAMPLE, Work, await_final, upload
from tests.studio import RealStudio

# What htmx logs of a request that a later one has ended.
ENDED = ("htmx:sendAbort", "htmx:afterRequest", "net::ERR_ABORTED")
BOXES = "[...document.querySelectorAll('.table-box')].map((box) => box.scrollWidth - box.clientWidth)"


def test_the_latest_choice_is_what_is_planned(open_page: Open, signed_in: StorageState, studio: RealStudio) -> None:
    model = upload(studio, "models/", "digits.onnx", (SAMPLE / "digits.onnx").read_bytes(), name="Planned twice")["id"]
    await_final(studio, f"models/{model}/")
    page = open_page(storage_state=signed_in, expected=ENDED)
    page.goto(f"/models/{model}/optimize/")
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if route.request.method == "POST" and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/optimize/", hold_the_first)
    page.get_by_label("fp16 weights").check()
    page.wait_for_timeout(500)
    assert held, "the first choice was not asked for"
    page.get_by_label("int8, dynamic").check()
    page.wait_for_timeout(500)
    with suppress(Error):  # the page has ended it, where it does as it should
        held[0].continue_()
    expect(page.locator("#plan")).to_contain_text("Makes int8 dynamic")
    page.wait_for_timeout(500)
    expect(page.locator("#plan")).to_contain_text("Makes int8 dynamic")


def test_the_list_of_benchmarks_needs_no_scrolling_on_a_usual_screen(
    open_page: Open, signed_in: StorageState, work: Work
) -> None:
    page = open_page(storage_state=signed_in)
    for width in (1440, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("/benchmarks/?view=all")
        expect(page.locator("#list tbody tr").first).to_be_visible()
        assert page.evaluate(BOXES) == [0], width
