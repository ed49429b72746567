"""Readers of environment variables: what is unset, what is set, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env

NAME = "STUDIO_TEST_VARIABLE"
Reader = Callable[[], object]

READERS: dict[str, tuple[Reader, object]] = {
    "text": (lambda: env.text(NAME, "word", "help"), "word"),
    "choice": (lambda: env.choice(NAME, "a", ("a", "b"), "help"), "a"),
    "flag": (lambda: env.flag(NAME, True, "help"), True),
    "integer": (lambda: env.integer(NAME, 7, "help", low=1, high=9), 7),
    "words": (lambda: env.words(NAME, ("a", "b"), "help"), ["a", "b"]),
    "cpu_list": (lambda: env.cpu_list(NAME, "help"), None),
    "networks": (lambda: env.networks(NAME, "help"), ()),
    "folder": (lambda: env.folder(NAME, Path("/var/studio"), "help"), Path("/var/studio")),
    "database_url": (lambda: env.database_url(NAME, "help"), None),
}


@pytest.fixture(autouse=True)
def _undeclared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(NAME, raising=False)
    yield
    env.DECLARED.pop(NAME, None)


def address(monkeypatch: pytest.MonkeyPatch, url: str) -> env.DatabaseAddress:
    """Read a database's address."""
    monkeypatch.setenv(NAME, url)
    found = env.database_url(NAME, "help")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", sorted(READERS))
def test_what_is_unset_has_its_default_and_is_declared(kind: str) -> None:
    read, default = READERS[kind]
    assert read() == default
    assert env.DECLARED[NAME].help == "help"
    assert env.DECLARED[NAME].kind


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("text", "  another  ", "another"),
        ("text", "", ""),
        ("choice", " B ", "b"),
        ("flag", "No", False),
        ("flag", "0", False),
        ("flag", " TRUE ", True),
        ("integer", " 9 ", 9),
        ("integer", "1", 1),
        ("words", "x, y ,,z", ["x", "y", "z"]),
        ("words", "", []),
        ("cpu_list", "3", (3,)),
        ("cpu_list", "5,0-2,1", (0, 1, 2, 5)),
        ("cpu_list", "  ", None),
        ("networks", "10.20.0.0/16, fd00::/8,", (ip_network("10.20.0.0/16"), ip_network("fd00::/8"))),
        ("folder", "/srv/studio/../data", Path("/srv/data")),
        ("folder", " ", Path("/var/studio")),
        ("database_url", " ", None),
    ],
)
def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch, kind: str, raw: str, value: object) -> None:
    monkeypatch.setenv(NAME, raw)
    assert READERS[kind][0]() == value


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("choice", "c"),
        ("choice", ""),
        ("flag", "perhaps"),
        ("integer", "seven"),
        ("integer", ""),
        ("integer", "1.5"),
        ("integer", "0"),
        ("integer", "10"),
        ("cpu_list", "0,two"),
        ("cpu_list", "-1"),
        ("cpu_list", "3-1"),
        ("networks", "10.0.0.1/8"),
        ("networks", "office"),
        ("database_url", "mysql://user@host/database"),
        ("database_url", "host/database"),
        ("database_url", "postgresql://host/database"),
        ("database_url", "postgresql://user@host"),
        ("database_url", "postgresql://user:hidden@host:port/database"),
        ("database_url", "postgresql://user:hidden@host:99999/database"),
        ("database_url", "postgresql://user:hidden@[::1/database"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, kind: str, raw: str) -> None:
    monkeypatch.setenv(NAME, raw)
    with pytest.raises(ImproperlyConfigured, match=NAME) as refused:
        READERS[kind][0]()
    assert "hidden" not in str(refused.value), "a password goes into no log"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (None, None, "whole number"),
        (1, None, "whole number, at least 1"),
        (None, 9, "whole number, at most 9"),
        (1, 9, "whole number, 1 to 9"),
    ],
)
def test_the_bounds_of_a_number_are_documented_and_told(
    monkeypatch: pytest.MonkeyPatch, low: int | None, high: int | None, kind: str
) -> None:
    env.integer(NAME, 7, "help", low=low, high=high)
    assert env.DECLARED[NAME].kind == kind
    monkeypatch.setenv(NAME, "many")
    with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be a {kind}; it is 'many'"):
        env.integer(NAME, 7, "help", low=low, high=high)


def test_a_relative_folder_is_taken_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(NAME, "data")
    assert READERS["folder"][0]() == tmp_path / "data"
    monkeypatch.setenv(NAME, "~/data")
    assert READERS["folder"][0]() == Path.home().resolve() / "data"


def test_a_database_address_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = address(
        monkeypatch, "postgresql://u%40x:p%2F%3Aw@db.example.com:6432/stu%20dio?sslmode=require&host=/run/pg"
    )
    assert (found.user, found.password, found.port, found.name) == ("u@x", "p/:w", "6432", "stu dio")
    assert found.host == "/run/pg", "a socket's folder, as libpq writes it"
    assert dict(found.options) == {"sslmode": "require"}
    plain = address(monkeypatch, "postgres://user@[::1]/studio")
    assert (plain.host, plain.port, plain.password, dict(plain.options)) == ("::1", "", "", {})


def test_the_shown_default_is_what_the_documentation_says() -> None:
    env.text(NAME, "/home/somebody/secret", "Several\n   words.", shown_default="generated")
    assert (env.DECLARED[NAME].default, env.DECLARED[NAME].help) == ("generated", "Several words.")
    env.flag(NAME, False, "help")
    assert env.DECLARED[NAME].default == "no"
