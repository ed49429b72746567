"""The audit trail as a page and as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.actor import Actor, How, acted_by
from accounts.models import Role, User, Workspace
from edge_ai.models import AuditAction
from edge_ai.services.audit import note
from edge_ai.services.trail import trail_csv
from tests.conftest import inside, person
from tests.edge_ai import factories

Browser = Callable[[User], Client]
LIST, EXPORT = "edge_ai:audit-list", "edge_ai:audit-export"


def happen(workspace: Workspace, user: User, count: int = 1, **names: Any) -> None:
    """Let somebody delete models."""
    with inside(workspace, user), acted_by(Actor(how=How.SESSION, user_id=user.pk, name=user.email)):
        model = factories.make_model(user, **names)
        for number in range(count):
            model.name = f"{names.get('name', 'net')}-{number:03}"
            note(AuditAction.MODEL_DELETED, model, before={"format": "onnx"}, after={"format": "tflite"})


def read(response: Any) -> list[list[str]]:
    """The cells of a streamed table."""
    text = b"".join(response.streaming_content).decode()
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


def test_an_admin_reads_who_did_what(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    happen(alpha, owner)
    admin = person("admin@example.com", alpha, Role.ADMIN)
    text = browser_of(admin).get(reverse(LIST)).content.decode()
    for part in ("model.deleted", "net-000", "owner@example.com", "A model was deleted", ">onnx<", ">tflite<"):
        assert part in text
    assert "user.signed_in" in text and "admin@example.com" in text


@pytest.mark.parametrize("address", [LIST, EXPORT])
@pytest.mark.parametrize("who", ["colleague", "viewer"])
def test_others_are_refused(
    address: str, who: str, request: pytest.FixtureRequest, alpha: Workspace, owner: User, browser_of: Browser
) -> None:
    happen(alpha, owner)
    browser = browser_of(request.getfixturevalue(who))
    answer = browser.get(reverse(address))
    assert answer.status_code == 403
    assert "net-000" not in answer.content.decode()
    assert reverse(LIST) not in browser.get(reverse("accounts:api-key-list")).content.decode()


def test_another_workspaces_trail_is_not_shown(
    alpha: Workspace, owner: User, outsider: User, browser_of: Browser
) -> None:
    happen(alpha, owner)
    assert "net-000" not in browser_of(outsider).get(reverse(LIST)).content.decode()
    rows = read(browser_of(outsider).get(reverse(EXPORT)))
    assert {row[1] for row in rows[1:]} == {"outsider@example.com"}


def test_filters_narrow_the_page_and_the_table(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    happen(alpha, owner, name="first")
    happen(alpha, colleague, name="second")
    browser = browser_of(owner)
    tomorrow = f"{timezone.now() + timedelta(days=1):%Y-%m-%d}"
    today = f"{timezone.now():%Y-%m-%d}"
    for query, first, second in (
        ({"actor": "colleague@"}, False, True),
        ({"actor": str(owner.pk)}, True, False),
        ({"object": "FIRST"}, True, False),
        ({"action": "model.deleted"}, True, True),
        ({"action": "dataset.deleted"}, False, False),
        ({"from": today, "to": today}, True, True),
        ({"from": tomorrow}, False, False),
        ({"to": "2020-01-01"}, False, False),
    ):
        text = browser.get(reverse(LIST), query).content.decode()
        table = str(read(browser.get(reverse(EXPORT), query)))
        assert ("first-000" in text, "second-000" in text) == (first, second), query
        assert ("first-000" in table, "second-000" in table) == (first, second), query
    assert "Nothing matches" in browser.get(reverse(LIST), {"object": "no such thing"}).content.decode()


def test_pages_follow_one_another_both_ways(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    happen(alpha, owner, count=120)
    browser = browser_of(owner)
    seen: list[str] = []
    query = {"action": "model.deleted"}
    for length in (50, 50, 20):
        page = browser.get(reverse(LIST), query).context
        names = [row["event"].object_name for row in page["rows"]]
        assert len(names) == length
        seen += names
        last = page["trail"]
        query["older"] = last.older
    assert seen == [f"net-{number:03}" for number in reversed(range(120))]
    assert last.older == ""
    back = browser.get(reverse(LIST), {"action": "model.deleted", "newer": last.newer}).context
    assert [row["event"].object_name for row in back["rows"]] == seen[50:100]


@pytest.mark.parametrize(
    "place", ["x", "2020-01-01~", "~", "2020-01-01T00:00:00~nonsense", "99999~", "2020-13-45T00:00:00+00:00~x"]
)
def test_a_strange_place_is_no_error(place: str, alpha: Workspace, owner: User, browser_of: Browser) -> None:
    happen(alpha, owner)
    for name in ("older", "newer"):
        assert "net-000" in browser_of(owner).get(reverse(LIST), {name: place, "from": "2020-99-99"}).content.decode()


def test_the_page_costs_the_same_however_long_the_trail_is(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)

    def cost() -> int:
        with CaptureQueriesContext(connection) as asked:
            browser.get(reverse(LIST))
        return len(asked)

    happen(alpha, owner)
    one = cost()
    happen(alpha, owner, count=60)
    assert cost() == one < 15


def test_the_table_is_whole_and_streamed(
    alpha: Workspace, owner: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ai.web.views.audit.BATCH", 7)
    happen(alpha, owner, count=30, name="=cmd()")
    response = browser_of(owner).get(reverse(EXPORT), {"action": "model.deleted"})
    assert response.streaming
    assert 'filename="audit-alpha-' in response["Content-Disposition"]
    head, *rows = read(response)
    assert head[0] == "at" and len(rows) == 30
    name = head.index("object_name")
    assert [row[name] for row in rows] == [f"'=cmd()-{number:03}" for number in reversed(range(30))]
    assert rows[0][head.index("before")] == '{"format": "onnx"}'


def test_an_empty_table_has_its_heading() -> None:
    none: Iterable[Any] = ()
    assert "".join(trail_csv(iter(none))).startswith("\ufeffat,actor,how")
