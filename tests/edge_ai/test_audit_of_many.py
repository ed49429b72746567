"""The trail of invitations, batches, and of what was done to several rows at once; and the trail as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.test import Client
from django.urls import reverse

from accounts import invitations
from accounts.models import Invitation, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import AuditEvent
from edge_ai.services import batches
from edge_ai.services.batches import BatchRequest
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories

Browser = Callable[[User], Client]


def trail(workspace: Workspace, kind: str) -> list[AuditEvent]:
    with inside_as_system(workspace):
        return list(AuditEvent.objects.filter(object_type=kind).order_by("at"))


def test_invitations_leave_a_trail_without_their_links(alpha: Workspace, owner: User) -> None:
    tokens: list[str] = []

    def link(token: str) -> str:
        tokens.append(token)
        return f"https://studio.example.com/{token}"

    with acting_as_system():
        me = Membership.objects.select_related("user", "workspace").get(user=owner)
    invitations.invite(me, email="new@example.com", role=Role.VIEWER, link=link)
    with acting_as_system():
        first = Invitation.objects.get(email="new@example.com")
    invitations.send_again(me, invitation_id=first.pk, link=link)
    with acting_as_system():
        second = Invitation.objects.open().get(email="new@example.com")
    invitations.revoke(me, invitation_id=second.pk)
    found = trail(alpha, "invitation")
    assert [(each.action, each.object_id) for each in found] == [
        ("invitation.created", first.pk),
        ("invitation.resent", second.pk),
        ("invitation.revoked", second.pk),
    ]
    assert found[0].after == {"role": "viewer"}
    assert "new@example.com" in found[0].object_name
    told = json.dumps([[each.before, each.after, each.object_name] for each in found])
    assert not [token for token in tokens if token in told]


def test_batches_leave_a_trail(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        request = BatchRequest(
            models=[factories.make_model(owner)],
            device_profiles=[factories.host_device()],
            precisions=["fp16", "fp32"],
            name="Nightly",
        )
        made = batches.submit_batch(owner, request=request).batch
        assert not batches.submit_batch(owner, request=request).now
        batches.cancel_batch(owner, batch=made)
        batches.retry_batch(owner, batch=made)
    found = trail(alpha, "batch")
    assert [(each.action, each.after) for each in found] == [
        ("batch.submitted", {"jobs": 1, "refused": 1, "visibility": "private"}),
        ("batch.cancelled", {"jobs": 1}),
        ("batch.retried", {"jobs": 1}),
    ]
    assert {(each.object_id, each.object_name) for each in found} == {(made.pk, "Nightly")}


def test_what_is_done_in_bulk_is_told_as_a_whole_and_row_by_row(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    with inside(alpha, owner):
        mine = [factories.make_model(owner, name=name) for name in ("one", "two")]
    with inside(alpha, colleague):
        theirs = factories.make_model(colleague, visibility="workspace")
    chosen = [str(model.pk) for model in (*mine, theirs)]
    place = reverse("edge_ai:model-bulk")
    browser_of(owner).post(place, {"action": "delete", "row": chosen})
    assert trail(alpha, "bulk") == [], "nothing is done before it is confirmed"
    browser_of(owner).post(place, {"action": "delete", "row": chosen, "confirmed": "yes"})
    (event,) = trail(alpha, "bulk")
    assert (event.action, event.object_id, event.actor) == ("bulk.done", alpha.pk, owner.email)
    assert event.after == {"what": "delete", "rows": "models", "done": 2, "refused": 1}
    assert {each.object_id for each in trail(alpha, "model") if each.action == "model.deleted"} == {
        model.pk for model in mine
    }


def test_the_trail_is_taken_away_as_json_lines(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser, monkeypatch: Any
) -> None:
    monkeypatch.setattr("edge_ai.web.views.audit.BATCH", 1)
    with inside(alpha, owner):
        for name in ("one", "two"):
            batches.submit_batch(
                owner,
                request=BatchRequest(
                    models=[factories.make_model(owner, name=name)],
                    device_profiles=[factories.host_device()],
                    precisions=["fp16"],
                ),
            )
    place = reverse("edge_ai:audit-lines")
    answer = browser_of(owner).get(place, {"action": "batch.submitted"})
    assert answer["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert answer["Content-Disposition"].endswith('.jsonl"')
    lines = b"".join(answer.streaming_content).splitlines()  # type: ignore[attr-defined]  # it is streamed
    told = [json.loads(line) for line in lines]
    assert [each["action"] for each in told] == ["batch.submitted"] * 2
    assert told[0]["after"] == {"jobs": 1, "refused": 0, "visibility": "private"}
    assert told[0]["actor_id"] is None and told[0]["at"] > told[1]["at"]
    assert browser_of(colleague).get(place).status_code == 403
