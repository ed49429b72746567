"""Comparisons shown to people outside: what they see, what they never see, and when a link ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import AuditEvent, BenchmarkRun, ComparisonJob, Model, ShareLink
from edge_ai.services.share_links import forget_ended
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import written
from tests.web.test_run_comparison import measured

Browser = Callable[[User], Client]
LIST = "/settings/shared-links/"
GONE = "This link leads nowhere"


@pytest.fixture
def runs(alpha: Workspace, owner: User) -> list[BenchmarkRun]:
    """The owner's private runs of two models, and a third that is not shared."""
    with inside(alpha, owner):
        return [
            measured(owner, factories.make_model(owner, name=name), ratio=ratio, seconds=second, name=f"run of {name}")
            for second, (name, ratio) in enumerate((("plain net", 1.0), ("small net", 0.5), ("secret net", 0.7)))
        ]


@pytest.fixture
def comparison(alpha: Workspace, owner: User) -> ComparisonJob:
    """A comparison of three of the owner's models."""
    with inside(alpha, owner):
        models = [factories.make_model(owner, name=name) for name in ("first net", "other net", "third net")]
        result = results.compared(*models, ratios=(0.5, 0.8))
        return factories.make_comparison(owner, *models, name="hidden title", **(results.ENDED | {"result": result}))


def share(browser: Client, **subject: Any) -> str:
    """Make a link as the form does, and return its path."""
    answer = browser.post(LIST, {"lifetime": "1h"} | subject)
    assert answer.status_code == 200, answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    found = re.search(r'id="made-link">https?://[^/]+(/shared/[^<]+/)<', answer.content.decode())
    assert found is not None
    return found[1]


def runs_of(*chosen: BenchmarkRun) -> dict[str, Any]:
    return {"run": [str(run.pk) for run in chosen], "against": str(chosen[0].pk)}


def is_gone(path: str) -> bool:
    """Tell whether a stranger is told that there is nothing: always in the same words."""
    answer = Client().get(path)
    return answer.status_code == 404 and GONE in answer.content.decode()


def links(workspace: Workspace) -> list[ShareLink]:
    with inside_as_system(workspace):
        return list(ShareLink.objects.order_by("created_at"))


