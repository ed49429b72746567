"""Where somebody is signed in, and ending that."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.browsers import browser_name
from accounts.models import User
from accounts.sessions import SEEN
from config.database.identity import acting_as_system, acting_as_user
from tests.conftest import PASSWORD

SESSIONS = "/settings/account/sessions/"


def sign_in(user: User, browser: str = "Firefox", host: str = "203.0.113.1") -> Client:
    """Sign in with a browser, somewhere."""
    client = Client(headers={"User-Agent": browser}, REMOTE_ADDR=host)
    answer = client.post("/accounts/sign-in/", {"login": user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def is_in(client: Client) -> bool:
    """Tell whether a browser is signed in."""
    return client.get("/overview/").status_code == 200


def row_of(client: Client) -> UserSession:
    """The row of a browser's session."""
    with acting_as_system():
        found: UserSession = UserSession.objects.get(session_key=client.session.session_key)
        return found


def test_the_list_tells_browsers_and_addresses(owner: User, colleague: User) -> None:
    here, there = sign_in(owner), sign_in(owner, "curl/8", "2001:db8::7")
    sign_in(colleague, "Opera", "198.51.100.7")
    text = here.get(SESSIONS).content.decode()
    for known in ("Firefox", "203.0.113.1", "curl/8", "2001:db8::7"):
        assert known in text
    assert "Opera" not in text
    assert text.count("This one") == 1
    assert "in 2 places" in there.get("/settings/account/").content.decode()


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140 on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
            "Safari/537.36 Edg/131.0.0.0",
            "Edge 131 on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/17.5 Mobile/15E148 Safari/604.1",
            "Safari 17 on iPhone",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("Mozilla/5.0 (compatible; Something)", "Mozilla/5.0 (compatible; Something)"),
        ("", "An unnamed program"),
    ],
    ids=["firefox", "edge", "safari", "curl", "unknown", "nothing"],
)
def test_browsers_are_named_as_people_know_them(said: str, named: str) -> None:
    assert browser_name(said) == named


def test_one_session_is_ended_at_once(owner: User) -> None:
    here, there, third = sign_in(owner), sign_in(owner, "curl/8"), sign_in(owner, "Lynx")
    assert here.post(f"{SESSIONS}{row_of(there).pk}/end/").status_code == 303
    assert not is_in(there)
    assert is_in(here) and is_in(third)
    assert "curl/8" not in here.get(SESSIONS).content.decode()


def test_all_others_are_ended(owner: User, colleague: User) -> None:
    here, there, third, other = sign_in(owner), sign_in(owner), sign_in(owner), sign_in(colleague)
    assert here.post(f"{SESSIONS}end-others/").status_code == 303
    assert is_in(here) and is_in(other)
    assert not is_in(there) and not is_in(third)


def test_a_session_of_somebody_else_is_not_ended(owner: User, colleague: User) -> None:
    mine, theirs = sign_in(owner), sign_in(colleague)
    assert mine.post(f"{SESSIONS}{row_of(theirs).pk}/end/").status_code == 404
    assert is_in(theirs)
    assert mine.post(f"{SESSIONS}{row_of(mine).pk}/end/").status_code == 404, "for that one signs out"
    for path in (f"{SESSIONS}1/end/", f"{SESSIONS}end-others/"):
        assert mine.get(path).status_code == 405
        assert Client().post(path)["Location"].startswith("/accounts/sign-in/")


def test_a_new_password_ends_the_others(owner: User) -> None:
    here, there = sign_in(owner), sign_in(owner, "curl/8")
    wanted = {"oldpassword": PASSWORD, "password1": "quite another secret 9", "password2": "quite another secret 9"}
    assert here.post("/settings/account/password/", wanted).status_code == 302
    assert is_in(here) and not is_in(there)
    text = here.get(SESSIONS).content.decode()
    assert "curl/8" not in text
    assert "This one" in text


def test_a_visit_is_written_down_every_few_minutes_only(owner: User) -> None:
    client = sign_in(owner)
    long_ago = timezone.now() - timedelta(hours=1)
    with acting_as_system():
        UserSession.objects.update(last_seen_at=long_ago)
    is_in(client)
    assert row_of(client).last_seen_at == long_ago
    session = client.session
    session[SEEN] = time.time() - 301
    session.save()
    is_in(client)
    assert timezone.now() - row_of(client).last_seen_at < timedelta(minutes=1)


def test_the_list_takes_as_many_queries_for_ten_as_for_one(owner: User) -> None:
    client = sign_in(owner)
    counts = []
    for more in (0, 9):
        for number in range(more):
            sign_in(owner, f"Browser {number}", f"203.0.113.{10 + number}")
        with CaptureQueriesContext(connection) as asked:
            assert client.get(SESSIONS).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] < 15


def test_sessions_are_their_holders_business(owner: User, colleague: User) -> None:
    sign_in(owner)
    with acting_as_user(colleague.pk):
        assert not UserSession.objects.exists()
    with acting_as_user(owner.pk):
        assert UserSession.objects.count() == 1
        assert UserSession.objects.update(ip="203.0.113.99") == 0
