"""The people of the tests, their two workspaces, and a studio of real processes.

*owner*, *colleague* and *viewer* share the workspace ``alpha``; *outsider* belongs to ``beta`` alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings

from accounts.features import is_on
from accounts.models import ApiKey, Membership, Role, User, Workspace
from config.database.identity import acting_as_system, acting_as_user
from config.features import Feature
from tests.s3 import bucket as bucket
from tests.s3 import endpoint as endpoint
from tests.studio import RealStudio, reachable_folder, start_studio

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery 7"


def manage(*arguments: str, **environment: str) -> str:
    """Run manage.py in a process of its own, as an operator would."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,  # a machine with much else to do takes its time over the migrations
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def group_of(item: pytest.Item) -> str:
    """Return what an item runs with in one process, where `pytest -n` has several.

    That is its file; whatever shares the real studio of a process; and of that, what drives browsers by itself, so that
    two processes take one of the two longest groups each. Each process has a database of its own, so that no test meets
    another's rows.
    """
    if "studio" not in getattr(item, "fixturenames", ()):
        return item.path.name
    return BROWSERS if item.path.parent.name == "browser" else STUDIO


BROWSERS = "studio with browsers"
STUDIO = "studio"
#: What takes longest begins first of all that needs no database of its own: pytest-django puts that before, and what measures
#: comes last, so that no processor is left waiting for a long group at the end.
LONGEST = (BROWSERS, STUDIO, "test_run.py")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what must run in one process, and begin with what takes longest."""
    groups = {item: group_of(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
        if group in {BROWSERS, STUDIO} and item.get_closest_marker("timeout") is None:
            # Whoever comes first starts the studio; benchmarks wait for a machine that is quiet.
            item.add_marker(pytest.mark.timeout(900))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else len(LONGEST))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run where xdist did not read the groups: every process would start a studio and make every fixture."""
    if session.config.getoption("loadgroup", default=False) and any("@" not in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist found no groups; its release does not fit pytest's.")


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> Iterator[None]:
    """Set the database up as its owner, in processes of their own; the tests connect as the runtime role."""
    manage("bootstrap")
    for slug, email in (("alpha", "alpha-root@example.com"), ("beta", "beta-root@example.com")):
        manage("create_workspace", slug, "--owner", email, "--password-env", "NEW_PASSWORD", NEW_PASSWORD=PASSWORD)
    yield
    with django_db_blocker.unblock():
        connection.close()


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Slow password hashes are for thieves, not for tests."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True)
def _leave_nothing_on_the_connection() -> Iterator[None]:
    yield
    connection.reset_to_public()  # type: ignore[attr-defined]  # the tenant backend's


@pytest.fixture
def alpha(db: None) -> Workspace:
    """The workspace that most tests happen in."""
    found: Workspace = Workspace.objects.get(slug="alpha")
    return found


@pytest.fixture
def beta(db: None) -> Workspace:
    """Somebody else's workspace."""
    found: Workspace = Workspace.objects.get(slug="beta")
    return found


def person(email: str, workspace: Workspace, role: Role) -> User:
    """Make a member of a workspace."""
    with acting_as_system():
        user = User.objects.create_user(email, PASSWORD, name=email.partition("@")[0].capitalize())
        Membership.objects.create(user=user, workspace=workspace, role=role)
    return user


@pytest.fixture
def owner(alpha: Workspace) -> User:
    """Owns most of what the tests make."""
    return person("owner@example.com", alpha, Role.OWNER)


@pytest.fixture
def colleague(alpha: Workspace) -> User:
    """A member of the owner's workspace."""
    return person("colleague@example.com", alpha, Role.MEMBER)


@pytest.fixture
def viewer(alpha: Workspace) -> User:
    """May look, in the owner's workspace."""
    return person("viewer@example.com", alpha, Role.VIEWER)


@pytest.fixture
def outsider(beta: Workspace) -> User:
    """A member of another workspace."""
    return person("outsider@example.com", beta, Role.OWNER)


@contextlib.contextmanager
def inside(workspace: Workspace, user: User | None) -> Iterator[None]:
    """Enter a workspace in a user's name (``None``: nobody), as a request does."""
    connection.set_tenant(workspace)  # type: ignore[attr-defined]  # the tenant backend's
    try:
        with acting_as_user(user.pk if user else None):
            yield
    finally:
        connection.set_schema_to_public()  # type: ignore[attr-defined]


@contextlib.contextmanager
def inside_as_system(workspace: Workspace) -> Iterator[None]:
    """Enter a workspace with the studio's own rights, as a worker does."""
    connection.set_tenant(workspace)  # type: ignore[attr-defined]  # the tenant backend's
    try:
        with acting_as_system():
            yield
    finally:
        connection.set_schema_to_public()  # type: ignore[attr-defined]


@pytest.fixture
def browser_of() -> Callable[[User], Client]:
    """A signed-in browser for a person, with CSRF checks switched off as Django's test client has them."""

    def make(user: User) -> Client:
        is_on(Feature.UPLOADS)  # flags are remembered by then, so that no test counts their queries
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def script_of() -> Callable[..., Client]:
    """A script with a person's API key: ``script_of(user)`` or ``script_of(user, scopes=["read"])``."""

    def make(user: User, *, scopes: list[str] | None = None) -> Client:
        is_on(Feature.UPLOADS)  # as above
        with acting_as_system():
            workspace = Membership.objects.select_related("workspace").get(user=user).workspace
            _, secret = ApiKey.issue(user=user, workspace=workspace, name="tests", scopes=scopes or ["admin"])
        return Client(headers={"Authorization": f"Bearer {secret}"})

    return make


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the real studio said."""

    status: int
    body: Any


def ask(studio: RealStudio, verb: str, path: str, body: Any = None) -> Answer:
    """Send JSON to a real studio."""
    request = urllib.request.Request(studio.base + path, method=verb)
    request.add_header("Authorization", f"Bearer {studio.api_key}")
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, data, timeout=60) as answer:
            raw = answer.read()
            return Answer(status=answer.status, body=json.loads(raw) if raw else None)
    except urllib.error.HTTPError as error:
        raw = error.read()
        return Answer(status=error.code, body=json.loads(raw) if raw else None)


@pytest.fixture(scope="session")
def studio() -> Iterator[RealStudio]:
    """A studio of real processes with its own database, as `make run` starts it, without the sample."""
    with reachable_folder() as folder, start_studio(folder) as running:
        yield running


assert settings.EMBEDDED_DATABASE, "the tests bring their own database"
