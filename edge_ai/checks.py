"""System checks of the studio's own; docs/security.md lists them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

#: Seen in examples, and so known to everybody.
COMMON_KEYS = ("changeme", "change-me", "change_me", "django-insecure", "your-secret", "secret-key-here", "example")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MIN_PASSWORD = 12


@register(deploy=True)
def sandbox_settings(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when settings let jobs run without being held. Whether a level works is tried by supervisors alone."""
    found: list[CheckMessage] = []
    if settings.SANDBOX_ALLOW_NONE:
        found.append(
            Warning(
                "SANDBOX_ALLOW_NONE lets jobs run where nothing holds them.",
                hint="A hostile model could then do whatever workers can. See docs/sandbox.md for how to raise the level.",
                id="edge_ai.W002",
            )
        )
    if settings.SANDBOX_LEVEL in {"partial", "none"}:
        found.append(
            Warning(
                f"SANDBOX_LEVEL is {settings.SANDBOX_LEVEL}, which holds jobs less well than this host may be able to.",
                hint="Leave it unset: the best level that works is then used.",
                id="edge_ai.W003",
            )
        )
    return found


@register(deploy=True)
def not_root(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when a production studio runs as root."""
    if os.geteuid() == 0 and not settings.EMBEDDED_DATABASE:
        return [
            Warning(
                "The studio runs as root.",
                hint="Run web and workers as an ordinary user: children of root have more within reach.",
                id="edge_ai.W001",
            )
        ]
    return []


@register()
def debug_is_for_oneself(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse tracebacks, which show settings and rows, where others can reach them."""
    if settings.DEBUG and (not settings.EMBEDDED_DATABASE or settings.BIND_ADDRESS not in LOOPBACK):
        return [
            Error(
                "DEBUG is on where others than you can reach the studio.",
                hint="Unset DEBUG, or leave STUDIO_BIND and DATABASE_URL unset.",
                id="edge_ai.E001",
            )
        ]
    return []


#: What a storage cannot do without: the settings of its options, and the library with the extra that brings it.
STORAGES_NEED: dict[str, dict[str, str]] = {
    "local": {},
    "s3": {"bucket_name": "S3_BUCKET"},
    "gcs": {"bucket_name": "GCS_BUCKET"},
    "azure": {"account_name": "AZURE_ACCOUNT", "azure_container": "AZURE_CONTAINER"},
}
STORAGE_LIBRARIES = {
    "s3": ("boto3", "s3"),
    "gcs": ("google.cloud.storage", "google"),
    "azure": ("azure.storage.blob", "azure"),
}


@register()
def storage_is_whole(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a storage that lacks a setting or its library, before the first file is lost on the way to it."""
    found: list[CheckMessage] = []
    for backend in (settings.STORAGE_BACKEND, settings.STORAGE_FALLBACK_BACKEND):
        for problem, hint in _lacking(backend):
            found.append(Error(f"The storage {backend} cannot be used: {problem}", hint=hint, id="edge_ai.E003"))
    return found


def _lacking(backend: str) -> Iterator[tuple[str, str]]:
    if backend == "none":
        return
    options = settings.BLOB_STORAGES[backend]["OPTIONS"]
    for option, name in STORAGES_NEED[backend].items():
        if not options[option]:
            yield f"{name} is not set.", f"Set {name}; docs/self-hosting.md says what each storage needs."
    if backend in STORAGE_LIBRARIES:
        library, extra = STORAGE_LIBRARIES[backend]
        if not _is_installed(library):
            yield f"{library} is not installed.", f"pip install 'django-storages[{extra}]'"
    if backend == "s3" and settings.S3_KMS_KEY_ID and settings.S3_ENCRYPTION != "aws:kms":
        yield "S3_KMS_KEY_ID is set, and S3_ENCRYPTION is not aws:kms.", "Set S3_ENCRYPTION=aws:kms, or unset the key."
    if backend == "gcs" and options["credentials_file"] and not Path(options["credentials_file"]).is_file():
        yield "GCS_CREDENTIALS_FILE is no file.", "Name the JSON file with the key of the service account."
    if backend == "azure" and not options["account_key"] and not _is_installed("azure.identity"):
        yield "azure.identity is not installed.", "Set AZURE_ACCOUNT_KEY, or pip install azure-identity."


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # nor is what it is in
        return False


@register(Tags.database)
def database_role(
    app_configs: Sequence[Any] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Refuse a role of the database that passes the rows' own protection. Runs with ``check --database default``."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        if not settings.DATABASES[alias]["ACTS_FOR_USERS"]:
            continue
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute(
                    "SELECT rolname, rolcreaterole OR rolcreatedb,"
                    " EXISTS (SELECT 1 FROM pg_class WHERE relowner = r.oid AND relkind IN ('r', 'p'))"
                    " FROM pg_roles r WHERE rolname = session_user"
                )
                name, makes, owns = cursor.fetchone()
        except ImproperlyConfigured as error:  # a superuser is not connected as at all
            hint = "Let `manage.py bootstrap` make the roles, and connect as studio_web."
            found.append(Error(str(error), hint=hint, id="edge_ai.E002"))
            continue
        if owns:
            found.append(
                Warning(
                    f"The database role {name} owns tables, and so could switch their protection off.",
                    hint="Connect as a role that owns nothing; DATABASE_OWNER_URL is for migrations alone.",
                    id="edge_ai.W004",
                )
            )
        if makes:
            found.append(
                Warning(
                    f"The database role {name} may make roles or databases.",
                    hint="ALTER ROLE … NOCREATEROLE NOCREATEDB",
                    id="edge_ai.W005",
                )
            )
    return found


@register(Tags.security, deploy=True)
def secrets_are_secret(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of keys and passwords that somebody guesses."""
    found: list[CheckMessage] = []
    for name, key in (("SECRET_KEY", settings.SECRET_KEY), *(("SECRET_KEY_FALLBACKS", k) for k in _fallbacks())):
        common = any(word in key.lower() for word in COMMON_KEYS)
        if common or len(set(key)) < 12 or _repeats(key):
            found.append(
                Warning(
                    f"{name} is one that others may know or guess: it signs sessions and download links.",
                    hint="python -c 'import secrets; print(secrets.token_urlsafe(50))'",
                    id="edge_ai.W006",
                )
            )
    if not settings.EMBEDDED_DATABASE:
        web, owner = settings.DATABASE_WEB_PASSWORD, settings.DATABASE_OWNER_PASSWORD
        if web and len(web) < MIN_PASSWORD:
            found.append(
                Warning(
                    f"The password in DATABASE_URL has fewer than {MIN_PASSWORD} characters.",
                    hint="Give the role a long random one.",
                    id="edge_ai.W007",
                )
            )
        if web and web == owner:
            found.append(
                Warning(
                    "DATABASE_URL and DATABASE_OWNER_URL have the same password.",
                    hint="Whoever gets hold of the web process's could then remove the protection of rows.",
                    id="edge_ai.W008",
                )
            )
    return found


@register(Tags.security, deploy=True)
def addresses_are_meant(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn where the host that a request names decides about links, and of secrets that travel in the open."""
    found: list[CheckMessage] = []
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Warning(
                "ALLOWED_HOSTS takes any host.",
                hint="Name the hosts: links in mails could otherwise lead elsewhere.",
                id="edge_ai.W009",
            )
        )
    if not settings.EMBEDDED_DATABASE and not settings.PUBLIC_URL:
        found.append(
            Warning(
                "STUDIO_PUBLIC_URL is unset: links in mails have the host that a request named.",
                hint="Set it to where people reach the studio.",
                id="edge_ai.W010",
            )
        )
    for name, address in (("OIDC_ISSUER", settings.OIDC_ISSUER), ("TELEMETRY_URL", settings.TELEMETRY_URL)):
        if address and not address.startswith("https://"):
            found.append(
                Warning(
                    f"{name} is not reached by https, so that others on the way can read and change what is said.",
                    hint="Use an https address.",
                    id="edge_ai.W011",
                )
            )
    return found


def _fallbacks() -> list[str]:
    return list(settings.SECRET_KEY_FALLBACKS)


def _repeats(key: str) -> bool:
    """Tell whether a key is a shorter one written several times."""
    return bool(key) and key in (key + key)[1:-1]
