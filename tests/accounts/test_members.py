"""Roles, removal and handing over: the rules, and what the database holds when two decide at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from accounts import members
from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from tests.conftest import PASSWORD, person


def of(user: User) -> Membership:
    """A person's membership, as it stands."""
    with acting_as_system():
        return Membership.objects.select_related("user").get(user=user)


def refused(code: str, work: Callable[[], Any]) -> str:
    """What a refusal says."""
    with pytest.raises(UserInputError) as caught:
        work()
    assert caught.value.code == code
    return caught.value.message


@pytest.fixture
def admin(alpha: Workspace) -> User:
    """Manages members, and owners not."""
    return person("admin@example.com", alpha, Role.ADMIN)


@pytest.mark.parametrize("role", list(Role))
def test_an_owner_gives_every_role(owner: User, colleague: User, role: Role) -> None:
    assert members.change_role(of(owner), member_id=of(colleague).pk, role=role).role == role
    assert of(colleague).role == role


def test_an_admin_makes_no_owner_and_touches_none(owner: User, admin: User, colleague: User) -> None:
    me = of(admin)
    for role in (Role.VIEWER, Role.ADMIN, Role.MEMBER):
        members.change_role(me, member_id=of(colleague).pk, role=role)
    refused("permission_denied", lambda: members.change_role(me, member_id=of(colleague).pk, role=Role.OWNER))
    refused("permission_denied", lambda: members.change_role(me, member_id=me.pk, role=Role.OWNER))
    refused("permission_denied", lambda: members.change_role(me, member_id=of(owner).pk, role=Role.VIEWER))
    refused("permission_denied", lambda: members.remove(me, member_id=of(owner).pk))
    refused("permission_denied", lambda: members.transfer_ownership(me, member_id=of(colleague).pk))
    assert (of(owner).role, of(admin).role, of(colleague).role) == (Role.OWNER, Role.ADMIN, Role.MEMBER)


@pytest.mark.parametrize("name", ["colleague", "viewer"])
def test_others_manage_nobody_and_may_leave(
    request: pytest.FixtureRequest, owner: User, admin: User, name: str
) -> None:
    me = of(request.getfixturevalue(name))
    for each in (owner, admin):
        theirs = of(each).pk
        refused("permission_denied", lambda theirs=theirs: members.remove(me, member_id=theirs))  # type: ignore[misc]  # its default
    refused("permission_denied", lambda: members.change_role(me, member_id=me.pk, role=Role.ADMIN))
    members.remove(me, member_id=me.pk)
    with acting_as_system():
        assert not Membership.objects.filter(pk=me.pk).exists()


def test_members_of_other_workspaces_are_out_of_reach(owner: User, outsider: User) -> None:
    for work in (
        lambda: members.change_role(of(owner), member_id=of(outsider).pk, role=Role.VIEWER),
        lambda: members.remove(of(owner), member_id=of(outsider).pk),
        lambda: members.transfer_ownership(of(owner), member_id=of(outsider).pk),
    ):
        refused("not_found", work)


def test_what_counts_is_the_role_now_not_the_one_that_a_request_began_with(owner: User, admin: User) -> None:
    before = of(admin)
    members.change_role(of(owner), member_id=before.pk, role=Role.MEMBER)
    assert before.role == Role.ADMIN
    refused("permission_denied", lambda: members.change_role(before, member_id=before.pk, role=Role.VIEWER))
    members.remove(of(owner), member_id=before.pk)
    refused("not_found", lambda: members.remove(before, member_id=before.pk))


def test_handing_over_makes_an_owner_and_an_admin(owner: User, viewer: User) -> None:
    members.transfer_ownership(of(owner), member_id=of(viewer).pk)
    assert (of(owner).role, of(viewer).role) == (Role.ADMIN, Role.OWNER)
    refused("conflict", lambda: members.transfer_ownership(of(viewer), member_id=of(viewer).pk))


def test_the_last_owner_stays(beta: Workspace) -> None:
    with acting_as_system():
        root = User.objects.get(email="beta-root@example.com")
    refused("conflict", lambda: members.remove(of(root), member_id=of(root).pk))
    refused("conflict", lambda: members.change_role(of(root), member_id=of(root).pk, role=Role.ADMIN))
    assert of(root).role == Role.OWNER


def test_removal_ends_the_keys_here_and_only_here(owner: User, colleague: User, beta: Workspace) -> None:
    with acting_as_system():
        here, _ = ApiKey.issue(user=colleague, workspace=of(owner).workspace, name="here", scopes=["read"])
        there, _ = ApiKey.issue(user=colleague, workspace=beta, name="there", scopes=["read"])
    members.remove(of(owner), member_id=of(colleague).pk)
    with acting_as_system():
        here.refresh_from_db()
        there.refresh_from_db()
    assert here.revoked_at is not None
    assert there.revoked_at is None


