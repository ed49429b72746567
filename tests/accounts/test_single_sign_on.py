"""Signing in by an OpenID provider: a real one over HTTP, with everything that it may get wrong."""

from __future__ import annotations

import html
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Invitation, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from tests.accounts.openid import CLIENT_ID, CLIENT_SECRET, Provider, openid_provider
from tests.accounts.test_second_factor import SECOND, set_up_app
from tests.accounts.test_second_factor import sign_in as by_password
from tests.conftest import PASSWORD, inside, manage

START = "/accounts/single-sign-on/sso/"
BACK = f"{START}back/"


@pytest.fixture
def provider(settings: Any, db: None) -> Iterator[Provider]:
    """A provider that signs in new@example.com, and a studio that has it in its settings."""
    with openid_provider(sub="person-1", email="new@example.com", email_verified=True, name="New Person") as found:
        settings.OIDC_ISSUER = found.issuer
        app = {"provider_id": "sso", "name": "Lab", "client_id": CLIENT_ID, "secret": CLIENT_SECRET}
        settings.OIDC_NAME = "Lab"
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]
            | {"APPS": [app | {"settings": {"server_url": found.issuer}}]}
        }
        yield found


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def to_provider(client: Client, **form: str) -> str:
    """Press the button; returns where the page leads."""
    page = client.post(START, form)
    assert page.status_code == 200, page.headers
    found = re.search(r'<a class="btn btn-primary" href="([^"]+)"', page.content.decode())
    assert found is not None
    return html.unescape(found[1])


def there_and_back(address: str) -> str:
    """Sign in at the provider, in a browser of its own; returns where it leads back to."""
    try:
        urllib.request.build_opener(_Stay).open(address, timeout=10)
    except urllib.error.HTTPError as answer:
        place = urlsplit(answer.headers["Location"])
        return f"{place.path}?{place.query}"
    raise AssertionError("the provider did not lead back")


def sign_in(client: Client, **form: str) -> Any:
    return client.get(there_and_back(to_provider(client, **form)))


def who(client: Client) -> str | None:
    key = client.session.get("_auth_user_id")
    with acting_as_system():
        return User.objects.get(pk=key).email if key else None


def known(email: str, **fields: Any) -> User:
    with acting_as_system():
        return User.objects.create_user(email, PASSWORD, **fields)


def refused(answer: Any, client: Client) -> None:
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/accounts/sign-in/"), answer.content
    assert who(client) is None
    with acting_as_system():
        assert not SocialAccount.objects.exists()


def test_who_is_known_by_a_proven_address_signs_in_and_is_known_from_then_on(provider: Provider) -> None:
    user = known("new@example.com")
    client = Client()
    answer = sign_in(client, next="/jobs/")
    assert (answer.status_code, answer["Location"]) == (302, "/jobs/")
    assert who(client) == user.email
    (asked,) = provider.asked
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert set(asked["scope"].split()) == {"openid", "profile", "email"}
    assert len(asked["state"]) >= 16 and len(asked["nonce"]) >= 32
    assert asked["redirect_uri"] == f"http://testserver{BACK}"
    # By who he is at the provider, not by an address that may become somebody else's.
    provider.person["email"] = "renamed@example.com"
    again = Client()
    sign_in(again)
    assert who(again) == user.email
    user.refresh_from_db()
    assert user.check_password(PASSWORD), "the password still works"


def test_nobody_makes_an_account_where_it_takes_an_invitation(
    provider: Provider, alpha: Workspace, owner: User, settings: Any
) -> None:
    settings.SIGN_UP = "invite"
    client = Client()
    assert "by invitation" in sign_in(client).content.decode()
    assert who(client) is None
    with acting_as_system():
        assert not User.objects.filter(email="new@example.com").exists()
        _, token = Invitation.issue(
            workspace_id=alpha.pk,
            email="new@example.com",
            role=Role.VIEWER,
            invited_by=owner,
            expires_at=timezone.now() + timedelta(days=1),
        )
    sign_in(client)
    assert who(client) == "new@example.com"
    with acting_as_system():
        user = User.objects.get(email="new@example.com")
        assert (user.name, user.has_usable_password(), user.is_staff) == ("New Person", False, False)
        assert EmailAddress.objects.get(user=user).verified
        assert not Membership.objects.filter(user=user).exists(), "the invitation is still to be accepted"
    client.post(f"/invitations/{token}/")
    with acting_as_system():
        assert Membership.objects.get(user=user).role == Role.VIEWER


