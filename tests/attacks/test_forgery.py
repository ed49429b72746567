"""Requests that somebody else has written: forms of other sites, keys cut short, links that lead away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import NoReverseMatch, reverse

from accounts.models import ApiKey, User, Workspace
from config.addresses import addresses
from config.database.identity import acting_as_system
from config.permissions import TABLE
from tests.conftest import PASSWORD
from tests.test_permissions import of_api, path_of
from tests.web.support import make_rows

Browser = Callable[[User], Client]
#: Signing in and out decide over the token themselves, or take none: who is nobody yet has nothing to lose.
#: Each another way to mean another host; tests/accounts/test_sign_in.py has more of them, for signing in alone.
ELSEWHERES = ("https://evil.example/", "/\\evil.example", "javascript:alert(1)", "https://testserver@evil.example/")


def test_no_form_of_another_site_changes_anything(alpha: Workspace, owner: User) -> None:
    rows = make_rows(alpha, owner)
    ids = of_api(alpha, owner, rows, "private")
    with acting_as_system():
        key, _ = ApiKey.issue(user=owner, workspace=alpha, name="to revoke", scopes=["read"])
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    tried = 0
    for each in addresses():
        verbs = {verb for verb in TABLE.get(each.name, {}) if verb != "GET"}
        if not verbs:
            continue
        place = path_of(each, rows, ids, key, rows.member)
        for verb in verbs:
            for headers in ({}, {"Origin": "https://evil.example"}, {"X-CSRFToken": "a" * 64}):
                sent: dict[str, Any] = {"headers": headers | {"Tus-Resumable": "1.0.0"}}
                if each.name.startswith("api:"):
                    sent |= {"data": {}, "content_type": "application/json"}
                answer = getattr(client, verb.lower())(place, **sent)
                assert answer.status_code == 403, (verb, place, answer.status_code)
                tried += 1
    assert tried > 200
    assert client.get("/overview/").status_code == 200, "and nobody was signed out by it"


def test_a_key_that_is_not_whole_opens_nothing(alpha: Workspace, owner: User) -> None:
    with acting_as_system():
        key, secret = ApiKey.issue(user=owner, workspace=alpha, name="whole", scopes=["admin"])
    part = secret.removeprefix(f"eas_{key.prefix}_")
    where = reverse("api:me")
    ask = Client()
    assert ask.get(where, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    for said in (
        *(secret[:cut] for cut in (0, 4, 12, 13, len(secret) - 1)),
        *(secret + more for more in ("a", "=", "\x00", "%00", ",")),
        *(part, secret.upper(), secret.swapcase(), f"eas__{part}", f"eas_{key.prefix}_", f"eas_%_{part}"),
        *(f"eas_{key.prefix}_{'_' * 43}", key.secret_sha256, f"eas_{key.prefix}_{key.secret_sha256}"[:56]),
        *("' OR 1=1 --", "eas_" + "a" * 100_0, "null", "None"),
    ):
        for header in (f"Bearer {said}", f"bearer  {said}x", f"Basic {secret}", f"Token {secret}", secret):
            assert ask.get(where, headers={"Authorization": header}).status_code == 401, header[:80]
    # Nowhere but in its header.
    for place in (f"{where}?api_key={secret}", f"{where}?access_token={secret}"):
        assert ask.get(place, headers={"X-API-Key": secret, "Cookie": f"api_key={secret}"}).status_code == 401


@pytest.mark.parametrize("elsewhere", ELSEWHERES, ids=range(len(ELSEWHERES)))
def test_nobody_is_led_away_by_next(owner: User, elsewhere: str) -> None:
    words = ("next", "redirect", "redirect_to", "return", "return_to", "url", "back", "continue", "process")
    asked = dict.fromkeys(words, elsewhere)

    def stays(answer: Any) -> None:
        place = answer.headers.get("Location", "")
        assert place == "" or (place.startswith("/") and not place.startswith(("//", "/\\"))), place
        assert answer.headers.get("HX-Redirect", "/").startswith("/")
        assert "//" not in answer.headers.get("HX-Redirect", "/")

    for each in addresses():
        if not each.name.startswith(("account", "mfa_", "edge_ai:overview", "edge_ai:landing", "admin:login")):
            continue
        try:
            place = reverse(each.name)
        except NoReverseMatch:  # it takes a link from a mail
            continue
        for signed_in in (False, True):
            client = Client()
            if signed_in:
                client.force_login(owner)
            stays(client.get(place, asked))
            form = {"login": owner.email, "password": PASSWORD, "workspace": "alpha", "email": owner.email, "name": "O"}
            headers = {"Referer": elsewhere.strip(), "HX-Request": "true", "HX-Current-URL": elsewhere.strip()}
            stays(client.post(place, asked | form, headers=headers))


def test_the_host_of_a_request_gets_into_no_mail_and_no_link(owner: User, mailoutbox: Any) -> None:
    with override_settings(PUBLIC_URL="", ALLOWED_HOSTS=["testserver", ".localhost"]):
        for host in (
            "evil.example",
            "testserver:80@evil.example",
            "testserver.evil.example",
            "evil.example#testserver",
        ):
            for name in ("Host", "X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-URL"):
                said = f"host={host}" if name == "Forwarded" else host
                Client().post("/accounts/reset/", {"email": owner.email}, headers={name: said})
    assert all("evil.example" not in mail.body + mail.subject for mail in mailoutbox)
