"""Fields that a request may not set: who owns a row, how far it is, what came of it, whose workspace it is in."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework import serializers

from accounts.models import Membership, Role, User, Workspace
from config.addresses import addresses
from config.database.identity import acting_as_system
from config.permissions import TABLE
from edge_ai.api import serializers as package
from edge_ai.api.fields import StrictSerializer
from edge_ai.models import DeviceProfile, Job, Model
from tests.api.support import BASE, sample, send_json
from tests.conftest import PASSWORD, inside, inside_as_system, person
from tests.edge_ai import factories
from tests.test_permissions import of_api
from tests.web.support import make_rows

Script = Callable[..., Client]
#: What only the studio decides.
NEVER = {
    *(
        "id",
        "owner",
        "owner_id",
        "user",
        "workspace",
        "tenant",
        "tenant_id",
        "schema_name",
        "status",
        "result",
        "error",
    ),
    *("progress", "stage", "attempt", "max_attempts", "lease_token", "lease_expires_at", "worker", "created_at"),
    *("sha256", "size_bytes", "blob", "analysis", "parent", "producer", "is_template", "is_host", "secret_sha256"),
    *("view_count", "download_count", "role", "is_staff", "is_superuser", "queue", "result_kind", "sandbox_level"),
}
#: Where a word of these is a question and no answer.
MEANT = {
    "RedeliveryRequestSerializer": {"status"},
    "ImportRequestSerializer": {"sha256"},
    "WantedPartSerializer": {"sha256"},
}
WRITES = ("POST", "PATCH", "PUT")


def strict() -> Iterator[type[StrictSerializer]]:
    """Everything that reads a body."""
    for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(each.name)
    waiting = [StrictSerializer]
    while waiting:
        for reader in waiting.pop().__subclasses__():
            waiting.append(reader)
            if reader.__module__.startswith(package.__name__):
                yield reader


def test_nothing_that_reads_a_body_takes_what_the_studio_decides() -> None:
    readers = list(strict())
    assert len(readers) > 10
    for each in readers:
        writable = {name for name, field in each().fields.items() if not field.read_only}
        never = NEVER - MEANT.get(each.__name__, set())
        assert not writable & never, (each.__name__, writable & never)
        reader = each(data=dict.fromkeys(never, "x"))
        assert not reader.is_valid()
        # A body that is refused names what it does not know, before anything else of it is looked at.
        assert {error.code for errors in reader.errors.values() for error in errors} == {"unknown_field"}, each.__name__


def test_every_other_serializer_only_tells(db: None) -> None:
    for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(each.name)
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, serializers.ModelSerializer) and hasattr(thing, "Meta"):
                written = {name for name, field in thing().fields.items() if not field.read_only}
                assert not written, (thing.__name__, written)


def test_no_address_of_the_api_takes_them(alpha: Workspace, owner: User, script_of: Script) -> None:
    rows = make_rows(alpha, owner)
    ids, script = of_api(alpha, owner, rows, "private"), script_of(owner)
    asked = 0
    for each in addresses():
        if not each.name.startswith("api:"):
            continue
        takes = {"id": ids.get(each.name.removeprefix("api:").rsplit("-", 1)[0]), "delivery_id": rows.delivery.pk}
        place = reverse(each.name, kwargs={name: takes[name] for name in each.pattern.pattern.converters})
        for verb in WRITES:
            if verb not in TABLE.get(each.name, {}):
                continue
            before = picture(alpha)
            answer = send_json(script, verb.lower(), place, {"owner": "x", "status": "completed", "result": {}})
            asked += 1
            # Verbs without a body pass over what is sent; none of it gets anywhere.
            assert answer.status_code < 500, (verb, place)
            after = picture(alpha)
            for key, was in before.items():
                if key in after and "/cancel" not in place and "/retry" not in place:
                    assert after[key] == was, (verb, place)
    assert asked > 20


def picture(alpha: Workspace) -> dict[Any, Any]:
    """Who owns what, and how it ended."""
    with inside_as_system(alpha):
        jobs = {row["pk"]: row for row in Job.objects.values("pk", "owner_id", "status", "result")}
        models = {row["pk"]: row for row in Model.objects.values("pk", "owner_id", "status", "sha256", "parent_id")}
        devices = {row["pk"]: row for row in DeviceProfile.objects.values("pk", "owner_id", "is_template", "is_host")}
    return jobs | models | devices


@pytest.mark.parametrize("field", ["workspace", "tenant_id", "schema_name", "X-Tenant-ID", "owner"])
def test_a_body_names_no_other_workspace_and_no_other_owner(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, script_of: Script, browser_of: Script, field: str
) -> None:
    said = {"workspace": "beta", "tenant_id": "beta", "schema_name": beta.schema_name, "owner": str(outsider.pk)}
    value = said.get(field, "beta")
    answer = script_of(owner).post(f"{BASE}models/", {"file": sample("digits.tflite"), field: value})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    # A page's form passes over it: what is made is one's own, where one is.
    browser = browser_of(owner)
    browser.post("/models/upload/", {"file": sample("digits.tflite"), "name": "mine", field: value})
    with inside_as_system(alpha):
        assert set(Model.objects.filter(name="mine").values_list("owner_id", flat=True)) == {owner.pk}
    with inside_as_system(beta):
        assert not Model.objects.exists()


def test_what_belongs_to_another_workspace_is_not_found_in_a_body(
    alpha: Workspace, beta: Workspace, owner: User, outsider: User, colleague: User, script_of: Script
) -> None:
    with inside(beta, outsider):
        theirs = factories.make_model(outsider, visibility="workspace")
        data = factories.make_dataset(outsider, visibility="workspace")
        board = factories.make_device(outsider, visibility="workspace")
    with inside(alpha, colleague):
        hidden = factories.make_model(colleague)
        hidden_data = factories.make_dataset(colleague)
    with inside(alpha, owner):
        mine, other = factories.make_model(owner), factories.make_model(owner, name="another")
        host = factories.host_device()
    script = script_of(owner)
    asked = {"model": str(mine.pk), "device_profile": str(host.pk), "target_format": "onnx", "precision": "fp16"}
    some = {"models": [str(mine.pk), str(other.pk)], "device_profile": str(host.pk)}
    batch = {"models": [str(mine.pk)], "device_profiles": [str(host.pk)], "precisions": ["fp16"]}
    tried: list[tuple[str, dict[str, Any]]] = [
        *(("optimization-jobs/", asked | {"model": str(each.pk)}) for each in (theirs, hidden)),
        *(("optimization-jobs/", asked | {"dataset": str(each.pk)}) for each in (data, hidden_data)),
        ("optimization-jobs/", asked | {"device_profile": str(board.pk)}),
        *(("benchmarks/", {"model": str(each.pk), "device_profile": str(host.pk)}) for each in (theirs, hidden)),
        ("benchmarks/", {"model": str(mine.pk), "device_profile": str(board.pk)}),
        *(("comparisons/", some | {"models": [str(mine.pk), str(each.pk)]}) for each in (theirs, hidden)),
        *(("packages/", {"model": str(each.pk)}) for each in (theirs, hidden)),
        *(("diagnoses/", {"model": str(each.pk)}) for each in (theirs, hidden)),
        *(("diagnoses/", {"model": str(mine.pk), "baseline": str(each.pk)}) for each in (theirs, hidden)),
        *(("optimization-jobs/batch/", batch | {"models": [str(each.pk)]}) for each in (theirs, hidden)),
        ("optimization-jobs/batch/", batch | {"device_profiles": [str(board.pk)]}),
        ("models/", {"upload": str(theirs.pk)}),
    ]
    for place, body in tried:
        answer = send_json(script, "post", place, body)
        assert answer.status_code in {404, 422}, (place, body, answer.content)
        # As it is told of what does not exist at all.
        assert answer.json()["code"] in {"not_found", "invalid_request"}, answer.content
        for row in (theirs, hidden):
            assert row.name not in answer.content.decode() or row.name == "digits"
    with inside_as_system(alpha):
        assert not Job.objects.exists()


@pytest.mark.parametrize("place", ["/settings/account/", "/accounts/sign-up/"])
def test_nobody_makes_himself_staff(
    owner: User, browser_of: Callable[[User], Client], settings: Any, place: str
) -> None:
    settings.SIGN_UP = "open"
    rights = {"is_staff": "on", "is_superuser": "on", "is_active": "on", "role": "owner", "email": "new@example.com"}
    client = browser_of(owner) if place.startswith("/settings/") else Client()
    client.post(place, rights | {"name": "Changed", "password1": PASSWORD, "id": str(owner.pk)})
    with acting_as_system():
        assert not User.objects.filter(is_staff=True).exclude(email__endswith="root@example.com").exists()
        assert User.objects.get(pk=owner.pk).email == owner.email
        assert not Membership.objects.filter(user__email="new@example.com").exists()


def test_an_invitation_gives_the_role_that_it_was_sent_with(
    alpha: Workspace, owner: User, browser_of: Callable[[User], Client]
) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    with acting_as_system():
        member = Membership.objects.get(user=admin)
    browser = browser_of(admin)
    for role in ("owner", "staff", "superuser", "", "OWNER"):
        browser.post(f"/settings/members/{member.pk}/role/", {"role": role, "is_staff": "on"})
        browser.post("/settings/members/invite/", {"email": "x@example.com", "role": role})
    with acting_as_system():
        assert Membership.objects.get(pk=member.pk).role == Role.ADMIN
        assert not alpha.invitations.filter(role=Role.OWNER).exists() if hasattr(alpha, "invitations") else True