def test_nobody_makes_an_account_where_none_are_made(
    provider: Provider, alpha: Workspace, owner: User, settings: Any
) -> None:
    settings.SIGN_UP = "off"
    with acting_as_system():
        Invitation.issue(
            workspace_id=alpha.pk,
            email="new@example.com",
            role=Role.VIEWER,
            invited_by=owner,
            expires_at=timezone.now() + timedelta(days=1),
        )
    client = Client()
    assert "No new accounts are made here" in sign_in(client).content.decode()
    assert who(client) is None
    with acting_as_system():
        assert not User.objects.filter(email="new@example.com").exists()


def test_anybody_makes_an_account_where_the_studio_is_open(provider: Provider, settings: Any) -> None:
    settings.SIGN_UP = "open"
    client = Client()
    sign_in(client)
    assert who(client) == "new@example.com"


@pytest.mark.parametrize("told", [False, None, "false", 0])
def test_an_address_that_is_not_proven_is_nobodys(provider: Provider, settings: Any, told: Any) -> None:
    settings.SIGN_UP = "open"
    known("new@example.com")
    provider.person["email_verified"] = told
    client = Client()
    refused(sign_in(client), client)


def test_whoever_took_an_address_without_proving_it_gets_nothing(provider: Provider, settings: Any) -> None:
    settings.SIGN_UP = "open"
    user = known("new@example.com")
    with acting_as_system():
        EmailAddress.objects.create(user=user, email=user.email, verified=False, primary=True)
    client = Client()
    sign_in(client)
    assert who(client) is None
    with acting_as_system():
        assert not SocialAccount.objects.exists()


def test_who_is_switched_off_stays_out(provider: Provider) -> None:
    known("new@example.com", is_active=False)
    client = Client()
    sign_in(client)
    assert who(client) is None


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another client": {"aud": "somebody-else"},
    "another party": {"aud": [CLIENT_ID, "x"], "azp": "x"},
    "expired": {"exp": 1_000_000_000},
    "never expires": {"exp": None},
    "another nonce": {"nonce": "n" * 43},
    "no nonce": {"nonce": None},
    "nobody": {"sub": None},
    "from the future": {"nbf": 4_000_000_000},
}


@pytest.mark.parametrize("fault", sorted(WRONG))
def test_a_token_that_is_not_right_signs_nobody_in(provider: Provider, fault: str) -> None:
    known("new@example.com")
    provider.claims = WRONG[fault]
    client = Client()
    refused(sign_in(client), client)


@pytest.mark.parametrize("fault", ["another key", "no signature", "the client's secret", "garbage", "none at all"])
def test_a_token_that_is_not_signed_signs_nobody_in(provider: Provider, fault: str) -> None:
    known("new@example.com")
    if fault == "another key":
        provider.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elif fault == "no signature":
        provider.algorithm = "none"
    elif fault == "the client's secret":
        provider.algorithm, provider.key = "HS256", CLIENT_SECRET.ljust(32, "x")
    else:
        provider.token = "a.b.c" if fault == "garbage" else ""
    client = Client()
    refused(sign_in(client), client)


def test_what_it_tells_and_what_it_signs_is_about_the_same_person(provider: Provider) -> None:
    known("admin@example.com")
    provider.userinfo = {"sub": "person-2", "email": "admin@example.com"}
    client = Client()
    refused(sign_in(client), client)


def test_a_provider_that_says_it_is_another_is_not_believed(provider: Provider) -> None:
    provider.config = {"issuer": "https://evil.example"}
    client = Client()
    refused(client.post(START), client)


