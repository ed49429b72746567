"""Making an account, proving an address, and getting a new password."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import caches
from django.test import Client, override_settings

from accounts.models import Flag, User
from config.database.identity import acting_as_system
from tests.accounts.mailbox import last_link
from tests.conftest import PASSWORD

NEW = "newcomer@example.com"
OTHER_PASSWORD = "quite another secret 9"
SIGN_UP = "/accounts/sign-up/"
SIGN_IN = "/accounts/sign-in/"
RESET = "/accounts/reset/"


@pytest.fixture
def anybody_may() -> Iterator[None]:
    """A studio where anybody may make an account."""
    with override_settings(SIGN_UP="open"):
        yield


def sign_up(client: Client, email: str) -> str:
    """Ask for an account; returns where one is led."""
    answer = client.post(SIGN_UP, {"name": "New Comer", "email": email, "password1": PASSWORD})
    assert answer.status_code == 302, answer.content.decode()
    return str(answer["Location"])


def test_nobody_makes_himself_an_account_unless_the_studio_says_so(db: None) -> None:
    client = Client()
    assert "by invitation" in client.get(SIGN_UP).content.decode()
    client.post(SIGN_UP, {"email": NEW, "password1": PASSWORD})
    assert not User.objects.filter(email=NEW).exists()
    assert SIGN_UP not in client.get(SIGN_IN).content.decode()


def test_a_new_account_waits_for_its_address_to_be_proven(db: None, anybody_may: None) -> None:
    client = Client()
    assert SIGN_UP in client.get(SIGN_IN).content.decode()
    assert sign_up(client, "Newcomer@Example.com") == "/accounts/email/"
    user = User.objects.get(email=NEW)
    assert (user.name, user.is_staff, user.is_active) == ("New Comer", False, True)
    assert mail.outbox[-1].to == [NEW]
    link = last_link()
    answer = client.post(SIGN_IN, {"login": NEW, "password": PASSWORD})
    assert answer["Location"] == "/accounts/email/", "not before"
    assert client.get("/overview/").status_code == 302
    assert client.get(link).status_code == 200
    with acting_as_system():
        assert not EmailAddress.objects.get(user=user).verified, "looking at the page proves nothing"
    client.post(link)
    assert client.post(SIGN_IN, {"login": NEW, "password": PASSWORD})["Location"] == "/overview/"
    assert "do not belong to a workspace" in client.get("/workspaces/").content.decode()


def test_a_link_that_was_altered_proves_nothing(db: None, anybody_may: None) -> None:
    client = Client()
    sign_up(client, NEW)
    link = last_link()
    altered = link[:-2] + ("a" if link[-2] != "a" else "b") + "/"
    assert "not valid" in client.get(altered).content.decode()
    assert client.post(altered).status_code == 404
    with acting_as_system():
        assert not EmailAddress.objects.get(email=NEW).verified


def test_whether_an_address_has_an_account_is_told_to_its_holder_alone(owner: User, anybody_may: None) -> None:
    before = User.objects.get(pk=owner.pk).password
    answers = []
    for email in (owner.email, NEW):
        client = Client()
        answers.append((sign_up(client, email), client.get("/accounts/email/").content.decode().replace(email, "")))
    assert answers[0] == answers[1]
    assert [message.to for message in mail.outbox] == [[owner.email], [NEW]]
    assert "has one already" in str(mail.outbox[0].body)
    assert User.objects.get(pk=owner.pk).password == before


def test_a_weak_password_is_refused_whoever_asks(owner: User, anybody_may: None) -> None:
    for email in (owner.email, NEW):
        answer = Client().post(SIGN_UP, {"email": email, "password1": "password12"})
        assert answer.status_code == 200
        assert "too common" in answer.content.decode()
    assert mail.outbox == []


def test_a_forgotten_password_is_replaced(owner: User) -> None:
    elsewhere, client = Client(), Client()
    elsewhere.post(SIGN_IN, {"login": owner.email, "password": PASSWORD})
    assert elsewhere.get("/overview/").status_code == 200
    assert client.post(RESET, {"email": owner.email})["Location"] == "/accounts/reset/sent/"
    link = last_link()
    form = client.get(link)
    assert link.rsplit("-", 1)[1].strip("/") not in form["Location"], "the key does not stay in the address"
    page = client.get(form["Location"])
    assert "Choose a new password" in page.content.decode()
    wanted = {"password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}
    assert client.post(form["Location"], wanted)["Location"] == "/accounts/reset/done/"
    assert elsewhere.get("/overview/").status_code == 302, "sessions of before have ended"
    assert client.post(SIGN_IN, {"login": owner.email, "password": PASSWORD}).status_code == 200
    assert client.post(SIGN_IN, {"login": owner.email, "password": OTHER_PASSWORD}).status_code == 302
    assert "does not work" in Client().get(link).content.decode(), "it works once"
    assert mail.outbox[-1].subject.startswith("[Edge AI Studio] Password")


def test_asking_for_a_reset_tells_nothing(owner: User) -> None:
    answers = []
    for email in (owner.email, NEW):
        client = Client()
        answer = client.post(RESET, {"email": email})
        answers.append((answer.status_code, answer["Location"], client.get(answer["Location"]).content))
    assert answers[0] == answers[1]
    assert [message.to for message in mail.outbox] == [[owner.email], [NEW]]
    assert "/accounts/reset/" not in str(mail.outbox[1].body)


def test_nobody_is_flooded_with_mails(owner: User) -> None:
    answers = [Client().post(RESET, {"email": owner.email}).status_code for _ in range(6)]
    assert answers == [302] * 5 + [429]
    assert len(mail.outbox) == 5


def test_a_mail_server_that_is_down_tells_nothing(owner: User) -> None:
    down = {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": 9}
    with override_settings(**down):
        for email in (owner.email, NEW):
            assert Client().post(RESET, {"email": email})["Location"] == "/accounts/reset/sent/"


def test_a_mail_leads_to_the_studio_whatever_host_the_request_named(owner: User) -> None:
    assert Client().post(RESET, {"email": owner.email}, headers={"Host": "evil.example"}).status_code == 400
    assert mail.outbox == []
    with override_settings(PUBLIC_URL="https://studio.example.com", ALLOWED_HOSTS=["*"]):
        Client().post(RESET, {"email": owner.email}, headers={"Host": "evil.example"})
        Client().post(RESET, {"email": NEW}, headers={"Host": "evil.example"})
    for message in mail.outbox:
        assert "evil.example" not in str(message.body)
        assert "https://studio.example.com/" in str(message.body)


def test_an_address_changes_once_the_new_one_is_proven(owner: User) -> None:
    client = Client()
    client.post(SIGN_IN, {"login": owner.email, "password": PASSWORD})
    wanted = {"email": "moved@example.com", "action_add": "yes"}
    asked = client.post("/settings/account/email/", wanted)
    assert asked["Location"].startswith("/accounts/confirm/"), "is it really the owner?"
    again = client.post(asked["Location"], {"password": PASSWORD}, follow=True)
    assert "moved@example.com" in again.content.decode()
    assert "Changes to moved@example.com" in client.get("/settings/account/").content.decode()
    assert User.objects.get(pk=owner.pk).email == owner.email
    assert mail.outbox[-1].to == ["moved@example.com"]
    client.post(last_link())
    assert User.objects.get(pk=owner.pk).email == "moved@example.com"
    assert any(message.to == [owner.email] for message in mail.outbox), "the old address is told"
    assert Client().post(SIGN_IN, {"login": "moved@example.com", "password": PASSWORD}).status_code == 302
    assert Client().post(SIGN_IN, {"login": owner.email, "password": PASSWORD}).status_code == 200


def test_an_address_of_somebody_else_is_not_taken_over(owner: User, colleague: User) -> None:
    for user in (colleague, owner):
        client = Client()
        client.post(SIGN_IN, {"login": user.email, "password": PASSWORD})
    client.post("/accounts/confirm/", {"password": PASSWORD})
    client.post("/settings/account/email/", {"email": colleague.email, "action_add": "yes"})
    with acting_as_system():
        assert not EmailAddress.objects.filter(user=owner, email=colleague.email, verified=True).exists()
    assert User.objects.get(pk=owner.pk).email == owner.email


def test_a_password_changes_with_the_old_one_alone(owner: User) -> None:
    client, elsewhere = Client(), Client()
    for each in (client, elsewhere):
        each.post(SIGN_IN, {"login": owner.email, "password": PASSWORD})
    wanted = {"oldpassword": "wrong", "password1": OTHER_PASSWORD, "password2": OTHER_PASSWORD}
    address = "/settings/account/password/"
    assert "current password is not right" in client.post(address, wanted).content.decode()
    assert client.post(address, wanted | {"oldpassword": PASSWORD}).status_code == 302
    assert client.get("/overview/").status_code == 200
    assert elsewhere.get("/overview/").status_code == 302
    assert "Was it not you?" in str(mail.outbox[-1].body)


def test_a_name_is_changed(owner: User) -> None:
    client = Client()
    client.force_login(owner)
    assert client.post("/settings/account/", {"name": "Ada <b>"}).status_code == 303
    assert "Ada &lt;b&gt;" in client.get("/settings/account/").content.decode()
    assert User.objects.get(pk=owner.pk).name == "Ada <b>"


@pytest.mark.parametrize("path", ["", "email/", "password/", "password/first/"])
def test_strangers_have_no_account(db: None, path: str) -> None:
    answer = Client().get(f"/settings/account/{path}")
    assert (answer.status_code, answer["Location"]) == (302, f"/accounts/sign-in/?next=/settings/account/{path}")


def test_where_accounts_are_off_nobody_signs_up_and_the_pages_say_so(db: None) -> None:
    client = Client()
    with override_settings(SIGN_UP="off"):
        text = client.get(SIGN_UP).content.decode()
        assert "No new accounts are made here, not by an invitation either." in text
        client.post(SIGN_UP, {"name": "New Comer", "email": NEW, "password1": PASSWORD})
        text = client.get(SIGN_IN).content.decode()
    assert SIGN_UP not in text and "No new accounts are made here" in text
    assert not User.objects.filter(email=NEW).exists()


def test_the_feature_sign_up_is_off_where_its_flag_says_so(db: None, anybody_may: None) -> None:
    client = Client()
    caches["memory"].clear()
    try:
        with acting_as_system():
            Flag.objects.filter(name="sign-up").update(everyone=False)
        assert "No new accounts are made here" in client.get(SIGN_UP).content.decode()
        client.post(SIGN_UP, {"name": "New Comer", "email": NEW, "password1": PASSWORD})
        assert not User.objects.filter(email=NEW).exists()
    finally:
        caches["memory"].clear()
