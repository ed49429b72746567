"""Settings: read strictly, refused with a sentence, documented, and safe by default."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env
from config.errors import STATUS_BY_CODE, problem_body
from config.generated_secrets import load_or_create
from edge_ai.engine.errors import CODES, UserInputError
from edge_ai.management.commands.document import PAGES
from tests.conftest import ROOT


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    base = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "SECRET_KEY"}}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=base | {"DJANGO_SETTINGS_MODULE": "config.settings"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_unset_variables_have_their_defaults() -> None:
    assert env.integer("TEST_UNSET", 7, "x") == 7
    assert env.flag("TEST_UNSET", True, "x") is True
    assert env.words("TEST_UNSET", ("a", "b"), "x") == ["a", "b"]
    assert env.cpu_list("TEST_UNSET", "x") is None
    assert env.database_url("TEST_UNSET", "x") is None
    env.DECLARED.pop("TEST_UNSET")


@pytest.mark.parametrize(
    ("reader", "raw"),
    [
        (lambda: env.integer("TEST_BAD", 7, "x"), "seven"),
        (lambda: env.integer("TEST_BAD", 7, "x", low=1, high=9), "10"),
        (lambda: env.flag("TEST_BAD", True, "x"), "perhaps"),
        (lambda: env.choice("TEST_BAD", "a", ("a", "b"), "x"), "c"),
        (lambda: env.cpu_list("TEST_BAD", "x"), "0,two"),
        (lambda: env.cpu_list("TEST_BAD", "x"), "3-1"),
        (lambda: env.database_url("TEST_BAD", "x"), "mysql://u@h/d"),
        (lambda: env.database_url("TEST_BAD", "x"), "postgresql://host-only"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_by_name(
    reader: object, raw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_BAD", raw)
    assert callable(reader)
    with pytest.raises(ImproperlyConfigured, match="TEST_BAD"):
        reader()
    env.DECLARED.pop("TEST_BAD")


def test_values_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_GOOD", "0,2-3")
    assert env.cpu_list("TEST_GOOD", "x") == (0, 2, 3)
    monkeypatch.setenv("TEST_GOOD", "postgresql://u%40x:p%2Fw@db.example.com:6432/studio?sslmode=require")
    address = env.database_url("TEST_GOOD", "x")
    assert address is not None
    assert (address.user, address.password, address.host, address.port) == ("u@x", "p/w", "db.example.com", "6432")
    assert (address.name, dict(address.options)) == ("studio", {"sslmode": "require"})
    env.DECLARED.pop("TEST_GOOD")


def test_a_database_of_ones_own_needs_a_secret_key(tmp_path: Path) -> None:
    url = "postgresql://studio_web:x@localhost/studio"
    done = python("import config.settings", DATABASE_URL=url, STUDIO_DATA_DIR=str(tmp_path))
    assert done.returncode != 0
    assert "SECRET_KEY is required" in done.stderr


def test_the_defaults_are_safe(tmp_path: Path) -> None:
    code = "from config import settings as s; print(s.DEBUG, len(s.SECRET_KEY) > 50, s.BIND_ADDRESS)"
    done = python(code, STUDIO_DATA_DIR=str(tmp_path))
    assert done.stdout.split() == ["False", "True", "127.0.0.1"]


def test_generated_secrets_are_private_stable_and_the_same_for_all(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_or_create(tmp_path), range(16)))
    assert all(secrets == found[0] for secrets in found)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_superuser_is_refused_because_it_would_bypass_the_wall(db: None) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "from config.embedded_postgres import ensure\n"
        "server = ensure(settings.EMBEDDED_DATA_DIR)\n"
        "from django.db import connection\n"
        "connection.settings_dict.update(USER=server.admin_user, PASSWORD=server.admin_password)\n"
        "connection.ensure_connection()\n"
    )
    done = python(code)
    assert done.returncode != 0
    assert "superuser or bypasses row level security" in done.stderr


def codes_in(path: Path) -> set[str]:
    """Return the error codes that a source file names as ``code="…"``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
            found |= {
                str(keyword.value.value)
                for keyword in node.keywords
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
            }
    return found


def test_every_error_code_is_known_and_documented() -> None:
    used: set[str] = set()
    for folder in ("accounts", "config", "edge_ai"):
        for path in (ROOT / folder).rglob("*.py"):
            used |= codes_in(path)
    assert len(used) > 10
    assert used | set(STATUS_BY_CODE) <= set(CODES)
    for code, about in CODES.items():
        assert about.title and about.meaning and about.fix, code


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text().rstrip() == PAGES[page]().rstrip()


def test_a_problem_has_one_shape() -> None:
    error = UserInputError("It is too large.", code="file_too_large", fix="Send less.", field="file")
    body = problem_body(error)
    assert body["status"] == 413
    assert body["type"].endswith("#file_too_large")
    assert body["detail"] == "It is too large. Send less."
    assert body["errors"] == [{"field": "file", "code": "file_too_large", "detail": "It is too large. Send less."}]
    assert set(body) == {"type", "title", "status", "code", "detail", "errors", "request_id"}
