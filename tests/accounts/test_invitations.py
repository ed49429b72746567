"""Invitations: who may send them, what their links are good for, and what they tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client, override_settings
from django.utils import timezone

from accounts.models import Invitation, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from tests.conftest import person

Browser = Callable[[User], Client]
INVITE = "/settings/members/invite/"
NEW = "new@example.com"
ACCOUNT = {"name": "Nora New", "password": "violet submarine 9"}


def link_in(message: Any) -> str:
    """The path of the link in a mail."""
    found = re.search(r"http://testserver(/invitations/[A-Za-z0-9_-]{43}/)", message.body)
    assert found is not None, message.body
    return found[1]


def invited(browser: Client, email: str = NEW, role: str = "member") -> str:
    """Invite an address; returns the path of its link."""
    answer = browser.post(INVITE, {"email": email, "role": role})
    assert answer.status_code == 303, answer.content.decode()
    return link_in(mail.outbox[-1])


def role_of(email: str, workspace: Workspace) -> str | None:
    """What somebody is in a workspace."""
    with acting_as_system():
        return Membership.objects.filter(user__email=email, workspace=workspace).values_list("role", flat=True).first()


def change(**fields: Any) -> None:
    """Let something happen to every invitation."""
    with acting_as_system():
        Invitation.objects.update(**fields)


def is_dead(client: Client, path: str) -> bool:
    """Tell whether a link leads nowhere, whichever way it is used."""
    answers = [client.get(path), client.post(path, ACCOUNT)]
    return all(answer.status_code == 404 and "does not work" in answer.content.decode() for answer in answers)


def test_somebody_new_makes_an_account_and_is_in(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    path = invited(browser_of(owner))
    (message,) = mail.outbox
    assert (message.to, message.subject) == ([NEW], f"Invitation to {alpha.name}")
    assert owner.email in message.body
    stranger = Client()
    page = stranger.get(path)
    text = page.content.decode()
    assert page.status_code == 200
    assert (page["Referrer-Policy"], page["Cache-Control"]) == ("same-origin", "no-store")
    assert NEW in text
    assert alpha.name in text
    for bad in ({"name": "", "password": ACCOUNT["password"]}, ACCOUNT | {"password": "short"}):
        assert stranger.post(path, bad).status_code == 422
    with acting_as_system():
        assert not User.objects.filter(email=NEW).exists()
    joined = stranger.post(path, ACCOUNT)
    assert (joined.status_code, joined["Location"]) == (303, "/overview/")
    assert stranger.get("/overview/").status_code == 200, "signed in"
    assert role_of(NEW, alpha) == "member"
    assert Client().login(email=NEW, password=ACCOUNT["password"])


def test_only_a_hash_of_the_token_is_kept(owner: User, browser_of: Browser) -> None:
    token = invited(browser_of(owner)).split("/")[2]
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute("SELECT accounts_invitation::text FROM accounts_invitation")
        assert token not in str(cursor.fetchall())


def test_who_has_an_account_signs_in_and_accepts(
    alpha: Workspace, owner: User, outsider: User, browser_of: Browser
) -> None:
    path = invited(browser_of(owner), outsider.email.upper(), "viewer")
    asked = Client().get(path)
    assert f"/accounts/sign-in/?next={path}" in asked.content.decode()
    assert Client().post(path, ACCOUNT).status_code == 403, "a link is no way into an account"
    browser = browser_of(outsider)
    assert browser.get(path, headers={"X-Tenant-ID": "alpha"}).status_code == 200, (
        "no member yet, whatever is asked for"
    )
    assert browser.post(path).status_code == 303
    assert role_of(outsider.email, alpha) == "viewer"
    assert browser.get("/api/edge/v1/me/").json()["workspace"]["slug"] == "alpha", "the workspace is entered"


def test_the_wrong_account_is_told_which_and_gets_nothing(
    alpha: Workspace, owner: User, outsider: User, browser_of: Browser
) -> None:
    path = invited(browser_of(owner))
    browser = browser_of(outsider)
    text = browser.get(path).content.decode()
    assert outsider.email in text
    assert NEW in text
    assert browser.post(path, ACCOUNT).status_code == 403
    assert role_of(outsider.email, alpha) is None
    assert Client().get(path).status_code == 200, "and the link is not used up"


@pytest.mark.parametrize("fault", ["expired", "revoked", "accepted", "altered", "sent again", "no token at all"])
def test_a_link_that_is_no_good_says_no_more(owner: User, browser_of: Browser, fault: str) -> None:
    browser = browser_of(owner)
    path = invited(browser)
    with acting_as_system():
        made = Invitation.objects.get()
    if fault == "expired":
        change(expires_at=timezone.now() - timedelta(seconds=1))
    elif fault == "revoked":
        assert browser.post(f"/settings/invitations/{made.pk}/revoke/").status_code == 303
    elif fault == "accepted":
        assert Client().post(path, ACCOUNT).status_code == 303
    elif fault == "altered":
        path = path[:-2] + ("a" if path[-2] != "a" else "b") + "/"
    elif fault == "sent again":
        assert browser.post(f"/settings/invitations/{made.pk}/resend/").status_code == 303
        fresh = link_in(mail.outbox[-1])
        assert fresh != path
        assert Client().get(fresh).status_code == 200
    else:
        path = "/invitations/x/"
    assert is_dead(Client(), path)


def test_a_used_link_is_not_used_again_by_its_own_account(owner: User, outsider: User, browser_of: Browser) -> None:
    path = invited(browser_of(owner), outsider.email)
    assert browser_of(outsider).post(path).status_code == 303
    with acting_as_system():
        Membership.objects.filter(user=outsider, workspace__slug="alpha").delete()
    assert is_dead(browser_of(outsider), path), "who was removed does not come back by it"


def test_a_member_keeps_the_role_that_they_have(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    path = invited(browser_of(owner), NEW, "viewer")
    early = person(NEW, alpha, Role.ADMIN)
    assert browser_of(early).post(path).status_code == 303
    assert role_of(NEW, alpha) == "admin"


@pytest.mark.parametrize(("inviter", "role", "allowed"), [
    (Role.OWNER, "owner", True),
    (Role.ADMIN, "owner", False),
    (Role.ADMIN, "admin", True),
    (Role.MEMBER, "viewer", False),
    (Role.VIEWER, "viewer", False),
])  # fmt: skip
def test_nobody_invites_above_their_own_role(
    alpha: Workspace, browser_of: Browser, inviter: Role, role: str, allowed: bool
) -> None:
    browser = browser_of(person("inviter@example.com", alpha, inviter))
    answer = browser.post(INVITE, {"email": NEW, "role": role})
    assert answer.status_code == (303 if allowed else 422 if inviter == Role.ADMIN else 403)
    assert len(mail.outbox) == int(allowed)


def test_an_admin_neither_sends_nor_revokes_an_owners_invitation(
    alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    path = invited(browser_of(owner), NEW, "owner")
    with acting_as_system():
        made = Invitation.objects.get()
    browser = browser_of(person("admin@example.com", alpha, Role.ADMIN))
    for verb in ("resend", "revoke"):
        assert browser.post(f"/settings/invitations/{made.pk}/{verb}/").status_code == 303
        assert "Only an owner can invite an owner." in browser.get("/settings/members/").content.decode()
    assert Client().get(path).status_code == 200
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("what", ["demoted", "removed"])
def test_who_may_not_invite_any_more_has_not_invited(
    alpha: Workspace, owner: User, browser_of: Browser, what: str
) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    path = invited(browser_of(admin), NEW, "admin")
    with acting_as_system():
        theirs = Membership.objects.get(user=admin).pk
        mine = Membership.objects.get(user=owner).pk
    if what == "demoted":
        browser_of(owner).post(f"/settings/members/{theirs}/role/", {"role": "member"})
    else:
        browser_of(owner).post(f"/settings/members/{theirs}/remove/", {"member": str(mine)})
    assert is_dead(Client(), path)


def test_nothing_tells_who_has_an_account(owner: User, outsider: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    said = []
    for email in (outsider.email, NEW):
        answer = browser.post(INVITE, {"email": email, "role": "member"}, follow=True)
        path = link_in(mail.outbox[-1])
        text = answer.content.decode() + mail.outbox[-1].body.replace(path, "")
        text = re.sub(r'csrfmiddlewaretoken" value="[^"]+"|[0-9a-f-]{36}|datetime="[^"]+"|title="[^"]+"', "", text)
        said.append(text.replace(email, "…"))
        with acting_as_system():
            Invitation.objects.update(revoked_at=timezone.now())
    assert said[0] == said[1]


def test_an_address_is_invited_once_at_a_time(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    browser = browser_of(owner)
    path = invited(browser)
    again = browser.post(INVITE, {"email": NEW.upper(), "role": "viewer"})
    assert (again.status_code, len(mail.outbox)) == (409, 1)
    member = browser.post(INVITE, {"email": colleague.email, "role": "viewer"})
    assert (member.status_code, len(mail.outbox)) == (409, 1)
    assert browser.post(INVITE, {"email": "no address", "role": "viewer"}).status_code == 422
    change(expires_at=timezone.now() - timedelta(seconds=1))
    fresh = invited(browser)
    assert is_dead(Client(), path)
    assert Client().get(fresh).status_code == 200
    with acting_as_system(), pytest.raises(IntegrityError, match="open_once"), transaction.atomic():
        Invitation.issue(workspace_id=alpha.pk, email=NEW, role="viewer", invited_by=owner, expires_at=timezone.now())


def test_a_workspace_sends_only_so_many_an_hour(
    alpha: Workspace, owner: User, outsider: User, browser_of: Browser, settings: Any
) -> None:
    settings.INVITATIONS_PER_HOUR = 2
    browser = browser_of(owner)
    invited(browser)
    with acting_as_system():
        made = Invitation.objects.get()
    browser.post(f"/settings/invitations/{made.pk}/resend/")
    assert len(mail.outbox) == 2
    assert browser.post(INVITE, {"email": "third@example.com", "role": "member"}).status_code == 429
    with acting_as_system():
        latest = Invitation.objects.open().get()
    browser.post(f"/settings/invitations/{latest.pk}/resend/")
    assert len(mail.outbox) == 2
    assert Client().get(link_in(mail.outbox[-1])).status_code == 200, "what was not sent again still works"
    invited(browser_of(outsider), "another@example.com")
    change(created_at=timezone.now() - timedelta(minutes=61))
    invited(browser, "third@example.com")


def test_names_put_nothing_into_a_mails_head(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with acting_as_system():
        Workspace.objects.filter(pk=alpha.pk).update(name="Alpha\r\nBcc: victim@example.com")
        User.objects.filter(pk=owner.pk).update(name="Eve\r\n.\r\nSubject: prize")
    invited(browser_of(owner))
    (message,) = mail.outbox
    sent = message.message()
    assert sent["Subject"] == "Invitation to Alpha Bcc: victim@example.com"
    assert (sent["Bcc"], message.recipients()) == (None, [NEW])
    assert "Eve . Subject: prize" in message.body
    for email in ("x@example.com\r\nBcc: victim@example.com", "x@example.com, victim@example.com"):
        assert browser_of(owner).post(INVITE, {"email": email, "role": "member"}).status_code == 422
    assert len(mail.outbox) == 1


def test_a_mail_server_that_is_away_is_told(owner: User, browser_of: Browser, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", 1, 1
    answer = browser_of(owner).post(INVITE, {"email": NEW, "role": "member"}, follow=True)
    assert "the mail could not be sent" in answer.content.decode()
    with acting_as_system():
        assert Invitation.objects.open().filter(email=NEW).exists()


def test_where_accounts_are_off_only_who_has_one_accepts(
    alpha: Workspace, owner: User, outsider: User, browser_of: Browser
) -> None:
    for_new, for_known = invited(browser_of(owner)), invited(browser_of(owner), outsider.email)
    with override_settings(SIGN_UP="off"):
        stranger = Client()
        page = stranger.get(for_new)
        assert page.status_code == 200
        assert "No new accounts are made here" in page.content.decode() and "password" not in page.content.decode()
        assert stranger.post(for_new, ACCOUNT).status_code == 403
        with acting_as_system():
            assert not User.objects.filter(email=NEW).exists()
        assert "Sign in to accept" in Client().get(for_known).content.decode()
        assert browser_of(outsider).post(for_known).status_code == 303
        assert role_of(outsider.email, alpha) == "member"
    assert stranger.post(for_new, ACCOUNT).status_code == 303, "the invitation waited"
