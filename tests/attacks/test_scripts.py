"""Markup in every text that the studio keeps or is asked with: it is shown as text on every page, whoever wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import DatabaseError, models, transaction
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.models import ApiKey, Invitation, User, Workspace
from config.addresses import addresses
from config.database.identity import acting_as_system
from edge_ai.models import AuditAction, JobEvent, Model, ShareLink
from edge_ai.services.audit import note
from tests.conftest import PASSWORD, inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results
from tests.web.support import POST_ONLY, Rows, address, make_rows, routes

Browser = Callable[[User], Client]
#: Leaves an attribute of either kind of quote, a script and a text; whoever meets it as markup makes an element of it.
MARKUP = "\"'></script><x-evil>"
#: What runs where a link leads by it.
LINK = "javascript:x_evil()"
TOKEN = "t" * 43
#: Words of closed sets that a page looks things up by. A file cannot choose them: the engine writes them.
CHOSEN_BY_THE_STUDIO = frozenset({"dtype", "status", "kind", "unit", "severity", "verdict"})
#: Columns that hold no text of anybody's: hashes, names of tables, what a worker is found by.
NO_TEXT = frozenset(
    {"sha256", "token_sha256", "secret_sha256", "content_key", "schema_name", "slug", "prefix", "secret"}
)


#: What the payload must have got into, so that nothing is proven of tables that refused it.
ALL_OF = {
    *("Model.name", "Model.description", "Model.tags", "Model.file_name", "Model.analysis"),
    *("Dataset.name", "Dataset.file_name", "Dataset.header", "Job.name", "Job.error", "Job.result", "JobEvent.message"),
    *("WebhookAttempt.response_body", "WebhookEndpoint.url", "ShareLink.title", "Artifact.file_name"),
    *("DeviceProfile.name", "OptimizationBatch.name"),
}


class Seen(HTMLParser):
    """What a browser would make of a page: the elements that nobody meant, and the links that run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if "evil" in tag or any("evil" in name for name, _ in attrs):
            self.found.append(f"<{tag}> at {self.getpos()}")
        for name, value in attrs:
            if name in {"href", "src", "action", "formaction", "hx-get", "hx-post", "data-href"}:
                if (value or "").strip().lower().startswith("javascript:"):
                    self.found.append(f"{tag} {name}={value}")
            elif name.startswith("on") and name not in {"on"}:
                self.found.append(f"{tag} {name}")


def evil_in(page: bytes) -> list[str]:
    seen = Seen()
    seen.feed(page.decode())
    return seen.found


def spoiled(value: Any, payload: str) -> Any:
    """A result of the engine in which a file has chosen every word."""
    if isinstance(value, dict):
        return {key: each if key in CHOSEN_BY_THE_STUDIO else spoiled(each, payload) for key, each in value.items()}
    if isinstance(value, list):
        return [spoiled(each, payload) for each in value]
    return value + payload if isinstance(value, str) else value


def texts(table: type[models.Model]) -> Iterator[models.Field[Any, Any]]:
    for each in table._meta.local_concrete_fields:
        if each.name in NO_TEXT or each.choices or each.primary_key:
            continue
        if isinstance(each, models.CharField | models.TextField | models.JSONField | ArrayField):
            if isinstance(each, ArrayField) and not isinstance(each.base_field, models.CharField):
                continue
            yield each


def spoil(table: type[models.Model], payload: str) -> set[str]:
    """Put the payload into every text of a table; returns the columns that have it. What the database refuses, it refuses."""
    done = set()
    for each in texts(table):
        room = getattr(each, "max_length", None) or 10_000
        if room < len(payload):
            continue
        for row in table._default_manager.all():
            was = getattr(row, each.attname)
            now: Any = payload
            if isinstance(each, models.JSONField):
                now = spoiled(was, payload)
            elif isinstance(each, ArrayField):
                now = [payload]
            try:
                with transaction.atomic():
                    table._default_manager.filter(pk=row.pk).update(**{each.attname: now})
                done.add(f"{table.__name__}.{each.name}")
            except DatabaseError:
                continue
    return done