@pytest.fixture
def two_owners(django_db_setup: None, django_db_blocker: Any) -> Iterator[tuple[Membership, Membership]]:
    """The only owners of a workspace, in rows that other connections see."""
    with django_db_blocker.unblock():
        with acting_as_system(), transaction.atomic():
            shared = Workspace(slug="two-owners", name="Two owners", schema_name="ws_two_owners")
            shared.auto_create_schema = False
            shared.save()
            people = [User.objects.create_user(f"{name}@two.example.com", PASSWORD) for name in ("ada", "grace")]
            both = [Membership.objects.create(user=each, workspace=shared, role=Role.OWNER) for each in people]
        try:
            yield both[0], both[1]
        finally:
            with acting_as_system(), transaction.atomic():
                Membership.objects.filter(workspace=shared).delete()
                Workspace.objects.filter(pk=shared.pk)._raw_delete("default")
                User.objects.filter(pk__in=[each.pk for each in people])._raw_delete("default")


def at_once(*work: Callable[[], Any]) -> list[BaseException | None]:
    """Do things on connections of their own at the same moment; returns what each raised."""
    ready = threading.Barrier(len(work))

    def one(each: Callable[[], Any]) -> BaseException | None:
        try:
            connection.ensure_connection()
            ready.wait(20)
            each()
        except (UserInputError, IntegrityError) as error:
            return error
        finally:
            connection.close()
        return None

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


def owners_of(workspace_id: Any) -> int:
    """How many owners a workspace has."""
    with acting_as_system():
        return Membership.objects.filter(workspace_id=workspace_id, role=Role.OWNER).count()


@pytest.mark.parametrize("way", ["demote each other", "remove each other", "step down", "leave"])
def test_of_two_who_would_leave_no_owner_one_is_refused(two_owners: tuple[Membership, Membership], way: str) -> None:
    ada, grace = two_owners
    work: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "demote each other": (
            lambda: members.change_role(ada, member_id=grace.pk, role=Role.MEMBER),
            lambda: members.change_role(grace, member_id=ada.pk, role=Role.MEMBER),
        ),
        "remove each other": (
            lambda: members.remove(ada, member_id=grace.pk),
            lambda: members.remove(grace, member_id=ada.pk),
        ),
        "step down": (
            lambda: members.change_role(ada, member_id=ada.pk, role=Role.VIEWER),
            lambda: members.change_role(grace, member_id=grace.pk, role=Role.VIEWER),
        ),
        "leave": (
            lambda: members.remove(ada, member_id=ada.pk),
            lambda: members.remove(grace, member_id=grace.pk),
        ),
    }
    raised = at_once(*work[way])
    assert [error is None for error in raised].count(True) == 1, raised
    assert owners_of(ada.workspace_id) == 1


def test_the_database_itself_keeps_an_owner(two_owners: tuple[Membership, Membership]) -> None:
    ada, grace = two_owners

    def demote(member: Membership) -> None:
        with acting_as_system(), transaction.atomic():
            Membership.objects.filter(pk=member.pk).update(role=Role.VIEWER)

    raised = at_once(lambda: demote(ada), lambda: demote(grace))
    assert [type(error) for error in raised if error is not None] == [IntegrityError]
    assert owners_of(ada.workspace_id) == 1
    with pytest.raises(IntegrityError, match="needs an owner"), acting_as_system():
        Membership.objects.filter(workspace_id=ada.workspace_id).delete()


def test_the_admin_site_leaves_no_workspace_without_an_owner_and_deletes_nobody(beta: Workspace) -> None:
    with acting_as_system():
        staff = User.objects.create_superuser("staff@example.com", PASSWORD)
        root = Membership.objects.get(workspace=beta)
    client = Client()
    client.force_login(staff)
    where = f"/admin/accounts/workspace/{beta.pk}/change/"
    data = {
        "name": beta.name,
        "concurrent_jobs": "",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "1",
        "memberships-0-id": str(root.pk),
        "memberships-0-workspace": str(beta.pk),
        "memberships-0-user": str(root.user_id),
    }
    for change in ({"memberships-0-role": "viewer"}, {"memberships-0-role": "owner", "memberships-0-DELETE": "on"}):
        answer = client.post(where, data | change)
        assert answer.status_code == 200
        assert "A workspace needs an owner." in answer.content.decode()
    assert client.post(where, data | {"memberships-0-role": "owner", "name": "Beta, renamed"}).status_code == 302
    with acting_as_system():
        assert Workspace.objects.get(pk=beta.pk).name == "Beta, renamed"
    assert client.post(f"/admin/accounts/user/{root.user_id}/delete/", {"post": "yes"}).status_code == 403