def test_an_answer_is_good_once_and_in_its_own_browser(provider: Provider) -> None:
    known("new@example.com")
    mine, other = Client(), Client()
    answer = there_and_back(to_provider(mine))
    # Somebody else's answer, which would sign the victim in as the attacker.
    refused(other.get(answer), other)
    to_provider(other)
    refused(other.get(answer), other)
    assert mine.get(answer).status_code == 302
    assert who(mine) == "new@example.com"
    replayed = Client()
    refused_there = replayed.get(answer)
    assert refused_there.status_code == 302 and who(replayed) is None
    mine.post("/accounts/sign-out/")
    mine.get(answer)
    assert who(mine) is None


def test_a_code_that_was_taken_is_of_no_use_elsewhere(provider: Provider) -> None:
    known("new@example.com")
    victim, thief = Client(), Client()
    stolen = parse_qs(urlsplit(there_and_back(to_provider(victim))).query)["code"][0]
    own = parse_qs(urlsplit(there_and_back(to_provider(thief))).query)["state"][0]
    thief.get(BACK, {"code": stolen, "state": own})
    assert who(thief) is None
    assert provider.refused == ["pkce"]


@pytest.mark.parametrize(
    "query", [{}, {"error": "access_denied"}, {"code": "x"}, {"state": "x"}, {"error": "<script>"}]
)
def test_an_answer_without_a_question_is_refused(provider: Provider, query: dict[str, str]) -> None:
    client = Client()
    refused(client.get(BACK, query), client)


def test_nobody_is_led_away_and_nothing_is_asked_for_by_the_browser(provider: Provider) -> None:
    known("new@example.com")
    client = Client()
    address = to_provider(
        client, next="https://evil.example/", process="connect", scope="admin", auth_params="prompt=none"
    )
    asked = parse_qs(urlsplit(address).query)
    assert "prompt" not in asked and "admin" not in asked["scope"][0]
    assert client.get(there_and_back(address))["Location"] == "/overview/"
    forged = Client(enforce_csrf_checks=True)
    assert forged.post(START).status_code == 403
    assert forged.get(START).status_code == 405


def test_a_signed_in_person_stays_who_he_is_until_the_other_has_signed_in(provider: Provider, owner: User) -> None:
    """An account at the provider is never tied to whoever happens to be signed in."""
    client = Client()
    client.force_login(owner)
    sign_in(client, process="connect")
    with acting_as_system():
        assert not SocialAccount.objects.filter(user=owner).exists()


def test_the_provider_is_away(provider: Provider, settings: Any) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["settings"]["server_url"] = "http://127.0.0.1:9"
    client = Client()
    refused(client.post(START), client)


def test_the_button_is_there_where_a_provider_is(provider: Provider, settings: Any) -> None:
    assert "Sign in with Lab" in Client().get("/accounts/sign-in/").content.decode()
    settings.OIDC_ISSUER = ""
    assert START not in Client().get("/accounts/sign-in/").content.decode()
    assert Client().post(START).status_code == Client().get(BACK).status_code == 404
    settings.OIDC_ISSUER = provider.issuer
    assert Client().post("/accounts/single-sign-on/other/").status_code == 404


def test_accounts_at_a_provider_are_their_holders_business(
    provider: Provider, alpha: Workspace, owner: User, colleague: User
) -> None:
    with acting_as_system():
        SocialAccount.objects.create(user=owner, provider="sso", uid="1")
    with inside(alpha, owner):
        assert SocialAccount.objects.count() == 1
        assert SocialAccount.objects.update(uid="2") == 0
    with inside(alpha, colleague):
        assert not SocialAccount.objects.exists()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM socialaccount_socialapp")


def test_half_a_setting_stops_the_studio() -> None:
    with pytest.raises(AssertionError, match="OIDC_CLIENT_ID"):
        manage("check", OIDC_ISSUER="https://login.example.com")


def test_a_second_factor_is_asked_for_here_too(provider: Provider) -> None:
    user = known("new@example.com")
    _, codes = set_up_app(by_password(user))
    client = Client()
    sign_in(client)
    assert client.get("/workspaces/").status_code == 302
    assert client.post(SECOND, {"code": "00000000"}).status_code == 200
    assert client.get("/workspaces/").status_code == 302
    assert client.post(SECOND, {"code": codes[0]}).status_code == 302
    assert client.get("/workspaces/").status_code == 200
