"""A colleague comes by an invitation, sees what is shared, and goes."""

from __future__ import annotations

import re

from playwright.sync_api import StorageState, expect

from tests.browser.conftest import Open
from tests.browser.mails import link_for
from tests.browser.work import API, Work
from tests.conftest import ask
from tests.studio import RealStudio

ADDRESS = "invited@example.com"
PASSWORD = "violet submarine 9"


def test_an_invited_colleague_makes_an_account_sees_what_is_shared_and_is_removed(
    open_page: Open, signed_in: StorageState, work: Work, studio: RealStudio
) -> None:
    for visibility, model in (("workspace", work.model), ("private", work.variant)):
        assert ask(studio, "PATCH", f"{API}models/{model}/", {"visibility": visibility}).status == 200
    page = open_page(storage_state=signed_in)
    page.goto("/settings/members/")
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Email").fill(ADDRESS)
    page.get_by_label("Role").select_option("viewer")
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_role("status").filter(has_text=f"{ADDRESS} is invited")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(ADDRESS))).to_contain_text("Viewer")

    theirs = open_page(expected="404 (Not Found)", java_script_enabled=False, viewport={"width": 360, "height": 760})
    theirs.goto(link_for(studio, ADDRESS))
    expect(theirs.get_by_role("heading", level=1)).to_have_text(re.compile("^Join "))
    theirs.get_by_label("Name").fill("Ines Invited")
    theirs.get_by_label("Password").fill(PASSWORD)
    theirs.get_by_role("button", name="Make the account and join").click()
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Overview")
    theirs.goto(f"/models/{work.model}/")
    expect(theirs.get_by_role("heading", level=1)).to_be_visible()
    answer = theirs.goto(f"/models/{work.variant}/")
    assert answer is not None
    assert answer.status == 404

    page.reload()
    row = page.get_by_role("row", name=re.compile(ADDRESS))
    row.get_by_label(f"Role of {ADDRESS}").select_option("member")
    row.get_by_role("button", name="Change").click()
    expect(page.get_by_role("status").filter(has_text="is member now")).to_be_visible()
    page.get_by_role("row", name=re.compile(ADDRESS)).get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").filter(has_text="does not belong")).to_be_visible()
    theirs.goto(f"/models/{work.model}/")
    expect(theirs.get_by_role("heading", level=1)).to_have_text("Workspaces")
