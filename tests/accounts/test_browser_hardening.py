"""What answers tell browsers, so that a page elsewhere can do nothing with them."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings

from accounts.models import User
from tests.conftest import PASSWORD

PAGES = ("/", "/accounts/sign-in/", "/accounts/reset/", "/docs/", "/nothing/here/", "/api/edge/v1/me/", "/admin/login/")
HTTPS = {
    "SECURE_SSL_REDIRECT": True,
    "SECURE_HSTS_SECONDS": 31_536_000,
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
    "SECURE_HSTS_PRELOAD": True,
    "SESSION_COOKIE_SECURE": True,
    "CSRF_COOKIE_SECURE": True,
}


@pytest.mark.parametrize("path", PAGES)
def test_no_answer_is_framed_sniffed_or_told_of_elsewhere(db: None, path: str) -> None:
    answer = Client().get(path)
    assert answer["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path", ["/accounts/sign-in/", "/accounts/reset/", "/settings/account/", "/accounts/email/x:y/"]
)
def test_what_concerns_accounts_is_kept_by_no_cache(owner: User, path: str) -> None:
    client = Client()
    if path.startswith("/settings/"):
        client.force_login(owner)
    assert "no-store" in client.get(path)["Cache-Control"]


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(owner: User) -> None:
    with override_settings(**HTTPS):
        client = Client()
        client.get("/accounts/sign-in/", secure=True)
        client.post("/accounts/sign-in/", {"login": owner.email, "password": PASSWORD}, secure=True)
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert cookie["httponly"] and cookie["secure"], name
        assert cookie["samesite"] == "Lax"
        assert cookie["domain"] == "", "other hosts of the same domain do not get it"
        assert cookie["path"] == "/"


def test_plain_http_is_left_for_good(db: None) -> None:
    with override_settings(**HTTPS):
        answer = Client().get("/accounts/sign-in/?next=/jobs/")
        assert (answer.status_code, answer["Location"]) == (301, "https://testserver/accounts/sign-in/?next=/jobs/")
        secure = Client().get("/accounts/sign-in/", secure=True)
    assert secure["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "a b", "[::1"])
def test_a_host_that_is_not_ours_gets_nothing(db: None, host: str) -> None:
    answer = Client().get("/accounts/sign-in/", headers={"Host": host})
    assert answer.status_code == 400
    assert "evil.example" not in answer.content.decode()


def test_a_forwarded_host_counts_for_nothing(owner: User) -> None:
    answer = Client().get("/jobs/", headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
    assert answer["Location"].startswith("/accounts/sign-in/")
    assert "evil.example" not in Client().get("/", headers={"X-Forwarded-Host": "evil.example"}).content.decode()


@pytest.mark.parametrize(
    "path",
    ["/accounts/sign-in/", "/accounts/sign-out/", "/accounts/reset/", "/accounts/passkey/", "/settings/account/"],
)
def test_a_form_of_another_site_is_refused(owner: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    for headers in ({}, {"Origin": "https://evil.example"}):
        assert client.post(path, {"login": owner.email, "password": PASSWORD}, headers=headers).status_code == 403
    assert client.get("/overview/").status_code == 200
