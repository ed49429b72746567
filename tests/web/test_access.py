"""Who sees which page. The addresses come from the URL table, so that a new one cannot be forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, reverse

from accounts.models import User, Workspace
from edge_ai.models import Artifact, Dataset, Model
from tests.conftest import inside
from tests.web.support import (
    FOR_ANYBODY,
    LEADS_ELSEWHERE,
    PLAIN_TEXT,
    POST_ONLY,
    PUBLIC,
    Rows,
    address,
    make_rows,
    parameters,
    routes,
    status_of_job,
    written,
)

Browser = Callable[[User], Client]


def named(route: URLPattern) -> str:
    return str(route.name)


EVERY = pytest.mark.parametrize("route", routes(), ids=named)
OF_A_ROW = pytest.mark.parametrize("route", [r for r in routes() if parameters(r)], ids=named)
#: Members know each other: what a colleague may not do with them, tests/test_permissions.py tells.
PRIVATE = pytest.mark.parametrize(
    "route",
    [r for r in routes() if parameters(r) and not {"member_id", "invitation_id"} & set(parameters(r))],
    ids=named,
)
READABLE = pytest.mark.parametrize("route", [r for r in routes() if r.name not in POST_ONLY], ids=named)


@pytest.fixture
def rows(alpha: Workspace, owner: User) -> Rows:
    """The owner's private rows."""
    return make_rows(alpha, owner)


@EVERY
def test_strangers_are_asked_to_sign_in(route: URLPattern, rows: Rows) -> None:
    for verb in ("get", "post"):
        response = getattr(Client(), verb)(address(route, rows))
        if route.name in PUBLIC:
            assert response.status_code == (200 if verb == "get" else 405)
        else:
            assert response.status_code == 302
            assert response["Location"].startswith(reverse("accounts:login") + "?next=/")


@OF_A_ROW
@pytest.mark.parametrize("verb", ["get", "post"])
def test_what_belongs_to_another_workspace_does_not_exist(
    route: URLPattern, verb: str, rows: Rows, outsider: User, browser_of: Browser
) -> None:
    response = getattr(browser_of(outsider), verb)(address(route, rows))
    # 405: the address takes the other verb only, and says so before it looks for the row.
    assert response.status_code in {404, 405}
    assert rows.model.name not in response.content.decode()


@PRIVATE
def test_what_a_colleague_keeps_private_does_not_exist(
    route: URLPattern, rows: Rows, colleague: User, browser_of: Browser
) -> None:
    verb = "post" if route.name in POST_ONLY else "get"
    assert getattr(browser_of(colleague), verb)(address(route, rows)).status_code == 404


@READABLE
def test_the_owner_sees_every_page(route: URLPattern, rows: Rows, owner: User, browser_of: Browser) -> None:
    response = browser_of(owner).get(address(route, rows))
    if route.name == "landing" or route.name in LEADS_ELSEWHERE:
        assert response.status_code == 302
        return
    assert response.status_code == 200
    if route.name in PLAIN_TEXT:
        assert response["Content-Type"] == f"{PLAIN_TEXT[str(route.name)]}; charset=utf-8"
        return
    text = response.content.decode()
    assert text.count("<h1") == 1
    assert "<title>" in text
    assert '<meta name="description" content="' in text
    assert "style=" not in text
    assert "default-src 'none'" in response["Content-Security-Policy"]


@READABLE
def test_reading_never_writes(route: URLPattern, rows: Rows, owner: User, browser_of: Browser) -> None:
    browser = browser_of(owner)
    with CaptureQueriesContext(connection) as asked:
        browser.get(address(route, rows))
    changes = written(asked)
    if str(route.name).endswith(("-download", "-samples")):
        # Downloads are counted, as a log would; and an export is in the audit trail.
        counted = ("download_count", "edge_ai_usageevent", "edge_ai_auditevent")
        assert 1 <= len(changes) <= 2
        assert all(any(name in statement for name in counted) for statement in changes)
        assert route.name == "workspace-export-download" or "edge_ai_auditevent" not in "".join(changes)
    else:
        assert changes == []


@pytest.mark.parametrize("route", [r for r in routes() if r.name not in PUBLIC | FOR_ANYBODY], ids=named)
def test_a_viewer_changes_nothing(
    route: URLPattern, alpha: Workspace, owner: User, viewer: User, browser_of: Browser
) -> None:
    shared = make_rows(alpha, owner, visibility="workspace")
    response = browser_of(viewer).post(address(route, shared))
    assert response.status_code in {403, 405}


def test_a_viewer_is_offered_nothing_to_change(
    alpha: Workspace, owner: User, viewer: User, browser_of: Browser
) -> None:
    shared = make_rows(alpha, owner, visibility="workspace")
    browser = browser_of(viewer)
    for name in ("model-list", "dataset-list", "artifact-list", "overview"):
        text = browser.get(reverse(f"edge_ai:{name}")).content.decode()
        assert "data-upload" not in text
        assert "delete/" not in text
    text = browser.get(reverse("edge_ai:model-detail", args=[shared.model.pk])).content.decode()
    assert reverse("edge_ai:optimization-create", args=[shared.model.pk]) not in text


def test_a_colleague_sees_what_is_shared_and_cannot_change_it(
    alpha: Workspace, owner: User, colleague: User, browser_of: Browser
) -> None:
    shared = make_rows(alpha, owner, visibility="workspace")
    browser = browser_of(colleague)
    assert browser.get(reverse("edge_ai:model-detail", args=[shared.model.pk])).status_code == 200
    assert browser.get(reverse("edge_ai:model-update", args=[shared.model.pk])).status_code == 404
    assert browser.post(reverse("edge_ai:model-delete", args=[shared.model.pk])).status_code == 404
    for name, key in (("dataset-delete", shared.dataset.pk), ("artifact-delete", shared.artifact.pk)):
        response = browser.post(reverse(f"edge_ai:{name}", args=[key]), follow=True)
        assert "belongs to a colleague" in response.content.decode()
    response = browser.post(reverse("edge_ai:job-retry", args=[shared.optimization.pk]), follow=True)
    assert "belongs to a colleague" in response.content.decode()
    with inside(alpha, owner):
        assert Model.objects.filter(pk=shared.model.pk).exists()
        assert Dataset.objects.filter(pk=shared.dataset.pk).exists()
        assert Artifact.objects.filter(pk=shared.artifact.pk).exists()
        assert status_of_job(shared.optimization.pk) == "completed"
