"""The table of permissions against what the studio does: every address, asked as everybody. A new one needs its row."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version as version_of
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.addresses import Address, addresses
from config.database.identity import acting_as_system
from config.permissions import PREFIXES, TABLE, Least, Rows, Rule, is_enough, rule_of
from edge_ai.services.resumable import begin
from tests.conftest import PASSWORD, inside, person
from tests.edge_ai import factories
from tests.web.support import Rows as Owned
from tests.web.support import make_rows

#: Names of Django's own that lead nowhere: their parts are asked through the others.
OTHERS = {"admin:", "admin:view_on_site"}
VERBS = ("GET", "POST", "PATCH", "DELETE")
SIGN_IN, REFUSED, ABSENT, NO_VERB, NO_WORKSPACE, DONE = (
    "sign in",
    "refused",
    "absent",
    "no verb",
    "no workspace",
    "done",
)
# What uploads ask for before they look for a row; other addresses pass over it.
TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
#: What an address needs to be found, where nothing would be there otherwise.
KNOWN: dict[str, dict[str, Any]] = {
    "docs:page": {"name": "concepts"},
    "graph-viewer": {"version": version_of("netron")},
    "graph-asset": {"version": version_of("netron"), "file_name": "index.js"},
    "stored-file": {"token": "altered", "file_name": "model.onnx"},
    "graph-model": {"token": "altered", "file_name": "model.onnx"},
    "openid_connect_login": {"provider_id": "sso"},
    "openid_connect_callback": {"provider_id": "sso"},
    "accounts:invitation": {"token": "altered"},
    "shared-comparison": {"token": "altered"},
    "accounts:session-end": {"session_id": 0},
    "mfa_remove_webauthn": {"pk": 0},
    "mfa_edit_webauthn": {"pk": 0},
    "account_confirm_email": {"key": "altered"},
    "account_reset_password_from_key": {"uidb36": "1", "key": "altered"},
}
#: Public, and back at the sign-in when nothing was presented.
BACK_AT_SIGN_IN = {"mfa_login_webauthn"}
EVERY = [each for each in addresses() if not each.name.startswith("admin:")]
OF_ADMIN = [each for each in addresses() if each.name.startswith("admin:") and each.name not in OTHERS]


class _UndoneError(Exception):
    """Takes back what a request did."""


@pytest.fixture
def people(alpha: Workspace, owner: User, colleague: User, viewer: User, outsider: User) -> dict[str, User | None]:
    """Everybody, by what they are."""
    with acting_as_system():
        staff = User.objects.create_superuser("staff@example.com", PASSWORD)
    return {
        "owner": owner,
        "admin": person("admin@example.com", alpha, Role.ADMIN),
        "member": colleague,
        "viewer": viewer,
        "outsider": outsider,
        "staff": staff,
        "stranger": None,
    }


class Clients:
    """Whoever asks: by a key where it is the API, and by a session elsewhere."""

    def __init__(self, user: User | None) -> None:
        self.user = user
        self.by_session = self._session()
        self.by_key = self._key() if user is not None and not user.is_staff else self.by_session

    def __call__(self, address: Address) -> Client:
        if address.name.startswith(("account", "mfa_")):
            # Some of them end or change the session.
            return self._session()
        return self.by_key if address.name.startswith("api:") else self.by_session

    def _session(self) -> Client:
        client = Client()
        if self.user is not None:
            client.force_login(self.user)
        return client

    def _key(self) -> Client:
        with acting_as_system():
            workspace = Membership.objects.select_related("workspace").get(user=self.user).workspace
            _, secret = ApiKey.issue(user=self.user, workspace=workspace, name="everything", scopes=["admin"])  # type: ignore[arg-type]  # somebody
        return Client(headers={"Authorization": f"Bearer {secret}"})


def of_api(alpha: Workspace, owner: User, rows: Owned, visibility: str) -> dict[str, Any]:
    """The id that each kind of address of the API takes."""
    with inside(alpha, owner):
        return {
            "model": rows.model.pk,
            "dataset": rows.dataset.pk,
            "upload": begin(owner, length_bytes=9, purpose="model", file_name="a.onnx", name="").pk,
            "device-profile": rows.device.pk,
            "job": rows.optimization.pk,
            "benchmark": rows.benchmark.pk,
            "comparison": rows.comparison.pk,
            "package": factories.make_packaging(owner, rows.model, visibility=visibility).pk,
            "import": factories.make_import(owner, visibility=visibility).pk,
            "diagnosis": rows.diagnosis.pk,
            "artifact": rows.artifact.pk,
            "webhook": rows.delivery.endpoint_id,
            "batch": rows.batch.pk,
        }


def path_of(address: Address, rows: Owned, ids: dict[str, Any], key: ApiKey, member: Membership) -> str:
    """Where an address leads for the owner's rows; members are asked about themselves, to leave."""
    taken: dict[str, Any] = {}
    if address.name in KNOWN:
        return reverse(address.name, kwargs=KNOWN[address.name])
    for name in address.pattern.pattern.converters:
        if name == "id":
            taken[name] = ids[address.name.removeprefix("api:").rsplit("-", 1)[0]]
        elif name == "key_id":
            taken[name] = key.pk
        elif name == "member_id":
            taken[name] = member.pk
        else:
            taken[name] = rows.key_of(name)
    return reverse(address.name, kwargs=taken)


