"""A real browser on a real studio. What the browser complains about fails the test that made it complain."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect, sync_playwright

from tests.browser.bars import TELL_BREACHES, Complaints
from tests.browser.work import Work, do_work
from tests.studio import RealStudio

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_MS = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; without a browser they fail, unless the environment says to leave them out."""
    here = Path(__file__).parent
    reason = os.environ.get("STUDIO_SKIP_BROWSER")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"STUDIO_SKIP_BROWSER: {reason}"))


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The browser. It ends with this folder's tests: its event loop would be in the way of Django in others."""
    if not CHROMIUM.exists():
        pytest.fail(
            f"{CHROMIUM} is missing. Install Debian's package `chromium`, or set STUDIO_SKIP_BROWSER to a reason.",
            pytrace=False,
        )
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def signed_in(chromium: Browser, studio: RealStudio) -> StorageState:
    """The cookies of somebody who has signed in."""
    context = chromium.new_context(base_url=studio.base)
    page = context.new_page()
    page.goto("/accounts/sign-in/")
    sign_in(page, studio)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="package")
def work(studio: RealStudio) -> Work:
    """Finished and failed work to look at."""
    return do_work(studio)


def sign_in(page: Page, studio: RealStudio) -> None:
    """Fill in the form for signing in that the page shows."""
    page.get_by_label("Email").fill(studio.user)
    page.get_by_label("Password").fill(studio.password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


Open = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, studio: RealStudio) -> Iterator[Open]:
    """Open a page in a window of its own: ``open_page(storage_state=signed_in, java_script_enabled=False)``.

    A test fails that leaves anything on a console, except what it says it expects in ``expected``, one text or several.
    """
    complaints = Complaints()
    contexts = []

    def make(*, expected: str | tuple[str, ...] = (), **options: Any) -> Page:
        foreseen = (expected,) if isinstance(expected, str) else expected
        context = chromium.new_context(
            **({"base_url": studio.base, "viewport": {"width": 1440, "height": 900}} | options)
        )
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(TELL_BREACHES)
        contexts.append(context)
        page = context.new_page()

        complaints.hear(page, foreseen)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)
