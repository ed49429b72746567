"""Every page of the URL table in a real browser, in both themes: what :mod:`tests.browser.bars` holds them to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import pytest
from django.urls import Resolver404, resolve, reverse
from playwright.sync_api import Browser, Page, StorageState, ViewportSize

from config.addresses import addresses
from tests.browser.bars import NARROW, TELL_BREACHES, WATCH_SHIFTS, Complaints, serious, thin_out, too_wide, unsteady
from tests.browser.places import find_places
from tests.browser.visits import ELSEWHERE, FOR_PROGRAMS, Visit, visits
from tests.browser.work import Work
from tests.studio import RealStudio

WIDE: ViewportSize = {"width": 1440, "height": 900}
#: The studio's own pages of the administration.
OWN = {
    f"admin:edge_ai_{page}" for page in ("workspaces", "jobs", "deliveries", "audit", "queues", "sandbox", "converters")
}
BETWEEN = (640, 768, 1024)
PHONE: ViewportSize = {"width": NARROW, "height": 760}


class Walker:
    """Windows, wide and light or small and dark, of somebody signed in and of a stranger; and what they have met."""

    def __init__(self, browser: Browser, base: str, state: StorageState) -> None:
        self.complaints = Complaints()
        self.faults: list[str] = []
        people = {True: state, False: None}
        self.wide = {who: self._window(browser, base, kept, "light", WIDE) for who, kept in people.items()}
        self.small = {who: self._window(browser, base, kept, "dark", PHONE) for who, kept in people.items()}

    def _window(
        self,
        browser: Browser,
        base: str,
        state: StorageState | None,
        theme: Literal["light", "dark"],
        size: ViewportSize,
    ) -> Page:
        context = browser.new_context(
            base_url=base, storage_state=state, reduced_motion="reduce", color_scheme=theme, viewport=size
        )
        context.add_init_script(TELL_BREACHES)
        context.add_init_script(WATCH_SHIFTS)
        page = context.new_page()
        self.complaints.hear(page, requests=True)
        return page

    def see(self, visit: Visit) -> None:
        """Load a page on a wide light screen and on a dark phone."""
        wide, small = self.wide[visit.signed_in], self.small[visit.signed_in]
        for page in (wide, small):
            self._open(page, visit.path)
            self.faults += unsteady(page) + too_wide(page)
        if visit.alike:
            return
        for width in BETWEEN:
            wide.set_viewport_size({"width": width, "height": 900})
            self.faults += too_wide(wide)
        wide.set_viewport_size(WIDE)
        for page in (wide, small):
            thin_out(page)
            self.faults += serious(page, again=page is small)

    def glance(self, path: str) -> list[str]:
        """Load a page of the administration once, and look at it in both themes and on a phone; return where its links lead.

        Forms of Django's own build their widgets when all has loaded, and move then; the studio's pages are steady.
        """
        page = self.wide[True]
        self._open(page, path)
        self.faults += unsteady(page) if name_of(path) in OWN else []
        links: list[str] = page.locator("a").evaluate_all("links => links.map(link => link.pathname)")
        page.set_viewport_size(PHONE)
        self.faults += too_wide(page)
        thin_out(page)
        page.emulate_media(color_scheme="dark")
        self.faults += serious(page, again=True)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(WIDE)
        self.faults += serious(page)
        return links

    def _open(self, page: Page, path: str) -> None:
        answer = page.goto(path)
        assert answer is not None
        landed = urlsplit(page.url).path
        # The link for a new password leads to its form, without the key in its address.
        if answer.status != 200 or (landed != urlsplit(path).path and not landed.endswith("-set-password/")):
            self.faults.append(f"{path} answers {answer.status} at {page.url}")
        if page.get_by_role("heading", level=1).count() == 0:
            self.faults.append(f"{path} has no heading")

    def end(self) -> None:
        """Fail with everything that was met."""
        for page in (*self.wide.values(), *self.small.values()):
            page.context.close()
        assert not self.faults + self.complaints, "\n".join(self.faults + self.complaints)


@pytest.fixture
def walker(chromium: Browser, studio: RealStudio, signed_in: StorageState) -> Iterator[Walker]:
    """Somebody who walks, and is asked at the end what they met."""
    made = Walker(chromium, studio.base, signed_in)
    yield made
    made.end()


def test_every_page_is_within_the_bars(walker: Walker, studio: RealStudio, work: Work) -> None:
    places = find_places(walker.wide[True], studio, work)
    for visit in visits(places):
        walker.see(visit)


def test_every_page_of_the_admin_site_is_within_the_bars(walker: Walker, work: Work) -> None:
    seen: set[str] = {"admin:index"}
    ahead = [reverse("admin:index")]
    while ahead:
        for path in walker.glance(ahead.pop()):
            name = name_of(path)
            if name.startswith("admin:") and name not in seen | ELSEWHERE | FOR_PROGRAMS:
                seen.add(name)
                ahead.append(path)
    # Every list has a link to it, and so has every page of the studio's own; the rest takes a row, and the lists lead there.
    lists = {each.name for each in addresses() if each.name.endswith("_changelist")}
    assert lists | OWN <= seen, (lists | OWN) - seen


def name_of(path: str) -> str:
    """The name of the address that a path has, or nothing."""
    try:
        return resolve(path).view_name
    except Resolver404:
        return ""
