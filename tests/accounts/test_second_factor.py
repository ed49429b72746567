"""Authenticator apps and recovery codes. Passkeys need a browser: see tests/browser/test_signing_in.py."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.test import Client, override_settings

from accounts.models import User
from config.database.identity import acting_as_system, acting_as_user
from tests.accounts.totp import code_of
from tests.conftest import PASSWORD

ACCOUNT = "/settings/account/"
SECOND = "/accounts/second-factor/"


def sign_in(user: User) -> Client:
    """Sign in by password; who has a second factor is not in yet."""
    client = Client()
    client.post("/accounts/sign-in/", {"login": user.email, "password": PASSWORD})
    return client


def prove(client: Client) -> None:
    """Say the password once more."""
    assert client.post("/accounts/confirm/", {"password": PASSWORD}).status_code == 302


def set_up_app(client: Client) -> tuple[str, list[str]]:
    """Set up an app; returns its secret and the recovery codes."""
    prove(client)
    page = client.get(ACCOUNT + "app/")
    secret: str = page.context["form"].secret
    assert "data:image/svg+xml;base64," in page.content.decode()
    answer = client.post(ACCOUNT + "app/", {"code": code_of(secret)}, follow=True)
    codes: list[str] = answer.context["unused_codes"]
    assert len(codes) == 10
    return secret, codes


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let time go on, for a code is good once."""
    real = time.time
    ahead = [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])

    def wait(seconds: float) -> None:
        ahead[0] += seconds

    return wait


def test_with_an_app_the_password_alone_is_not_enough(owner: User, later: Any) -> None:
    secret, _ = set_up_app(sign_in(owner))
    later(90)
    client = sign_in(owner)
    assert client.get("/overview/").status_code == 302
    assert client.post(SECOND, {"code": "000000"}).status_code == 200
    assert client.get("/overview/").status_code == 302
    assert client.post(SECOND, {"code": code_of(secret)})["Location"] == "/overview/"
    assert client.get("/overview/").status_code == 200
    another = sign_in(owner)
    assert another.post(SECOND, {"code": code_of(secret)}).status_code == 200, "a code that was seen is worth nothing"


def test_a_recovery_code_is_good_once(owner: User) -> None:
    _, codes = set_up_app(sign_in(owner))
    assert sign_in(owner).post(SECOND, {"code": codes[0]})["Location"] == "/overview/"
    client = sign_in(owner)
    assert client.post(SECOND, {"code": codes[0]}).status_code == 200
    assert client.post(SECOND, {"code": codes[1]})["Location"] == "/overview/"
    assert "8 left" in client.get(ACCOUNT).content.decode()


def test_codes_are_not_guessed(owner: User) -> None:
    _, codes = set_up_app(sign_in(owner))
    client = sign_in(owner)
    answers = [client.post(SECOND, {"code": f"{number:06}"}).content.decode() for number in range(6)]
    assert "too many attempts" in answers[-1]
    assert "too many attempts" in client.post(SECOND, {"code": codes[0]}).content.decode(), "not even by the right one"


def test_nobody_gets_to_the_second_factor_past_the_first(owner: User) -> None:
    secret, _ = set_up_app(sign_in(owner))
    client = Client()
    assert client.get(SECOND)["Location"].startswith("/accounts/sign-in/")
    assert client.post(SECOND, {"code": code_of(secret)}).status_code == 302
    assert client.get("/overview/").status_code == 302


@pytest.mark.parametrize(
    "path", ["app/", "app/remove/", "passkeys/add/", "recovery-codes/new/", "password/first/", "passkeys/1/remove/"]
)
def test_safety_is_changed_by_who_has_just_proven_himself(owner: User, path: str) -> None:
    client = sign_in(owner)
    if path == "app/remove/":
        set_up_app(client)
        client = sign_in(owner)
        with acting_as_system():
            codes = Authenticator.objects.get(user=owner, type="recovery_codes").wrap().get_unused_codes()
        client.post(SECOND, {"code": codes[0]})
    for answer in (client.get(ACCOUNT + path), client.post(ACCOUNT + path)):
        assert answer.status_code == 302
        assert answer["Location"].startswith(("/accounts/confirm/", "/settings/account/password/"))


def test_an_app_is_turned_off(owner: User) -> None:
    client = sign_in(owner)
    set_up_app(client)
    assert "On since" in client.get(ACCOUNT).content.decode()
    assert client.post(ACCOUNT + "app/remove/").status_code == 302
    assert sign_in(owner).get("/overview/").status_code == 200
    with acting_as_system():
        assert not Authenticator.objects.filter(user=owner).exists(), "its recovery codes go with it"


def test_an_api_key_is_made_with_the_second_factor_too(owner: User) -> None:
    _, codes = set_up_app(sign_in(owner))
    client = sign_in(owner)
    client.post(SECOND, {"code": codes[0]})
    wanted = {"name": "nightly", "scope": "read", "days": "30"}
    assert client.post("/settings/api-keys/", wanted).status_code == 303
    assert client.post("/accounts/confirm/factor/", {"code": codes[1]}).status_code == 302
    assert "eas_" in client.post("/settings/api-keys/", wanted).content.decode()


def test_the_database_alone_signs_nobody_in(owner: User) -> None:
    secret, codes = set_up_app(sign_in(owner))
    with acting_as_system():
        kept = json.dumps(list(Authenticator.objects.filter(user=owner).values_list("data", flat=True)))
    assert secret not in kept
    assert not any(code in kept for code in codes)
    with override_settings(SECRET_KEY="another-" * 8, SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]), acting_as_system():
        assert Authenticator.objects.get(user=owner, type="recovery_codes").wrap().get_unused_codes() == codes


def test_factors_are_their_holders_business(owner: User, colleague: User) -> None:
    set_up_app(sign_in(owner))
    with acting_as_user(colleague.pk):
        assert not Authenticator.objects.exists()
    with acting_as_user(owner.pk):
        assert Authenticator.objects.count() == 2
        assert Authenticator.objects.all().delete()[0] == 0, "not past the pages that ask who is there"


def test_asking_for_a_passkey_names_nobody(owner: User) -> None:
    answer = Client().get("/accounts/passkey/", headers={"Accept": "application/json"})
    asked = answer.json()["request_options"]["publicKey"]
    assert asked["userVerification"] == "required"
    assert not asked.get("allowCredentials")
    for number in range(11):
        status = Client().post("/accounts/passkey/", {"credential": json.dumps({"id": str(number)})}).status_code
    assert status == 429
