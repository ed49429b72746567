"""Make what the pages of the walk are about, as an owner does: some of it only pages make."""

from __future__ import annotations

import re
import uuid
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.browser.mails import link_for
from tests.browser.visits import Places
from tests.browser.work import Work, made
from tests.studio import RealStudio


def find_places(page: Page, studio: RealStudio, work: Work) -> Places:
    """Invite somebody, share a comparison, add a device, ask for a new password, and prove who one is, for five minutes."""
    email = f"walk-{uuid.uuid4().hex[:8]}@example.com"
    page.goto("/settings/members/invite/")
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Send the invitation").click()
    leave = page.get_by_role("main").get_by_role("link", name="Leave").first.get_attribute("href") or ""
    page.goto(f"/comparisons/{work.comparison}/")
    page.get_by_label("Lasts").select_option("1h")
    page.get_by_role("button", name="Make a link").click()
    shared = page.locator("#made-link").inner_text()
    prove(page, studio)
    return Places(
        work=work,
        own_device=made(studio, "device-profiles/", {"name": "Board of the walk", "category": "phone"}),
        member=leave.split("/")[-3],
        share_token=urlsplit(shared).path.split("/")[2],
        invitation_token=link_for(studio, email).split("/")[2],
        reset=_ask_for_a_new_password(page, studio),
    )


def prove(page: Page, studio: RealStudio) -> None:
    """Say the password once more, so that what concerns the account's safety is shown."""
    page.goto("/accounts/confirm/?next=/settings/account/")
    page.get_by_label("Password").fill(studio.password)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Account")


def _ask_for_a_new_password(page: Page, studio: RealStudio) -> dict[str, str]:
    stranger = page.context.browser.new_page(base_url=studio.base)  # type: ignore[union-attr]  # it has one
    stranger.goto("/accounts/reset/")
    stranger.get_by_label("Email").fill(studio.user)
    stranger.get_by_role("main").get_by_role("button").click()
    expect(stranger).to_have_url(re.compile("/accounts/reset/sent/"))
    stranger.close()
    found = re.search(r"/reset/(?P<uidb36>[^-]+)-(?P<key>.+)/$", link_for(studio, studio.user))
    assert found is not None
    return found.groupdict()
