"""Signing in: who gets in, how often one may try, and where one lands."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.test import Client, override_settings
from django.urls import reverse

from accounts.models import User
from config.database.identity import acting_as_system, acting_as_user
from tests.conftest import PASSWORD, ROOT

SIGN_IN = "/accounts/sign-in/"
TOO_MANY = "too many attempts"
WRONG = "The email or the password is not right."


def try_in(client: Client, email: str, password: str = PASSWORD[1:], **extra: Any) -> str:
    """Try to sign in and return what the page says; nothing once somebody is in."""
    answer = client.post(SIGN_IN, {"login": email, "password": password}, **extra)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_what_one_process_counts_another_knows(db: None) -> None:
    name = f"counted-elsewhere-{uuid.uuid4().hex}"
    code = f"import django; django.setup(); from django.core.cache import cache; cache.set({name!r}, [1, 2], 300)"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=120)
    assert cache.get(name) == [1, 2]
    assert not cache.add(name, "a lock that another process holds")


def test_an_address_is_tried_five_times(owner: User, colleague: User) -> None:
    for _ in range(5):
        assert WRONG in try_in(Client(), owner.email)
    assert TOO_MANY in try_in(Client(), owner.email, PASSWORD), "not even with the right password"
    assert TOO_MANY in try_in(Client(), owner.email.upper()), "in whatever case it is written"
    assert try_in(Client(), colleague.email, PASSWORD) == "", "others are not kept out"


def test_an_unknown_address_is_limited_alike(owner: User) -> None:
    for _ in range(5):
        try_in(Client(), "nobody@example.com")
    assert TOO_MANY in try_in(Client(), "nobody@example.com")


def test_a_host_that_tries_many_addresses_is_stopped(owner: User) -> None:
    for number in range(10):
        assert WRONG in try_in(Client(), f"guess-{number}@example.com")
    assert TOO_MANY in try_in(Client(), "guess-10@example.com")
    assert TOO_MANY in try_in(Client(), "guess-11@example.com", headers={"X-Forwarded-For": "203.0.113.9"}), (
        "what a client says of itself does not count"
    )
    assert WRONG in try_in(Client(), "guess-12@example.com", REMOTE_ADDR="203.0.113.9")


@override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1)
def test_behind_a_proxy_who_asked_is_the_last_of_the_list(owner: User) -> None:
    for number in range(10):
        forged = {"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9"}
        assert WRONG in try_in(Client(), f"guess-{number}@example.com", headers=forged)
    assert TOO_MANY in try_in(Client(), "guess-10@example.com", headers={"X-Forwarded-For": "203.0.113.9"})
    assert WRONG in try_in(Client(), "guess-11@example.com", headers={"X-Forwarded-For": "203.0.113.10"})


def test_too_many_sign_ins_of_one_host_are_a_page_that_says_so(owner: User) -> None:
    client = Client()
    answers = [client.post(SIGN_IN, {"login": "not an address", "password": "x"}).status_code for _ in range(31)]
    assert answers == [200] * 30 + [429]
    answer = client.post(SIGN_IN, {"login": "not an address", "password": "x"})
    assert answer["Retry-After"] == "60"
    assert "rate_limited" in answer.content.decode()


def test_a_session_that_somebody_was_given_is_not_the_one_that_he_signs_in_with(owner: User) -> None:
    client = Client()
    session = client.session
    session["planted"] = "yes"
    session.save()
    planted = session.session_key
    assert client.cookies["sessionid"].value == planted
    assert try_in(client, owner.email, PASSWORD) == ""
    assert client.cookies["sessionid"].value != planted
    assert not Session.objects.filter(session_key=planted).exists()


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "https:evil.example", "javascript:alert(1)", "/\\evil.example"],
)
def test_nobody_is_led_away(owner: User, elsewhere: str) -> None:
    form = {"login": owner.email, "password": PASSWORD, "next": elsewhere}
    client = Client()
    assert client.post(SIGN_IN, form)["Location"] == "/overview/"
    assert client.get(SIGN_IN, {"next": elsewhere})["Location"] == "/overview/", "nor who is in already"
    assert client.post("/accounts/sign-out/", {"next": elsewhere})["Location"] == "/"


@override_settings(ALLOWED_HOSTS=["testserver", ".example.com"])
def test_another_host_of_the_studio_is_elsewhere_too(owner: User) -> None:
    form = {"login": owner.email, "password": PASSWORD, "next": "https://beta.example.com/"}
    assert Client().post(SIGN_IN, form)["Location"] == "/overview/"


def test_one_lands_where_one_wanted_to_go(owner: User) -> None:
    client = Client()
    page = client.get("/jobs/?status=failed")
    form = client.get(page["Location"]).content.decode()
    assert 'name="next" value="/jobs/?status=failed"' in form
    answer = client.post(page["Location"], {"login": owner.email, "password": PASSWORD, "next": "/jobs/?status=failed"})
    assert answer["Location"] == "/jobs/?status=failed"


def test_who_is_switched_off_is_told_so_only_with_the_right_password(owner: User) -> None:
    with acting_as_system():
        User.objects.filter(pk=owner.pk).update(is_active=False)
    client = Client()
    assert WRONG in try_in(client, owner.email)
    answer = client.post(SIGN_IN, {"login": owner.email, "password": PASSWORD}, follow=True)
    assert "switched off" in answer.content.decode()
    assert client.get("/overview/").status_code == 302


def test_whom_the_operator_made_known_has_a_proven_address(owner: User) -> None:
    with acting_as_system():
        assert not EmailAddress.objects.filter(user=owner).exists()
    assert try_in(Client(), owner.email, PASSWORD) == ""
    assert mail.outbox == []
    with acting_as_system():
        address = EmailAddress.objects.get(user=owner)
    assert (address.email, address.verified, address.primary) == (owner.email, True, True)


def test_staff_sign_in_where_everybody_does(owner: User) -> None:
    with acting_as_system():
        User.objects.filter(pk=owner.pk).update(is_staff=True)
    client = Client()
    answer = client.post("/admin/login/", {"username": owner.email, "password": PASSWORD})
    assert answer["Location"].startswith(SIGN_IN)
    assert client.get("/admin/").status_code == 302, "the admin pages have no door of their own"


def test_signing_out_asks_first_and_ends_the_session(owner: User) -> None:
    client = Client()
    try_in(client, owner.email, PASSWORD)
    key = client.cookies["sessionid"].value
    page = client.get(reverse("accounts:logout"))
    assert page.status_code == 200
    assert client.get("/overview/").status_code == 200, "a link cannot sign anybody out"
    client.post(reverse("accounts:logout"))
    assert not Session.objects.filter(session_key=key).exists()


def test_addresses_are_their_holders_business(owner: User, colleague: User) -> None:
    for user in (owner, colleague):
        try_in(Client(), user.email, PASSWORD)
    with acting_as_user(owner.pk):
        assert list(EmailAddress.objects.values_list("email", flat=True)) == [owner.email]
        assert EmailAddress.objects.update(verified=False) == 0
    with acting_as_user(None):
        assert not EmailAddress.objects.exists()