def poison(alpha: Workspace, owner: User, payload: str) -> tuple[Rows, set[str]]:
    """Make one of everything, a failed one besides, and let somebody have written the payload wherever text is kept."""
    rows = make_rows(alpha, owner)
    with inside(alpha, owner):
        failed = factories.make_optimization(owner, rows.model, **results.FAILED)
        JobEvent.objects.create(job_id=failed.pk, kind="log", level="error", message="It failed.")
        factories.make_model(owner, status="failed", error=results.FAILED["error"], analysis=None)
    with acting_as_system():
        ApiKey.issue(user=owner, workspace=alpha, name="tests", scopes=["read"])
    done: set[str] = set()
    with inside_as_system(alpha):
        for table in apps.get_app_config("edge_ai").get_models():
            done |= spoil(table, payload)
        # The trail refuses to be changed, so it is told.
        note(
            AuditAction.MODEL_CHANGED,
            Model.objects.get(pk=rows.model.pk),
            before={"name": "x"},
            after={"name": payload},
        )
        ShareLink.objects.filter(pk=rows.share_link.pk).update(token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
    with acting_as_system():
        for people in (User.objects.filter(pk=owner.pk), Workspace.objects.filter(pk=alpha.pk)):
            people.update(name=payload)
        ApiKey.objects.update(name=payload)
        Invitation.objects.update(email=f"{payload}@example.com")
    return rows, done


@pytest.mark.parametrize("payload", [MARKUP, LINK], ids=["markup", "link"])
def test_what_anybody_wrote_is_text_on_every_page(
    alpha: Workspace, owner: User, browser_of: Browser, payload: str
) -> None:
    browser = browser_of(owner)
    browser.get("/overview/", headers={"User-Agent": payload})
    rows, done = poison(alpha, owner, payload)
    assert not ALL_OF - done, sorted(done)
    with acting_as_system():
        UserSession.objects.update(user_agent=payload)
        staff = User.objects.create_superuser("staff@example.com", PASSWORD)
    pages = [address(route, rows) for route in routes() if route.name not in POST_ONLY]
    pages += ["/settings/account/", "/settings/account/sessions/", "/workspaces/", f"/shared/{TOKEN}/"]
    pages += [reverse("accounts:api-key-list"), reverse("accounts:session-list")]
    told = 0
    for place in dict.fromkeys(pages):
        answer = browser.get(place)
        assert answer.status_code in {200, 302, 404}, place
        if answer["Content-Type"].startswith("text/html"):
            assert not evil_in(answer.content), place
            told += b"x-evil" in answer.content or b"x_evil" in answer.content
    assert told > 25, "the pages do show it"
    admin = browser_of(staff)
    for each in addresses():
        if each.name.startswith("admin:"):
            try:
                place = reverse(each.name)
            except NoReverseMatch:
                continue
            answer = admin.get(place)
            if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
                assert not evil_in(answer.content), place


def test_what_a_request_says_comes_back_as_text(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser, rows = browser_of(owner), make_rows(alpha, owner)
    words = (
        *("q", "search", "page", "sort", "order", "status", "kind", "tag", "format", "precision", "owner", "view"),
        *("next", "actor", "action", "object", "from", "to", "cursor", "device", "model", "baseline", "tab", "columns"),
        *("run", "runs", "models", "per_page", "created", "since", "error", "older", "newer", "task", "dataset"),
    )
    query = dict.fromkeys(words, MARKUP)
    for route in routes():
        if route.name in POST_ONLY:
            continue
        answer = browser.get(address(route, rows), query)
        assert answer.status_code < 500, route.name
        if answer["Content-Type"].startswith("text/html") and not answer.streaming:
            assert not evil_in(answer.content), route.name
    strange = [f"/{MARKUP}/", f"/docs/search/?q={MARKUP}", f"/accounts/sign-in/?next={MARKUP}", f"/shared/{MARKUP}/"]
    for place in strange:
        for client in (browser, Client()):
            answer = client.get(place)
            assert answer.status_code < 500
            if answer["Content-Type"].startswith("text/html"):
                assert not evil_in(answer.content), place


def test_forms_show_what_was_typed_as_text(alpha: Workspace, owner: User, browser_of: Browser) -> None:
    browser, rows = browser_of(owner), make_rows(alpha, owner)
    for route in routes():
        if route.name in {"workspace-delete", "member-remove", "ownership-transfer"}:
            continue
        place = address(route, rows)
        page = browser.get(place)
        if page.status_code != 200 or page.streaming or b"<form" not in page.content:
            continue
        names = [each.name for form in _forms(page) for each in form]
        if not names:
            continue
        answer = browser.post(place, dict.fromkeys(names, MARKUP))
        assert answer.status_code < 500, route.name
        if answer["Content-Type"].startswith("text/html"):
            assert not evil_in(answer.content), route.name


def _forms(page: Any) -> list[Any]:
    contexts = page.context or []
    found = chain.from_iterable(context.values() for each in contexts for context in each.dicts)
    return [each for each in found if hasattr(each, "is_bound") and hasattr(each, "fields")]


def test_our_scripts_make_no_markup_of_text() -> None:
    for script in (Path(settings.BASE_DIR) / "static" / "js").rglob("*.js"):
        for word in ("innerHTML", "outerHTML =", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in script.read_text(), f"{script.name}: {word}"


@pytest.mark.parametrize("page", [f"<p>{MARKUP}</p>", f'<a title="{MARKUP}">', f'<a href="{LINK}">', "<p onclick=a>"])
def test_this_test_would_notice(page: str) -> None:
    assert evil_in(page.encode())
