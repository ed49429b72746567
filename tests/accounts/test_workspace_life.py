"""The life of a workspace: asked for, made by a command of the schema's owner, renamed, deleted after a time, gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from django_tenants.utils import schema_exists

from accounts import workspaces as rules
from accounts.models import ApiKey, Domain, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.models import Job
from edge_ai.services.workspace_removal import remove_workspace
from edge_ai.worker.workspaces import make_workspaces, remove_workspaces
from tests.conftest import PASSWORD, inside, inside_as_system, manage, person
from tests.edge_ai import factories
from tests.web.support import running

Browser = Callable[[User], Client]
NEW = "/workspaces/new/"
SETTINGS = "/settings/workspace/"
DELETE = "/settings/workspace/delete/"


def asked(slug: str = "fresh-team", name: str = "Fresh team") -> dict[str, str]:
    """What the form for a new workspace sends."""
    return {"slug": slug, "name": name}


def state_of(slug: str) -> Workspace:
    """A workspace, as it stands."""
    with acting_as_system():
        found: Workspace = Workspace.objects.get(slug=slug)
    return found


def test_a_new_workspace_is_owned_and_not_entered_before_it_is_made(owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    before = OrmQ.objects.count()
    answer = browser.post(NEW, asked())
    assert (answer.status_code, answer["Location"]) == (303, "/workspaces/")
    assert OrmQ.objects.count() == before + 1, "a worker is woken"
    made = state_of("fresh-team")
    assert (made.made_at, made.schema_name) == (None, "ws_fresh_team")
    with acting_as_system():
        assert Membership.objects.get(user=owner, workspace=made).role == Role.OWNER
        assert Domain.objects.get(tenant=made).domain == "fresh-team.localhost"
        _, secret = ApiKey.issue(user=owner, workspace=made, name="early", scopes=["read"])
    text = browser.get("/workspaces/").content.decode()
    assert "Being made" in text
    assert 'value="fresh-team"' not in text
    assert browser.get("/models/", headers={"X-Tenant-ID": "fresh-team"}).status_code == 404
    assert browser.post("/workspaces/switch/", {"workspace": "fresh-team"}).status_code == 404
    assert Client(headers={"Authorization": f"Bearer {secret}"}).get("/api/edge/v1/me/").status_code == 401
    assert browser.get("/overview/").status_code == 200, "the other workspace is entered as before"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (asked("alpha"), 409),
        (asked("admin"), 409),
        (asked("Bad Slug"), 422),
        (asked("trailing-"), 422),
        (asked("x" * 41), 422),
        (asked(name=""), 422),
        (asked("fine", "n" * 101), 422),
    ],
)
def test_what_cannot_be_a_workspace_is_said_at_the_field(
    owner: User, browser_of: Browser, form: dict[str, str], status: int
) -> None:
    answer = browser_of(owner).post(NEW, form)
    assert answer.status_code == status
    assert answer.context["form"].errors
    with acting_as_system():
        assert Membership.objects.filter(user=owner).count() == 1


def test_nobody_owns_more_than_is_allowed_or_makes_one_where_the_operator_does(
    owner: User, browser_of: Browser, settings: Any
) -> None:
    browser = browser_of(owner)
    settings.WORKSPACES_PER_OWNER = 1
    assert browser.post(NEW, asked()).status_code == 402
    settings.WORKSPACES_PER_OWNER = 2
    settings.WORKSPACE_CREATION = False
    assert browser.post(NEW, asked()).status_code == 403
    assert NEW not in browser.get("/workspaces/").content.decode()
    with acting_as_system():
        assert not Workspace.objects.filter(slug="fresh-team").exists()


def test_who_belongs_nowhere_may_make_a_workspace(db: None, browser_of: Browser) -> None:
    with acting_as_system():
        nobody = User.objects.create_user("nobody@example.com", PASSWORD)
    browser = browser_of(nobody)
    assert NEW in browser.get("/workspaces/").content.decode()
    assert browser.get(NEW).status_code == 200
    assert browser.post(NEW, asked()).status_code == 303


def test_admins_rename_and_others_look(alpha: Workspace, colleague: User, browser_of: Browser) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    assert browser_of(admin).post(SETTINGS, {"name": "Alpha & friends"}).status_code == 303
    assert state_of("alpha").name == "Alpha & friends"
    assert browser_of(admin).post(SETTINGS, {"name": ""}).status_code == 422
    page = browser_of(colleague).get(SETTINGS)
    assert "Alpha &amp; friends" in page.content.decode()
    assert 'name="name"' not in page.content.decode()
    assert browser_of(colleague).post(SETTINGS, {"name": "mine"}).status_code == 403


def test_an_owner_deletes_members_are_told_and_an_owner_keeps_it(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser, settings: Any
) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    for user in (admin, colleague):
        assert browser_of(user).get(DELETE).status_code == 403
        assert browser_of(user).post(DELETE, {"slug": "alpha"}).status_code == 403
    browser = browser_of(owner)
    assert browser.post(DELETE, {"slug": "beta"}).status_code == 422
    assert state_of("alpha").delete_at is None
    assert browser.post(DELETE, {"slug": "alpha"}).status_code == 303
    due = state_of("alpha").delete_at
    assert due is not None
    assert abs(due - timezone.now() - timedelta(days=settings.WORKSPACE_GRACE_DAYS)) < timedelta(minutes=5)
    settings.WORKSPACE_GRACE_DAYS = 90
    browser.post(DELETE, {"slug": "alpha"})
    assert state_of("alpha").delete_at == due, "asking again does not put it off"
    for user in (owner, admin, colleague):
        assert "is removed with everything in it" in browser_of(user).get("/overview/").content.decode()
    assert browser_of(admin).post("/settings/workspace/keep/").status_code == 403
    assert browser.post("/settings/workspace/keep/").status_code == 303
    assert state_of("alpha").delete_at is None
    assert "is removed with everything in it" not in browser.get("/overview/").content.decode()


def test_at_its_end_nobody_enters_or_keeps_it(
    alpha: Workspace, owner: User, browser_of: Browser, script_of: Callable[..., Client]
) -> None:
    browser, script = browser_of(owner), script_of(owner)
    with acting_as_system():
        mine = Membership.objects.get(user=owner)
        Workspace.objects.filter(pk=alpha.pk).update(delete_at=timezone.now() - timedelta(seconds=1))
    assert browser.get("/models/").status_code == 302
    assert browser.get("/models/", headers={"X-Tenant-ID": "alpha"}).status_code == 404
    assert script.get("/api/edge/v1/me/").status_code == 401
    rules.keep(mine)
    assert state_of("alpha").delete_at is not None


def test_nothing_is_removed_before_its_time_or_while_jobs_run(alpha: Workspace, owner: User) -> None:
    with pytest.raises(UserInputError, match="not to be removed"):
        remove_workspace("alpha")
    with pytest.raises(UserInputError, match="no workspace"):
        remove_workspace("nowhere")
    with inside(alpha, owner):
        model = factories.make_model(owner)
    job = running(alpha, owner, model)
    with pytest.raises(UserInputError, match="still run"):
        remove_workspace("alpha", now=True)
    with inside_as_system(alpha):
        assert Job.objects.get(pk=job.pk).cancel_requested


@pytest.fixture
def outside(django_db_setup: None, django_db_blocker: Any) -> Iterator[User]:
    """Somebody whose doings other processes see; what is left of the workspace is removed."""
    with django_db_blocker.unblock():
        with acting_as_system():
            user = User.objects.create_user("maker@example.com", PASSWORD)
        try:
            yield user
        finally:
            connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
            with acting_as_system():
                if Workspace.objects.filter(slug="short-life").exists():
                    manage("remove_workspace", "short-life", "--now")
                OrmQ.objects.all().delete()
                User.objects.filter(pk=user.pk)._raw_delete("default")


def test_a_workspace_is_made_used_and_removed_for_good(outside: User) -> None:
    browser = Client()
    browser.force_login(outside)
    assert browser.post(NEW, asked("short-life", "Short life")).status_code == 303
    # As if whoever made it before had been killed between the schema and its tables.
    database = settings.DATABASES["default"]
    with psycopg.connect(
        host=database["HOST"], dbname=database["NAME"], user="studio_owner", password=settings.DATABASE_OWNER_PASSWORD
    ) as owner:
        owner.execute("CREATE SCHEMA ws_short_life")
    # A machine with much else to do takes several turns, each of which goes on where the last was ended.
    assert any(make_workspaces() for _ in range(6))
    assert make_workspaces() == 0, "once"
    assert browser.get("/overview/").status_code == 200
    devices = browser.get("/api/edge/v1/device-profiles/").json()["results"]
    assert devices, "with the catalogue of devices"
    life = state_of("short-life")
    with inside(life, outside):
        model = factories.make_model(outside)
        where = storage.blob_name(life.schema_name, model.sha256)
        if not storage.backend().exists(where):
            storage.backend().save(where, ContentFile(b"weights"))

    assert browser.post(DELETE, {"slug": "short-life"}).status_code == 303
    assert remove_workspaces() == 0, "not yet"
    with acting_as_system():
        Workspace.objects.filter(pk=life.pk).update(delete_at=timezone.now() - timedelta(seconds=1))
    assert any(remove_workspaces() for _ in range(6))
    with acting_as_system():
        assert not schema_exists(life.schema_name)
        assert not Workspace.objects.filter(pk=life.pk).exists()
        assert not Membership.objects.filter(user=outside).exists()
        assert not Domain.objects.filter(domain="short-life.localhost").exists()
    assert not storage.backend().exists(where)
    assert browser.get("/overview/").status_code == 302