def test_a_stranger_sees_the_runs_and_nothing_else(
    alpha: Workspace, owner: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    path = share(browser_of(owner), **runs_of(*runs[:2]))
    answer = Client().get(path)
    text = answer.content.decode()
    assert answer.status_code == 200
    for shown in ("plain net", "small net", "−50.0 %", "Yes, faster", "comparison-data", "98.80 %"):
        assert shown in text
    hidden = [
        *("secret net", "run of plain net", "This machine", "Example CPU", "Alpha", "alpha", owner.email, "owner"),
        *(str(key) for run in runs for key in (run.pk, run.model_id, run.device_profile_id)),
        *("/models/", "/benchmarks/", "/files/", "/samples", "download/", "sign-in", 'name="csrf'),
    ]
    assert [word for word in hidden if word in text] == []
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    assert "no-store" in answer["Cache-Control"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert not answer.cookies


def test_a_stranger_sees_a_comparison_by_turns(owner: User, comparison: ComparisonJob, browser_of: Browser) -> None:
    browser = browser_of(owner)
    page = browser.get(reverse("edge_ai:comparison-detail", args=[comparison.pk])).content.decode()
    assert f'name="comparison" value="{comparison.pk}"' in page
    text = Client().get(share(browser, comparison=str(comparison.pk))).content.decode()
    for shown in ("first net", "other net", "third net", "2 of 2 are faster", "2.00×", "Every pair"):
        assert shown in text
    ids = [str(comparison.pk), *(run["model"] for run in (comparison.result or {})["runs"])]
    hidden = [*ids, "hidden title", "Example CPU", "This machine", "/models/", "/comparisons/", "samples/", "table.csv"]
    assert [word for word in hidden if word in text] == []


def test_nothing_of_the_token_is_kept(
    alpha: Workspace, owner: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    browser = browser_of(owner)
    path = share(browser, **runs_of(*runs[:2]))
    token = path.split("/")[2]
    (link,) = links(alpha)
    assert len(link.token_sha256) == 64
    assert all(link.token_sha256 not in text for text in (token, browser.get(LIST).content.decode()))
    assert token not in browser.get(LIST).content.decode()
    assert not any(alpha_name in token for alpha_name in ("alpha", str(alpha.pk)))
    assert link.expires_at - timezone.now() <= timedelta(hours=1)


def test_an_altered_link_leads_nowhere(owner: User, runs: list[BenchmarkRun], browser_of: Browser) -> None:
    path = share(browser_of(owner), **runs_of(*runs[:2]))
    token = path.split("/")[2]
    packed, _, signature = token.partition(".")
    other = share(browser_of(owner), **runs_of(*runs[1:])).split("/")[2]
    flipped = ("B" if packed[-3] == "A" else "A").join((packed[:-3], packed[-2:]))
    for altered in (
        f"{flipped}.{signature}",
        f"{packed}.{'A' * len(signature)}",
        f"{packed}.{other.partition('.')[2]}",
        *(packed, token[:-1], token + "A", "x", "%00", "é", "." * 9),
    ):
        assert is_gone(f"/shared/{altered}/"), altered
    assert not is_gone(path)


def test_an_expired_link_leads_nowhere(
    alpha: Workspace, owner: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    path = share(browser_of(owner), **runs_of(*runs[:2]))
    with inside_as_system(alpha):
        ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert is_gone(path)
    assert "Expired" in browser_of(owner).get(LIST).content.decode()
    with inside_as_system(alpha):
        assert forget_ended() == 0
        ShareLink.objects.update(expires_at=timezone.now() - timedelta(days=31))
        assert forget_ended() == 1
    assert is_gone(path)


def test_a_revoked_link_leads_nowhere_for_good(
    alpha: Workspace, owner: User, colleague: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    browser = browser_of(owner)
    path = share(browser, **runs_of(*runs[:2]))
    (link,) = links(alpha)
    revoke = reverse("edge_ai:share-revoke", args=[link.pk])
    assert browser_of(colleague).post(revoke).status_code == 404
    assert not is_gone(path)
    assert browser.post(revoke).status_code == 303
    assert is_gone(path)
    at = links(alpha)[0].revoked_at
    assert browser.post(revoke).status_code == 303
    assert links(alpha)[0].revoked_at == at
    assert is_gone(path)
    assert "Revoked" in browser.get(LIST).content.decode()
    with inside_as_system(alpha):
        trail = list(AuditEvent.objects.filter(object_id=link.pk).order_by("at"))
    assert [(event.action, event.actor) for event in trail] == [
        ("share_link.created", owner.email),
        ("share_link.revoked", owner.email),
    ]
    assert link.token_sha256 not in str([event.after for event in trail])
    # The same runs are shared anew by another link; the revoked one stays closed.
    assert not is_gone(share(browser, **runs_of(*runs[:2])))
    assert is_gone(path)


@pytest.mark.parametrize("how", ["left", "viewer", "inactive", "returned"])
def test_a_link_ends_with_its_makers_right_to_share(
    how: str, alpha: Workspace, owner: User, colleague: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    with inside_as_system(alpha):
        BenchmarkRun.objects.update(visibility="workspace")
        Model.objects.update(visibility="workspace")
    path = share(browser_of(colleague), **runs_of(*runs[:2]))
    assert not is_gone(path)
    with acting_as_system():
        membership = Membership.objects.get(user=colleague, workspace=alpha)
        if how == "viewer":
            Membership.objects.filter(pk=membership.pk).update(role=Role.VIEWER)
        elif how == "inactive":
            User.objects.filter(pk=colleague.pk).update(is_active=False)
        else:
            membership.delete()
        if how == "returned":
            Membership.objects.create(
                user=colleague, workspace=alpha, role=Role.MEMBER, created_at=timezone.now() + timedelta(seconds=1)
            )
    assert is_gone(path)


def test_a_link_ends_with_what_it_shows(
    alpha: Workspace,
    owner: User,
    colleague: User,
    runs: list[BenchmarkRun],
    comparison: ComparisonJob,
    browser_of: Browser,
) -> None:
    browser = browser_of(owner)
    path, by_turns = share(browser, **runs_of(*runs[:2])), share(browser, comparison=str(comparison.pk))
    with inside_as_system(alpha):
        BenchmarkRun.objects.update(visibility="workspace")
        Model.objects.update(visibility="workspace")
    colleagues = share(browser_of(colleague), **runs_of(*runs[:2]))
    assert not any(map(is_gone, (path, by_turns, colleagues)))
    # What its owner hides from colleagues, a colleague's link no longer shows.
    with inside_as_system(alpha):
        BenchmarkRun.objects.update(visibility="private")
    assert is_gone(colleagues)
    assert not is_gone(path)
    with inside(alpha, owner):
        BenchmarkRun.objects.get(pk=runs[1].pk).delete()
        ComparisonJob.objects.get(pk=comparison.pk).delete()
    assert is_gone(path)
    assert is_gone(by_turns)
    assert browser.get(LIST).status_code == 200


def test_only_who_may_write_and_sees_it_may_share(
    alpha: Workspace,
    owner: User,
    colleague: User,
    viewer: User,
    outsider: User,
    runs: list[BenchmarkRun],
    comparison: ComparisonJob,
    browser_of: Browser,
) -> None:
    asked = {"lifetime": "1d"} | runs_of(*runs[:2])
    by_turns = {"lifetime": "1d", "comparison": str(comparison.pk)}
    for person, status in ((viewer, 403), (colleague, 404), (outsider, 404)):
        for body in (asked, by_turns):
            assert browser_of(person).post(LIST, body).status_code == status
    browser = browser_of(owner)
    for body, status in (
        (asked | {"lifetime": "1000d"}, 422),
        ({"lifetime": "1d"}, 422),
        (asked | {"run": [str(runs[0].pk)]}, 422),
        ({"lifetime": "1d", "comparison": str(uuid4())}, 404),
        ({"lifetime": "1d", "comparison": "x"}, 404),
    ):
        assert browser.post(LIST, body).status_code == status
    with inside(alpha, owner):
        waiting = factories.make_comparison(owner)
    assert browser.post(LIST, by_turns | {"comparison": str(waiting.pk)}).status_code == 409
    assert links(alpha) == []
    with inside_as_system(alpha):
        BenchmarkRun.objects.update(visibility="workspace")
        Model.objects.update(visibility="workspace")
    # A viewer sees the page, and is not offered to share it.
    text = browser_of(viewer).get("/compare/", runs_of(*runs[:2])).content.decode()
    assert "plain net" in text and LIST not in text.partition("<main")[2]


def test_views_are_counted_and_nothing_else_is_written(
    alpha: Workspace, owner: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    path = share(browser_of(owner), **runs_of(*runs[:2]))
    assert Client().head(path).status_code == 200
    assert links(alpha)[0].view_count == 0
    with CaptureQueriesContext(connection) as asked:
        assert not is_gone(path)
    changes = written(asked)
    assert len(changes) == 2 and "view_count" in changes[0] and "edge_ai_usageevent" in changes[1]
    (link,) = links(alpha)
    assert link.view_count == 1
    assert link.last_viewed_at is not None
    assert Client().post(path).status_code == 405
    # A visitor who is signed in elsewhere sees the same, and stays where they were.
    assert browser_of(owner).get(path).status_code == 200
    assert connection.schema_name == "public"  # type: ignore[attr-defined]  # the tenant backend's


def test_more_of_everything_takes_no_more_queries(
    alpha: Workspace, owner: User, runs: list[BenchmarkRun], browser_of: Browser
) -> None:
    browser = browser_of(owner)
    with inside(alpha, owner):
        more = [measured(owner, seconds=at) for at in range(6)]

    def queries(by: Client, path: str, **data: Any) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert by.get(path, data).status_code == 200
        return len(asked)

    two, eight = share(browser, **runs_of(*runs[:2])), share(browser, **runs_of(*runs[:2], *more))
    listed, compared = queries(browser, LIST), queries(browser, "/compare/", **runs_of(*runs[:2]))
    assert queries(Client(), two) == queries(Client(), eight) < 15
    for _ in range(8):
        share(browser, **runs_of(*runs[:2]))
    assert queries(browser, LIST) == listed < 15
    assert queries(browser, "/compare/", **runs_of(*runs[:2])) == compared < 15