def observed(answer: Any) -> str:
    """What a response comes to."""
    where = answer.headers.get("Location", "")
    if answer.status_code == 401 or (answer.status_code == 302 and "/sign-in/" in where):
        return SIGN_IN
    if answer.status_code == 302 and where.startswith("/admin/login/"):
        return SIGN_IN
    if answer.status_code == 302 and where == "/workspaces/":
        return NO_WORKSPACE
    if answer.status_code == 422 and b"workspace_required" in answer.content:
        return NO_WORKSPACE
    # 503 is what health says where no worker is.
    assert answer.status_code in {*range(200, 500), 503}, answer.content[:2000]
    return {403: REFUSED, 404: ABSENT, 405: NO_VERB}.get(answer.status_code, DONE)


def expected(who: str, user: User | None, rule: Rule, *, shared: bool) -> set[str]:
    """What a row of the table says of somebody, about the owner's rows."""
    if rule.least == Least.PUBLIC:
        # What an altered link says: that there is nothing, or that it does not work.
        return {ABSENT, DONE} if rule.rows == Rows.LINK else {DONE}
    if user is None:
        return {SIGN_IN}
    if rule.least == Least.SIGNED_IN:
        return {DONE, ABSENT}
    if who == "staff":
        return {NO_WORKSPACE}
    role = Role.OWNER if who in {"owner", "outsider"} else Role(who)
    if who == "outsider" and rule.rows != Rows.NONE:
        return {ABSENT}
    hidden = {Rows.SEEN: who != "owner" and not shared, Rows.OWN: who != "owner"}.get(rule.rows, False)
    if not is_enough(role, rule.least):
        return {REFUSED, ABSENT} if rule.rows != Rows.NONE else {REFUSED}
    return {ABSENT} if hidden else {DONE}


def ask(client: Client, verb: str, path: str) -> Any:
    """Send a request and take back what it did."""
    sent: dict[str, Any] = {"headers": TUS}
    if verb == "PATCH":
        sent |= {"data": b"x", "content_type": "application/offset+octet-stream"}
    elif verb == "POST" and path.startswith("/api/"):
        sent |= {"data": {}, "content_type": "application/json"}
    answer = None
    try:
        with transaction.atomic():
            answer = getattr(client, verb.lower())(path, **sent)
            raise _UndoneError
    except _UndoneError:
        return answer


def cases(
    rows: Owned, ids: dict[str, Any], key: ApiKey, member: Membership
) -> Iterator[tuple[Address, str, Rule | None, str]]:
    """Every address and verb."""
    for address in EVERY:
        for verb in VERBS:
            if address.name.startswith("api:") or verb in {"GET", "POST"}:
                yield address, verb, rule_of(address.name, verb), path_of(address, rows, ids, key, member)


def is_list(name: str) -> bool:
    """Lists are there for everybody, and hold what one may see."""
    return name.endswith("-list")


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
@pytest.mark.parametrize("who", ["owner", "admin", "member", "viewer", "outsider", "staff", "stranger"])
@pytest.mark.timeout(900)
def test_every_address_does_what_the_table_says(
    alpha: Workspace, owner: User, people: dict[str, User | None], who: str, shared: bool
) -> None:
    visibility = "workspace" if shared else "private"
    rows = make_rows(alpha, owner, visibility=visibility)
    ids = of_api(alpha, owner, rows, visibility)
    with acting_as_system():
        key, _ = ApiKey.issue(user=owner, workspace=alpha, name="to revoke", scopes=["read"])
        member = Membership.objects.filter(user=people[who], workspace=alpha).first() or rows.member
    client_of = Clients(people[who])
    wrong = []
    for address, verb, rule, path in cases(rows, ids, key, member):
        # On shared rows only what differs is asked again.
        if shared and (rule is None or rule.rows != Rows.SEEN):
            continue
        found = observed(ask(client_of(address), verb, path))
        if rule is None:
            right = {SIGN_IN, REFUSED, ABSENT, NO_VERB, NO_WORKSPACE}
        else:
            meant = Rule(least=rule.least, scope=rule.scope) if is_list(address.name) else rule
            right = expected(who, people[who], meant, shared=shared)
            if people[who] is None and address.name in BACK_AT_SIGN_IN:
                right = {SIGN_IN}
        if found not in right:
            wrong.append(f"{verb} {path}: {found} and not {' or '.join(sorted(right))}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("who", ["owner", "staff", "stranger"])
def test_the_admin_site_is_for_staff(people: dict[str, User | None], who: str) -> None:
    user = people[who]
    for address in OF_ADMIN:
        try:
            path = reverse(address.name)
        except NoReverseMatch:  # it takes a row
            continue
        if address.name in {"admin:login", "admin:logout", "admin:jsi18n"}:
            continue
        client = Client()
        if user is not None:
            client.force_login(user)
        found = observed(client.get(path))
        assert (found == SIGN_IN) is (who != "staff"), f"{address.path}: {found}"


def test_every_address_has_its_row_and_every_row_its_address() -> None:
    assert {each.name for each in EVERY} == set(TABLE)
    assert all(rule_of(each.name, "GET") == PREFIXES["admin:"] for each in OF_ADMIN)


def test_every_verb_of_the_api_has_its_row_and_its_scope() -> None:
    for each in EVERY:
        view = getattr(each.pattern.callback, "view_class", None)
        if not each.name.startswith("api:") or view is None:
            continue
        takes = {verb for verb in ("GET", "POST", "PUT", "PATCH", "DELETE") if hasattr(view, verb.lower())}
        assert takes == set(TABLE[each.name]), each.name
        for verb, rule in TABLE[each.name].items():
            assert rule.scope in {"read", "write", "admin"}, f"{verb} {each.name}"
            assert verb == "GET" or rule.scope != "read", f"{verb} {each.name}"
