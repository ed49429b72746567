"""Pages over a slow line: their tables arrive row by row."""

from __future__ import annotations

import pytest
from playwright.sync_api import StorageState

from tests.browser.bars import WATCH_SHIFTS, slow_down, unsteady
from tests.browser.conftest import Open
from tests.browser.work import Work

COMPATIBILITY = "/models/{work.model}/compatibility/?target_format=tflite"


# Each of these moves by more than is allowed where it is drawn as it comes.
@pytest.mark.parametrize(
    ("path", "width"),
    [(COMPATIBILITY, 1440), ("/docs/api/", 1440), ("/docs/settings/", 1440), ("/docs/settings/", 360)],
)
def test_nothing_moves_while_a_page_arrives_slowly(
    open_page: Open, signed_in: StorageState, work: Work, path: str, width: int
) -> None:
    page = open_page(storage_state=signed_in, viewport={"width": width, "height": 900})
    page.add_init_script(WATCH_SHIFTS)
    page.goto("/")  # what all pages share is there, as with whoever has been here before
    slow_down(page)
    page.goto(path.format(work=work))
    assert not unsteady(page)
