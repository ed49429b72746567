"""The pages of members: who sees what, and what becomes of a member's things."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import (
    BenchmarkRun,
    ComparisonJob,
    Job,
    KeptAnswer,
    Model,
    ShareLink,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
    WorkspaceExport,
)
from edge_ai.services.members import HANDED_OVER
from tests.conftest import inside, inside_as_system, person
from tests.edge_ai import factories
from tests.web.support import make_rows

Browser = Callable[[User], Client]
LIST = "/settings/members/"


def of(user: User) -> Membership:
    """A person's membership, as it stands."""
    with acting_as_system():
        return Membership.objects.get(user=user)


def address(name: str, user: User) -> str:
    """Where something is done with a member."""
    return reverse(f"edge_ai:member-{name}", args=[of(user).pk])


def test_members_see_each_other_and_nobody_elses(
    owner: User, viewer: User, outsider: User, browser_of: Browser
) -> None:
    text = browser_of(viewer).get(LIST).content.decode()
    assert owner.email in text
    assert outsider.email not in text
    assert 'id="role-' not in text, "a role to choose for somebody"
    assert address("remove", owner) not in text
    assert address("remove", viewer) in text, "one's own, to leave"
    assert address("remove", viewer) in browser_of(owner).get(LIST).content.decode()


def test_the_list_takes_as_many_queries_for_thirty(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(LIST).status_code == 200
        return len(asked)

    few = queries()
    for number in range(20):
        person(f"number-{number}@example.com", alpha, Role.MEMBER)
    assert queries() == few < 15
    for number in range(20, 30):
        person(f"number-{number}@example.com", alpha, Role.MEMBER)
    assert "number-9@" in browser.get(LIST, {"ordering": "-person"}).content.decode()
    assert "number-0@" not in browser.get(LIST, {"ordering": "-person"}).content.decode()


def test_a_role_is_changed_and_the_page_says_so(owner: User, colleague: User, browser_of: Browser) -> None:
    answer = browser_of(owner).post(address("role", colleague), {"role": "admin"})
    assert (answer.status_code, answer["Location"]) == (303, LIST)
    assert of(colleague).role == Role.ADMIN
    assert browser_of(owner).post(address("role", colleague), {"role": "emperor"}).status_code == 422
    assert browser_of(colleague).post(address("role", owner), {"role": "viewer"}).status_code == 403
    assert browser_of(colleague).post(address("role", colleague), {"role": "owner"}).status_code == 403
    assert (of(owner).role, of(colleague).role) == (Role.OWNER, Role.ADMIN)


@pytest.mark.parametrize("name", ["colleague", "viewer"])
def test_others_are_refused(request: pytest.FixtureRequest, owner: User, browser_of: Browser, name: str) -> None:
    browser = browser_of(request.getfixturevalue(name))
    for verb in ("get", "post"):
        assert getattr(browser, verb)(address("remove", owner)).status_code == 403
        assert getattr(browser, verb)("/settings/members/transfer/").status_code == 403
    assert browser.post(address("role", owner), {"role": "viewer"}).status_code == 403


def test_a_removed_member_is_out_at_once_and_what_they_owned_has_a_new_owner(
    alpha: Workspace, owner: User, colleague: User, viewer: User, browser_of: Browser
) -> None:
    theirs = make_rows(alpha, colleague)
    with inside(alpha, colleague):
        pending = factories.make_delivery(WebhookEndpoint.objects.get(owner=colleague))
        factories.make_upload(colleague)
    with acting_as_system():
        _, secret = ApiKey.issue(user=colleague, workspace=alpha, name="theirs", scopes=["read"])
    script = Client(headers={"Authorization": f"Bearer {secret}"})
    browser = browser_of(colleague)
    assert script.get("/api/edge/v1/me/").status_code == browser.get("/models/").status_code == 200
    asked = browser_of(owner).get(address("remove", colleague))
    for words in ("2 models", "1 data set", "1 device", "4 jobs", "1 artifact", "1 webhook, which is switched off"):
        assert words in asked.content.decode()
    assert theirs.model.name not in asked.content.decode(), "what is private is counted, not named"
    options = asked.context["form"].fields["member"].choices
    assert options[0][0] == str(of(owner).pk), "whoever removes comes first"
    assert str(of(viewer).pk) not in dict(options)

    refused = browser_of(owner).post(address("remove", colleague), {"member": str(of(viewer).pk)})
    assert refused.status_code == 422
    answer = browser_of(owner).post(address("remove", colleague), {"member": str(of(owner).pk)})
    assert (answer.status_code, answer["Location"]) == (303, LIST)
    assert script.get("/api/edge/v1/me/").status_code == 401
    assert browser.get("/models/").status_code == 302
    assert browser.get("/models/", headers={"X-Tenant-ID": "alpha"}).status_code == 404
    with inside_as_system(alpha):
        for rows in HANDED_OVER:
            assert not rows._default_manager.filter(owner_id=colleague.pk).exists(), rows
        assert Upload.objects.filter(owner=colleague).exists(), "left to expire"
        assert not WebhookEndpoint.objects.get(owner=owner).enabled
        assert ShareLink.objects.get(owner=owner).revoked_at is not None
        assert WebhookDelivery.objects.get(pk=pending.pk).status == "failed"
    with inside(alpha, owner):
        assert {
            Model.objects.get(pk=theirs.model.pk).owner_id,
            Job.objects.get(pk=theirs.optimization.pk).owner_id,
        } == {owner.pk}
        assert BenchmarkRun.objects.filter(pk=theirs.benchmark.pk).exists()
        assert ComparisonJob.objects.filter(pk=theirs.comparison.pk).exists()


def test_whatever_is_owned_is_handed_over_or_left_to_expire() -> None:
    owned = {
        model
        for model in apps.get_app_config("edge_ai").get_models()
        if any(field.name == "owner" for field in model._meta.local_fields)
    }
    # Exports go with who asked for them, and answers are kept for a day, for whom they were given to.
    assert owned == {*HANDED_OVER, Upload, WorkspaceExport, KeptAnswer}


def test_what_is_handed_over_is_counted_so_far(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(alpha, colleague):
        for place in range(3):
            factories.make_dataset(colleague, name=f"data {place}")
    with inside_as_system(alpha):
        member = Membership.objects.get(user=colleague, workspace=alpha)
    address = reverse("edge_ai:member-remove", args=[member.pk])
    assert "<li>3 data sets</li>" in browser_of(owner).get(address).content.decode()
    monkeypatch.setattr("edge_ai.services.members.COUNTED", 2)
    assert "<li>more than 2 data sets</li>" in browser_of(owner).get(address).content.decode()


def test_a_refused_removal_hands_nothing_over(alpha: Workspace, colleague: User, browser_of: Browser) -> None:
    admin = person("admin@example.com", alpha, Role.ADMIN)
    with acting_as_system():
        root = Membership.objects.filter(workspace=alpha).order_by("created_at")
        boss = root[0].user
    with inside(alpha, boss):
        model = factories.make_model(boss)
    answer = browser_of(admin).post(address("remove", boss), {"member": str(of(admin).pk)})
    assert answer.status_code == 403
    with inside_as_system(alpha):
        assert Model.objects.get(pk=model.pk).owner_id == boss.pk


def test_leaving_hands_over_to_an_owner_and_a_viewer_may_leave_too(
    alpha: Workspace, owner: User, colleague: User, viewer: User, browser_of: Browser
) -> None:
    with inside(alpha, colleague):
        model = factories.make_model(colleague)
    page = browser_of(colleague).get(address("remove", colleague))
    first = dict(page.context["form"].fields["member"].choices)
    assert str(of(owner).pk) in first
    answer = browser_of(colleague).post(address("remove", colleague), {"member": str(of(owner).pk)})
    assert (answer.status_code, answer["Location"]) == (303, "/workspaces/")
    with inside_as_system(alpha):
        assert Model.objects.get(pk=model.pk).owner_id == owner.pk
    page = browser_of(viewer).get(address("remove", viewer))
    assert "You own nothing here" in page.content.decode()
    assert browser_of(viewer).post(address("remove", viewer), {"member": str(of(owner).pk)}).status_code == 303
    with acting_as_system():
        assert not Membership.objects.filter(user__in=[colleague, viewer]).exists()


def test_the_only_owner_cannot_leave(beta: Workspace, browser_of: Browser) -> None:
    with acting_as_system():
        root = User.objects.get(email="beta-root@example.com")
    other = person("other@example.com", beta, Role.MEMBER)
    answer = browser_of(root).post(address("remove", root), {"member": str(of(other).pk)})
    assert answer.status_code == 409
    assert "Make another member an owner first." in answer.content.decode()


def test_the_workspace_is_handed_over(owner: User, colleague: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    assert browser.get("/settings/members/transfer/").status_code == 200
    assert browser.post("/settings/members/transfer/", {"member": "nobody"}).status_code == 422
    answer = browser.post("/settings/members/transfer/", {"member": str(of(colleague).pk)})
    assert (answer.status_code, answer["Location"]) == (303, LIST)
    assert (of(owner).role, of(colleague).role) == (Role.ADMIN, Role.OWNER)
    assert browser.get("/settings/members/transfer/").status_code == 403


def test_a_viewer_still_revokes_a_key_of_better_days(alpha: Workspace, viewer: User, browser_of: Browser) -> None:
    with acting_as_system():
        key, _ = ApiKey.issue(
            user=viewer,
            workspace=alpha,
            name="old",
            scopes=["write"],
            expires_at=timezone.now() + timedelta(days=1),
        )
    assert f"{key.pk}/revoke/" in browser_of(viewer).get("/settings/api-keys/").content.decode()
    assert browser_of(viewer).post(f"/settings/api-keys/{key.pk}/revoke/").status_code == 303
    with acting_as_system():
        key.refresh_from_db()
    assert key.revoked_at is not None
