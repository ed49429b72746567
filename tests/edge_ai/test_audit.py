"""The audit trail: every service notes what it changes, who did it is known, and nobody rewrites it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection, transaction
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from accounts import members
from accounts.actor import Actor, How, acted_by, address_of, current_actor
from accounts.models import ApiKey, Membership, Role, User, Workspace
from accounts.signals import AccountAction, state_changed
from config.database.identity import acting_as_system
from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.models import Artifact, AuditAction, AuditEvent, DeviceProfile, Model
from edge_ai.services import artifacts, datasets, devices, jobs, models, queue, webhooks
from edge_ai.services.audit import ACTIONS, note
from edge_ai.services.housekeeping import expire_artifacts
from tests.conftest import PASSWORD, inside, inside_as_system, person
from tests.edge_ai import factories
from tests.engine.graphs import dense_net

Browser = Callable[[User], Client]


def trail(workspace: Workspace) -> list[AuditEvent]:
    """The whole trail, the oldest first, but for how people signed in."""
    with inside_as_system(workspace):
        return list(AuditEvent.objects.exclude(action=AccountAction.SIGNED_IN).order_by("at"))


def actions(workspace: Workspace) -> list[str]:
    """What happened, in order."""
    return [event.action for event in trail(workspace)]


def test_models_leave_a_trail(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        file = SimpleUploadedFile("net.onnx", dense_net().SerializeToString())
        model = models.upload_model(owner, file=file, name="net")
        models.update_model(owner, model=model, fields={"name": "better", "visibility": "workspace"})
        models.update_model(owner, model=model, fields={"name": "better"})
        Model.objects.filter(pk=model.pk).update(status="ready", analysis={})
        job = submitted(owner, model)
        jobs.cancel_job(owner, job=job)
        jobs.retry_job(owner, job=job)
        jobs.cancel_job(owner, job=job)
        analysis = model.analysis_jobs.get()
        jobs.cancel_job(owner, job=analysis)
        models.delete_model(owner, model=model)
    events = trail(alpha)
    assert [event.action for event in events] == [
        *("model.created", "model.changed", "job.submitted", "job.cancelled", "job.retried", "job.cancelled"),
        *("job.cancelled", "model.deleted"),
    ], "an update that changes nothing is no change"
    made, changed, *_, deleted = events
    assert made.after["sha256"] == model.sha256 and made.before == {}
    assert (changed.before, changed.after) == (
        {"name": "net", "visibility": "private"},
        {"name": "better", "visibility": "workspace"},
    )
    assert (deleted.object_id, deleted.object_name) == (made.object_id, "better")
    assert deleted.before["jobs"] == 2
    assert {event.how for event in events} == {How.SYSTEM}, "nobody asked over HTTP"


def submitted(user: User, model: Model) -> Any:
    """An optimization that was asked for."""
    model.refresh_from_db()
    job = factories.make_optimization(user, model)
    queue.submit(job)
    return job


def test_data_sets_artifacts_and_devices_leave_a_trail(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        datasets.delete_dataset(owner, dataset=factories.make_dataset(owner))
        artifacts.delete_artifact(owner, artifact=factories.make_artifact(owner))
        device = devices.create_profile(owner, fields={"name": "Board", "category": "phone", "memory_mb": 512})
        devices.update_profile(owner, profile=device, fields={"name": "Board", "memory_mb": 1024})
        devices.delete_profile(owner, profile=device)
    gone, thrown, added, changed, removed = trail(alpha)
    assert gone.action == "dataset.deleted" and gone.before["sample_count"] > 0
    assert thrown.action == "artifact.deleted" and thrown.before["file_name"]
    assert added.after == {"name": "Board", "category": "phone", "memory_mb": 512, "visibility": "private"}
    assert (changed.before, changed.after) == ({"memory_mb": 512}, {"memory_mb": 1024})
    assert removed.object_id == added.object_id and removed.object_type == "device"


def test_webhooks_leave_a_trail_without_their_secrets(alpha: Workspace, owner: User, settings: Any) -> None:
    settings.WEBHOOK_ALLOW_NETWORKS = ("127.0.0.0/8",)
    with inside(alpha, owner):
        endpoint, secret = webhooks.create_endpoint(owner, url="https://example.com/hook", events=["model.ready"])
        webhooks.update_endpoint(owner, endpoint=endpoint, fields={"description": "build"})
        webhooks.update_endpoint(owner, endpoint=endpoint, fields={"description": "build"})
        rotated = webhooks.rotate_secret(owner, endpoint=endpoint)
        delivery = factories.make_delivery(endpoint)
        webhooks.redeliver(owner, delivery=delivery)
        webhooks.redeliver_many(owner, endpoint=endpoint, since=timezone.now() - timedelta(hours=1))
        webhooks.delete_endpoint(owner, endpoint=endpoint)
    events = trail(alpha)
    assert [event.action.partition(".")[2] for event in events] == [
        *("created", "changed", "secret_rotated", "redelivered", "redelivered", "deleted"),
    ]
    assert (events[1].before, events[1].after) == ({"description": ""}, {"description": "build"})
    told = json.dumps([[event.before, event.after, event.object_name] for event in events])
    assert secret not in told and rotated not in told


def test_secrets_are_left_out_whoever_gives_them(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        note(
            AuditAction.WEBHOOK_CHANGED, factories.make_endpoint(owner), after={"secret": "s3cret", "url": "https://x"}
        )
    assert trail(alpha)[0].after == {"url": "https://x"}


def test_what_ends_by_itself_is_the_studios_doing(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        artifact = factories.make_artifact(owner, expires_at=timezone.now() - timedelta(days=1))
        factories.make_artifact(owner)
    with inside_as_system(alpha):
        assert expire_artifacts() == 1
        assert Artifact.objects.count() == 1
    (event,) = trail(alpha)
    assert (event.action, event.object_id, event.actor, event.how) == ("artifact.expired", artifact.pk, "", "system")


def test_templates_that_change_are_noted_in_every_workspace(alpha: Workspace, beta: Workspace) -> None:
    with inside_as_system(alpha):
        before = DeviceProfile.objects.filter(is_template=True, is_host=False).first()
        assert before is not None
        DeviceTemplate.objects.filter(slug=before.slug).update(memory_mb=4321)
    for workspace in (alpha, beta):
        devices.sync_workspace(workspace.schema_name)
        (event,) = trail(workspace)
        assert (event.action, event.object_name) == ("device_template.changed", before.name)
        assert (event.before, event.after) == ({"memory_mb": before.memory_mb}, {"memory_mb": 4321})


def test_nothing_is_noted_of_what_is_rolled_back(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner), pytest.raises(RuntimeError), transaction.atomic():
        datasets.delete_dataset(owner, dataset=factories.make_dataset(owner))
        raise RuntimeError
    assert actions(alpha) == []


# -- who did it ---------------------------------------------------------------------------------------------------------
def test_a_key_is_named_without_its_secret(alpha: Workspace, owner: User, script_of: Callable[..., Client]) -> None:
    with inside(alpha, owner):
        dataset = factories.make_dataset(owner)
    answer = script_of(owner).delete(
        reverse("api:dataset-detail", args=[dataset.pk]),
        headers={"X-Request-ID": "nightly-4711"},
        REMOTE_ADDR="192.0.2.7",
    )
    assert answer.status_code == 204
    (event,) = trail(alpha)
    key = ApiKey.objects.get_queryset()
    with inside_as_system(alpha):
        prefix = key.get(user=owner).prefix
    assert (event.actor_id, event.actor, event.how, event.api_key) == (owner.pk, owner.email, "api_key", prefix)
    assert (event.address, event.request_id) == ("192.0.2.7", "nightly-4711")
    assert current_actor() == Actor(), "and is forgotten after the request"


def test_a_browser_is_named(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    with inside(alpha, owner):
        dataset = factories.make_dataset(owner)
    browser_of(owner).post(reverse("edge_ai:dataset-delete", args=[dataset.pk]))
    (event,) = trail(alpha)
    assert (event.actor, event.how, event.api_key, event.address) == (owner.email, "session", "", "127.0.0.1")
    assert event.request_id


def test_signing_in_is_kept_in_every_workspace_of_the_person(alpha: Workspace, beta: Workspace, owner: User) -> None:
    with inside_as_system(alpha):
        Membership.objects.create(user=owner, workspace=beta, role=Role.MEMBER)
    Client().post(reverse("accounts:login"), {"login": owner.email, "password": "wrong"})
    answer = Client().post(reverse("accounts:login"), {"login": owner.email, "password": PASSWORD})
    assert answer.status_code == 302
    for workspace in (alpha, beta):
        with inside_as_system(workspace):
            event = AuditEvent.objects.get()
        assert (event.action, event.actor, event.object_id) == ("user.signed_in", owner.email, owner.pk)
        assert (event.how, event.address) == ("session", "127.0.0.1")


def test_keys_leave_a_trail(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    browser.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    answer = browser.post(reverse("accounts:api-key-list"), {"name": "nightly", "scope": "read", "days": "30"})
    secret = answer.context["new_key"]["secret"]
    with inside_as_system(alpha):
        key = ApiKey.objects.get(user=owner)
    for _ in range(2):
        browser.post(reverse("accounts:api-key-revoke", args=[key.pk]))
    made, revoked = trail(alpha)
    assert (made.action, made.object_id, made.after["scopes"]) == ("api_key.created", key.pk, ["read"])
    assert revoked.action == "api_key.revoked"
    assert secret not in json.dumps([made.after, made.object_name])


def test_memberships_leave_a_trail(alpha: Workspace, owner: User, colleague: User) -> None:
    with acting_as_system():
        mine, theirs = (Membership.objects.get(user=user, workspace=alpha) for user in (owner, colleague))
    members.change_role(mine, member_id=theirs.pk, role=Role.ADMIN)
    members.remove(mine, member_id=theirs.pk)
    changed, removed = trail(alpha)
    assert (changed.action, changed.object_id, changed.object_name) == (
        "member.role_changed",
        colleague.pk,
        colleague.email,
    )
    assert (changed.before, changed.after) == ({"role": "member"}, {"role": "admin"})
    assert (removed.action, removed.before) == ("member.removed", {"role": "admin"})


def test_others_may_tell_of_what_they_change(alpha: Workspace, owner: User) -> None:
    with acted_by(Actor(how=How.SESSION, user_id=owner.pk, name=owner.email)):
        state_changed.send(
            ApiKey,
            action=AccountAction.API_KEY_REVOKED,
            subject=owner,
            workspace=alpha,
            before={"a": 1},
            after={"a": 2},
        )
    (event,) = trail(alpha)
    assert (event.actor, event.before, event.after) == (owner.email, {"a": 1}, {"a": 2})


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        (False, "203.0.113.9", "127.0.0.1"),
        (True, "203.0.113.9", "203.0.113.9"),
        (True, "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (True, "", "127.0.0.1"),
    ],
)
def test_a_client_cannot_choose_its_address(trusted: bool, forwarded: str, expected: str, settings: Any) -> None:
    settings.TRUST_PROXY = trusted
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded} if forwarded else {})
    assert address_of(request) == expected


def test_every_action_says_what_happened() -> None:
    assert set(ACTIONS) == {*AuditAction.values, *AccountAction.values}
    for action, words in ACTIONS.items():
        assert action.count(".") == 1 and words


# -- nobody rewrites it -----------------------------------------------------------------------------------------------
def refused(statement: str, *values: Any) -> str:
    """What the database answers."""
    with pytest.raises(DatabaseError) as raised, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    return str(raised.value)


@pytest.mark.parametrize("role", ["person", "studio"])
def test_nobody_changes_or_removes_an_event(role: str, alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        note(AuditAction.MODEL_DELETED, factories.make_model(owner))
    with inside(alpha, owner) if role == "person" else inside_as_system(alpha):
        for statement in (
            "UPDATE edge_ai_auditevent SET actor = 'somebody else'",
            "DELETE FROM edge_ai_auditevent",
            "TRUNCATE edge_ai_auditevent",
        ):
            assert "permission denied" in refused(statement)
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            AuditEvent.objects.update(actor="somebody else")
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            AuditEvent.objects.all().delete()
    assert len(trail(alpha)) == 1


def test_nobody_forges_an_event(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        assert "permission denied" in refused(
            "INSERT INTO edge_ai_auditevent (id, actor, how, api_key, address, request_id, action, object_type, object_id,"
            " object_name, before, after) VALUES (%s, '', 'system', '', '', '', 'model.deleted', 'model', %s, '', '{}', '{}')",
            uuid4(),
            uuid4(),
        )


def test_the_trail_is_read_by_owners_and_admins_of_its_workspace_alone(
    alpha: Workspace, beta: Workspace, owner: User, colleague: User, viewer: User, outsider: User
) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    with inside(alpha, owner):
        note(AuditAction.MODEL_DELETED, factories.make_model(owner))
    for user, count in ((owner, 1), (admin, 1), (colleague, 0), (viewer, 0), (outsider, 0), (None, 0)):
        with inside(alpha, user), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM edge_ai_auditevent")
            assert cursor.fetchone() == (count,), user
    with inside(beta, outsider):
        assert AuditEvent.objects.count() == 0, "the owner of another workspace reads his own"
