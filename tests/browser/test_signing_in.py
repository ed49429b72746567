"""Signing in with a second factor and with a passkey, in a real browser with an authenticator made of software."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.accounts.totp import code_of
from tests.browser.bars import serious
from tests.browser.conftest import Open
from tests.studio import ROOT, RealStudio, environment_of

PASSWORD = "correct horse battery 7"
MAKE = """
import sys, django; django.setup()
from accounts.models import User
from config.database.identity import acting_as_system
with acting_as_system():
    User.objects.create_user(sys.argv[1], sys.argv[2])
"""
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def somebody(studio: RealStudio) -> Callable[[str], str]:
    """Make somebody of their own for a test, without a workspace."""

    def make(name: str) -> str:
        email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        environment = environment_of(studio.data_dir) | {"DJANGO_SETTINGS_MODULE": "config.settings"}
        command = [sys.executable, "-c", MAKE, email, PASSWORD]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=200)
        return email

    return make


def sign_in(page: Page, email: str) -> None:
    """Send address and password."""
    page.goto("/accounts/sign-in/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    """Sign out by the menu."""
    page.get_by_label("Account", exact=True).click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile(r"/$"))


def prove(page: Page) -> None:
    """Say the password once more, as asked."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Is it you?")
    assert serious(page) == []
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()


def fits(page: Page) -> None:
    """Hold that a page breaks no accessibility and does not stick out of a phone."""
    assert serious(page) == []
    size = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 760})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, page.url
    assert size is not None
    page.set_viewport_size(size)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_authenticator_app_is_set_up_and_asked_for(
    open_page: Open, studio: RealStudio, somebody: Callable[[str], str], theme: str
) -> None:
    email = somebody(f"app-{theme}")
    page = open_page(base_url=studio.base.replace("127.0.0.1", "localhost"), color_scheme=theme)
    sign_in(page, email)
    page.goto("/settings/account/")
    fits(page)
    page.get_by_role("link", name="Set up an authenticator app").click()
    prove(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Set up an authenticator app")
    expect(page.get_by_role("img", name="The key as a QR code")).to_be_visible()
    fits(page)
    secret = page.locator("#totp-secret").inner_text()
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    codes = page.locator("#recovery-codes li").all_inner_texts()
    assert len(set(codes)) == 10
    fits(page)
    sign_out(page)
    sign_in(page, email)
    expect(page.get_by_role("heading", level=1)).to_have_text("The second factor")
    fits(page)
    page.get_by_label("Code").fill("000000")
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not right")
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("main").get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")
    page.goto("/settings/account/")
    expect(page.get_by_role("main")).to_contain_text("9 left")
    page.goto("/accounts/confirm/factor/?next=/settings/account/recovery-codes/")
    fits(page)
    page.get_by_label("Code").fill(codes[1])
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    for path in ("recovery-codes/", "recovery-codes/new/", "app/remove/"):
        page.goto(f"/settings/account/{path}")
        assert page.url.endswith(path)
        fits(page)


def test_a_passkey_is_added_and_signs_in_alone(
    open_page: Open, studio: RealStudio, somebody: Callable[[str], str]
) -> None:
    email = somebody("passkey")
    page = open_page(base_url=studio.base.replace("127.0.0.1", "localhost"))
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    sign_in(page, email)
    page.goto("/settings/account/")
    page.get_by_role("link", name="Add a passkey").click()
    prove(page)
    page.get_by_label("Name").fill("Software key")
    fits(page)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    kept = devtools.send("WebAuthn.getCredentials", {"authenticatorId": made["authenticatorId"]})["credentials"]
    assert [each["isResidentCredential"] for each in kept] == [True]
    page.goto("/settings/account/")
    expect(page.get_by_role("main")).to_contain_text("Software key signs in alone")
    fits(page)
    sign_out(page)
    page.goto("/accounts/sign-in/")
    page.get_by_role("button", name="Use a passkey instead").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")
    sign_out(page)
    # It is the second factor of the password, too.
    sign_in(page, email)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")
    page.goto("/accounts/confirm/passkey/?next=/settings/account/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Account")
    page.goto("/accounts/confirm/passkey/?next=/settings/account/")
    fits(page)
    page.goto("/settings/account/")
    page.get_by_role("link", name="Rename Software key").click()
    fits(page)
    page.get_by_label("Name").fill("Old key")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Remove Old key").click()
    fits(page)
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("main")).to_contain_text("The passkey is removed.")
    sign_out(page)
    sign_in(page, email)
    expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")


def test_no_passkey_is_said_calmly(open_page: Open, studio: RealStudio) -> None:
    page = open_page(base_url=studio.base.replace("127.0.0.1", "localhost"))
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    page.goto("/accounts/sign-in/")
    page.get_by_role("button", name="Use a passkey instead").click()
    expect(page.get_by_text("No passkey was given.")).to_be_visible()


def test_without_javascript_no_passkey_is_offered(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/accounts/sign-in/")
    expect(page.get_by_role("button", name="Use a passkey instead")).to_be_hidden()
    expect(page.get_by_role("main").get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_another_browser_is_signed_out(open_page: Open, somebody: Callable[[str], str]) -> None:
    email = somebody("two-browsers")
    here, there = open_page(), open_page(user_agent="Another browser")
    for page in (here, there):
        sign_in(page, email)
        expect(page.get_by_role("heading", level=1)).to_have_text("Workspaces")
    here.goto("/settings/account/sessions/")
    fits(here)
    here.get_by_role("row").filter(has_text="Another browser").get_by_role("button").click()
    expect(here.get_by_role("main")).to_contain_text("That session has ended.")
    there.goto("/workspaces/")
    expect(there.get_by_role("heading", level=1)).to_have_text("Sign in")
