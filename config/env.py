"""Typed readers of environment variables. A value that cannot be read stops the process with a sentence that names it.

Every variable is declared where it is read, with the text that documents it: ``docs/settings.md`` is written from
:data:`DECLARED` by ``manage.py document``, and a test fails when the two differ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One documented environment variable."""

    name: str
    kind: str
    default: str
    help: str


DECLARED: dict[str, Declaration] = {}


def _declare(name: str, kind: str, default: object, help_text: str, shown_default: str | None) -> str | None:
    shown = shown_default if shown_default is not None else ("" if default is None else str(default))
    DECLARED[name] = Declaration(name=name, kind=kind, default=shown, help=" ".join(help_text.split()))
    return os.environ.get(name)


def text(name: str, default: str, help_text: str, *, shown_default: str | None = None) -> str:
    """Read a string; unset means ``default``."""
    raw = _declare(name, "text", default, help_text, shown_default)
    return default if raw is None else raw.strip()


def choice(name: str, default: str, options: tuple[str, ...], help_text: str) -> str:
    """Read one of ``options``."""
    raw = _declare(name, "one of " + ", ".join(options), default, help_text, None)
    value = default if raw is None else raw.strip().lower()
    if value not in options:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(options)}; it is {value!r}.")
    return value


def flag(name: str, default: bool, help_text: str, *, shown_default: str | None = None) -> bool:
    """Read a yes or no."""
    raw = _declare(name, "yes or no", "yes" if default else "no", help_text, shown_default)
    if raw is None:
        return default
    value = raw.strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be yes or no; it is {raw!r}.")


def integer(name: str, default: int, help_text: str, *, low: int | None = None, high: int | None = None) -> int:
    """Read a whole number between ``low`` and ``high``."""
    kind = "whole number" + _bounds(low, high)
    raw = _declare(name, kind, default, help_text, None)
    if raw is None:
        return default
    try:
        value = int(raw.strip())
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a {kind}; it is {raw!r}.") from None
    if (low is not None and value < low) or (high is not None and value > high):
        raise ImproperlyConfigured(f"{name} must be a {kind}; it is {value}.")
    return value


def _bounds(low: int | None, high: int | None) -> str:
    if high is None:
        return "" if low is None else f", at least {low}"
    return f", at most {high}" if low is None else f", {low} to {high}"


def words(name: str, default: tuple[str, ...], help_text: str) -> list[str]:
    """Read a comma-separated list."""
    raw = _declare(name, "comma-separated list", ",".join(default), help_text, None)
    if raw is None:
        return list(default)
    return [word.strip() for word in raw.split(",") if word.strip()]


def cpu_list(name: str, help_text: str) -> tuple[int, ...] | None:
    """Read processor numbers such as ``0,2-3``; unset means ``None``."""
    raw = _declare(name, "processor list, such as 1 or 2-3", None, help_text, None)
    if raw is None or not raw.strip():
        return None
    found: set[int] = set()
    for part in raw.split(","):
        first, _, last = part.strip().partition("-")
        try:
            found.update(range(int(first), int(last or first) + 1))
        except ValueError:
            raise ImproperlyConfigured(f"{name} must be processor numbers such as 0,2-3; it is {raw!r}.") from None
    if not found:
        raise ImproperlyConfigured(f"{name} names no processor: {raw!r}.")
    return tuple(sorted(found))


def networks(name: str, help_text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read a comma-separated list of networks such as ``10.20.0.0/16,fd00::/8``; unset means none."""
    raw = _declare(name, "comma-separated networks", None, help_text, None) or ""
    try:
        return tuple(ip_network(part.strip()) for part in raw.split(",") if part.strip())
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be networks such as 10.20.0.0/16: {error}.") from None


def folder(name: str, default: Path, help_text: str, *, shown_default: str | None = None) -> Path:
    """Read a folder's path; relative ones are taken from the working directory."""
    raw = _declare(name, "folder", default, help_text, shown_default)
    return Path(raw.strip()).expanduser().resolve() if raw and raw.strip() else default


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """A PostgreSQL address taken apart into what psycopg is given."""

    host: str
    port: str
    name: str
    user: str
    password: str
    options: Mapping[str, str]


def database_url(name: str, help_text: str) -> DatabaseAddress | None:
    """Read ``postgresql://user:password@host:port/name?sslmode=require``; unset means ``None``."""
    raw = _declare(name, "PostgreSQL URL", None, help_text, None)
    if raw is None or not raw.strip():
        return None
    try:
        parts = urlsplit(raw.strip())
        port = str(parts.port or "")
    except ValueError:
        # The value itself stays out of the message: it holds a password.
        raise ImproperlyConfigured(f"{name} is no valid address: look at its host and port.") from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{name} must begin with postgresql://; it begins with {parts.scheme!r}.")
    options = dict(parse_qsl(parts.query))
    database = unquote(parts.path.lstrip("/"))
    user = unquote(parts.username or "")
    if not database or not user:
        raise ImproperlyConfigured(f"{name} must name a user and a database: postgresql://user:password@host/database.")
    return DatabaseAddress(
        host=options.pop("host", "") or unquote(parts.hostname or ""),
        port=port,
        name=database,
        user=user,
        password=unquote(parts.password or ""),
        options=options,
    )
