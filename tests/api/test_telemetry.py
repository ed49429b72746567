"""``telemetry/events/``: who reads the audit trail, and how it is narrowed down."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor, How, acted_by
from accounts.models import Role, User, Workspace
from edge_ai.models import AuditAction
from edge_ai.services.audit import note
from tests.api.support import BASE, Script, problem
from tests.conftest import inside, person
from tests.edge_ai import factories

WHERE = f"{BASE}telemetry/events/"


def happen(workspace: Workspace, user: User, count: int = 1) -> str:
    """Let somebody delete a model several times; returns its id."""
    with (
        inside(workspace, user),
        acted_by(Actor(how=How.API_KEY, user_id=user.pk, name=user.email, api_key="abcdefgh")),
    ):
        model = factories.make_model(user)
        for number in range(count):
            note(AuditAction.MODEL_DELETED, model, before={"place": number})
    return str(model.pk)


def test_it_takes_an_admin_and_a_key_with_that_scope(
    alpha: Workspace, owner: User, colleague: User, viewer: User, outsider: User, script_of: Script
) -> None:
    model = happen(alpha, owner)
    admin = person("admin@example.com", alpha, Role.ADMIN)
    for user in (owner, admin):
        (event,) = script_of(user).get(WHERE).json()["results"]
        assert (event["object_id"], event["actor"], event["api_key"]) == (model, str(owner.pk), "abcdefgh")
        assert event["actor_name"] == owner.email
        problem(script_of(user, scopes=["write"]).get(WHERE), 403, "permission_denied")
    for user in (colleague, viewer):
        problem(script_of(user).get(WHERE), 403, "permission_denied")
    assert script_of(outsider).get(WHERE).json()["results"] == []
    problem(script_of(owner).post(WHERE), 405, "method_not_allowed")
    problem(script_of(owner).delete(WHERE), 405, "method_not_allowed")


def test_filters_narrow_it(alpha: Workspace, owner: User, colleague: User, script_of: Script) -> None:
    mine, theirs = happen(alpha, owner), happen(alpha, colleague)
    script = script_of(owner)
    moment = script.get(WHERE).json()["results"][0]["at"]
    for query, expected in (
        ({"actor": str(owner.pk)}, {mine}),
        ({"object_id": theirs}, {theirs}),
        ({"object_type": "model"}, {mine, theirs}),
        ({"object_type": "dataset"}, set()),
        ({"action": "model.deleted"}, {mine, theirs}),
        ({"action": ["model.created", "model.changed"]}, set()),
        ({"how": "session"}, set()),
        ({"search": "colleague"}, {theirs}),
        ({"at_before": moment}, {mine}),
        ({"at_after": moment}, set()),
        ({"request_id": "nothing-like-it"}, set()),
    ):
        found = script.get(WHERE, query).json()["results"]
        assert {event["object_id"] for event in found} == expected, query
    problem(script.get(WHERE, {"action": "model.exploded"}), 422, "invalid_request")
    problem(script.get(WHERE, {"colour": "red"}), 422, "invalid_request")


def test_pages_cost_the_same_and_miss_nothing(alpha: Workspace, owner: User, script_of: Script) -> None:
    script = script_of(owner)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            script.get(WHERE)
        return len(queries)

    happen(alpha, owner)
    cost()
    one = cost()
    happen(alpha, owner, count=45)
    assert cost() == one <= 6
    link, seen = f"{WHERE}?page_size=20", []
    while link:
        page = script.get(link).json()
        seen += [event["id"] for event in page["results"]]
        link = page["next"]
    assert len(seen) == len(set(seen)) == 46
    problem(script.get(WHERE, {"cursor": "forged"}), 422, "invalid_request")
