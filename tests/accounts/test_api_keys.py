"""Keys for scripts: who they let in, how far, and for how long."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from tests.conftest import PASSWORD

ME = "/api/edge/v1/me/"
DEVICES = "/api/edge/v1/device-profiles/"


def issue(user: User, **fields: Any) -> tuple[ApiKey, str]:
    """Make a key in ``alpha``."""
    with acting_as_system():
        alpha = Workspace.objects.get(slug="alpha")
        return ApiKey.issue(user=user, workspace=alpha, **({"name": "tests", "scopes": ["read"]} | fields))


def script(secret: str, scheme: str = "Bearer") -> Client:
    """A script that sends a key."""
    return Client(headers={"Authorization": f"{scheme} {secret}"})


def prove(client: Client) -> None:
    """Say the password once more, which making a key takes."""
    assert client.post("/accounts/confirm/", {"password": PASSWORD}).status_code == 302


def change(key: ApiKey, **fields: Any) -> None:
    """Let something happen to a key."""
    with acting_as_system():
        ApiKey.objects.filter(pk=key.pk).update(**fields)


def test_a_key_says_who_and_where(owner: User) -> None:
    _, secret = issue(owner)
    body = script(secret).get(ME).json()
    assert (body["user"]["email"], body["workspace"]["slug"], body["scopes"]) == (owner.email, "alpha", ["read"])
    assert script(secret, "bearer").get(ME).status_code == 200, "the scheme's case does not matter"
    assert script(secret, "Basic").get(ME).status_code == 401


def test_only_a_hash_of_the_secret_is_kept(owner: User) -> None:
    key, secret = issue(owner)
    assert re.fullmatch(r"eas_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", secret)
    own = secret.split("_", 2)[2]
    assert key.secret_sha256 == hashlib.sha256(own.encode()).hexdigest()
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute("SELECT accounts_apikey::text FROM accounts_apikey WHERE id = %s", [key.pk])
        assert own not in cursor.fetchone()[0]
    assert own not in str(key)


@pytest.mark.parametrize(
    "fault", ["wrong secret", "unknown", "revoked", "expired", "inactive user", "no member any more", "no key at all"]
)
def test_a_key_that_is_no_good_is_a_401_and_says_no_more(owner: User, alpha: Workspace, fault: str) -> None:
    key, secret = issue(owner, expires_at=timezone.now() + timedelta(minutes=1))
    assert script(secret).get(ME).status_code == 200
    if fault == "wrong secret":
        secret = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    elif fault == "unknown":
        secret = "eas_zzzzzzzz_" + "x" * 43
    elif fault == "revoked":
        change(key, revoked_at=timezone.now())
    elif fault == "expired":
        change(key, expires_at=timezone.now() - timedelta(seconds=1))
    elif fault == "no key at all":
        secret = "let me in"
    with acting_as_system():
        if fault == "inactive user":
            User.objects.filter(pk=owner.pk).update(is_active=False)
        elif fault == "no member any more":
            Membership.objects.filter(user=owner, workspace=alpha).delete()
    answer = script(secret).get(ME)
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    body = answer.json()
    assert body["code"] == "not_authenticated"
    assert body["detail"].startswith("The API key is not valid: unknown, expired or revoked.")


def test_a_key_opens_its_own_workspace_only(owner: User, beta: Workspace) -> None:
    with acting_as_system():
        Membership.objects.create(user=owner, workspace=beta, role=Role.OWNER)
    _, secret = issue(owner, scopes=["admin"])
    client = script(secret)
    assert client.get(ME, headers={"X-Tenant-ID": "alpha"}).status_code == 200
    for slug in ("beta", "no-such-place"):
        assert client.get(ME, headers={"X-Tenant-ID": slug}).status_code == 404
        assert client.get(f"{ME}?tenant_id={slug}").status_code == 404


def test_a_key_counts_for_more_than_the_browsers_session(
    owner: User, colleague: User, browser_of: Callable[[User], Client]
) -> None:
    _, secret = issue(colleague)
    answer = browser_of(owner).get(ME, headers={"Authorization": f"Bearer {secret}"})
    assert answer.json()["user"]["email"] == colleague.email
    bad = browser_of(owner).get(ME, headers={"Authorization": "Bearer eas_bad"})
    assert bad.status_code == 401, "a bad key is not made good by a session"


@pytest.mark.parametrize(
    ("scopes", "allowed"), [(["read"], 403), (["write"], 422), (["admin"], 422), (["read", "write"], 422)]
)
def test_a_scope_includes_the_lesser_ones(owner: User, scopes: list[str], allowed: int) -> None:
    _, secret = issue(owner, scopes=scopes)
    assert script(secret).get(DEVICES).status_code == 200
    answer = script(secret).post(DEVICES, {}, "application/json")
    assert answer.status_code == allowed, answer.content


def test_a_key_is_no_more_than_its_holder(viewer: User) -> None:
    _, secret = issue(viewer, scopes=["admin"])
    assert script(secret).get(ME).json()["scopes"] == ["read"]
    assert script(secret).post(DEVICES, {}, "application/json").status_code == 403


def test_a_key_makes_no_other_key(owner: User) -> None:
    _, secret = issue(owner, scopes=["read"])
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {secret}"})
    page = client.get("/settings/api-keys/")
    assert (page.status_code, page["Location"]) == (302, "/accounts/sign-in/?next=/settings/api-keys/")
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', client.get("/accounts/sign-in/").content.decode())
    assert token is not None
    form = {"name": "more", "scope": "admin", "days": "0", "csrfmiddlewaretoken": token[1]}
    assert client.post("/settings/api-keys/", form).status_code == 302
    with acting_as_system():
        assert not ApiKey.objects.filter(name="more").exists()


def test_a_key_opens_no_page(owner: User) -> None:
    _, secret = issue(owner, scopes=["admin"])
    for path in ("/overview/", "/models/", "/workspaces/", "/admin/"):
        assert script(secret).get(path).status_code == 302, path


def test_the_last_use_is_kept_to_the_minute(owner: User) -> None:
    key, secret = issue(owner)

    def last_use() -> Any:
        with acting_as_system():
            return ApiKey.objects.values_list("last_used_at", flat=True).get(pk=key.pk)

    assert last_use() is None
    script(secret).get(ME)
    first = last_use()
    assert timezone.now() - first < timedelta(seconds=30)
    script(secret).get(ME)
    assert last_use() == first, "not at every request"
    change(key, last_used_at=timezone.now() - timedelta(minutes=2))
    script(secret).get(ME)
    assert last_use() > first


@pytest.mark.parametrize("scopes", [[], ["everything"], ["read", "everything"]])
def test_a_key_without_known_scopes_is_refused_by_the_database(owner: User, scopes: list[str]) -> None:
    with pytest.raises(IntegrityError, match="scopes_known"), transaction.atomic():
        issue(owner, scopes=scopes)


def test_the_page_lists_ones_own_keys_of_this_workspace(
    owner: User, colleague: User, beta: Workspace, browser_of: Callable[[User], Client]
) -> None:
    issue(owner, name="mine, here")
    issue(colleague, name="a colleague's")
    with acting_as_system():
        Membership.objects.create(user=owner, workspace=beta, role=Role.MEMBER)
        ApiKey.issue(user=owner, workspace=beta, name="mine, elsewhere", scopes=["read"])
    page = browser_of(owner).get("/settings/api-keys/", headers={"X-Tenant-ID": "alpha"})
    assert [key.name for key in page.context["keys"]] == ["mine, here"]


def test_a_form_that_is_filled_in_wrongly_makes_no_key(owner: User, browser_of: Callable[[User], Client]) -> None:
    client = browser_of(owner)
    prove(client)
    for form in (
        {"name": "", "scope": "read", "days": "30"},
        {"name": "x", "scope": "root", "days": "30"},
        {"name": "x", "scope": "read", "days": "31"},
        {"name": "x" * 101, "scope": "read", "days": "30"},
    ):
        answer = client.post("/settings/api-keys/", form)
        assert answer.context["new_key"] is None
        assert answer.context["form"].errors
    with acting_as_system():
        assert not ApiKey.objects.filter(user=owner).exists()


@pytest.mark.parametrize(("days", "left"), [("30", timedelta(days=30)), ("0", None)])
def test_a_key_lasts_as_long_as_was_asked_for(
    owner: User, browser_of: Callable[[User], Client], days: str, left: timedelta | None
) -> None:
    client = browser_of(owner)
    prove(client)
    client.post("/settings/api-keys/", {"name": "mine", "scope": "read", "days": days})
    with acting_as_system():
        expires_at = ApiKey.objects.get(name="mine").expires_at
    assert (expires_at is None) == (left is None)
    if expires_at is not None and left is not None:
        assert abs(expires_at - timezone.now() - left) < timedelta(minutes=1)
