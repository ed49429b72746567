"""What `manage.py check` says of settings that are not safe."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import connection

from edge_ai import checks
from tests.conftest import manage

GOOD = "pE7r0cXvYw2mQ9aLk4sTz8uBn1dHfGj3oIi6-5xCvNqWeRtAyUl"


def ids(found: list[CheckMessage]) -> list[str | None]:
    return [each.id for each in found]


def test_a_safe_studio_is_told_nothing(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS, settings.DEBUG = GOOD, [], False
    settings.SANDBOX_ALLOW_NONE, settings.SANDBOX_LEVEL = False, "auto"
    for check in (
        checks.sandbox_settings,
        checks.debug_is_for_oneself,
        checks.secrets_are_secret,
        checks.addresses_are_meant,
        checks.storage_is_whole,
    ):
        assert ids(list(check())) == [], check


@pytest.mark.parametrize("level", ["partial", "none"])
def test_a_weak_sandbox(settings: Any, level: str) -> None:
    settings.SANDBOX_ALLOW_NONE, settings.SANDBOX_LEVEL = True, level
    assert ids(checks.sandbox_settings()) == ["edge_ai.W002", "edge_ai.W003"]


def test_root(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMBEDDED_DATABASE = False
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert ids(checks.not_root(None)) == ["edge_ai.W001"]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert ids(checks.not_root(None)) == []


@pytest.mark.parametrize(
    ("bind", "embedded", "found"),
    [("127.0.0.1", True, []), ("0.0.0.0", True, ["edge_ai.E001"]), ("127.0.0.1", False, ["edge_ai.E001"])],  # noqa: S104 - what is warned of
    ids=["oneself", "network", "production"],
)
def test_debug(settings: Any, bind: str, embedded: bool, found: list[str]) -> None:
    settings.DEBUG, settings.BIND_ADDRESS, settings.EMBEDDED_DATABASE = True, bind, embedded
    assert ids(checks.debug_is_for_oneself()) == found


@pytest.mark.parametrize(
    "key", ["django-insecure-" + GOOD, "changeme" * 8, "abcdefghijkl" * 5, "a1" * 30, "your-secret-goes-here" + GOOD]
)
def test_keys_that_others_know(settings: Any, key: str) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, []
    assert ids(checks.secrets_are_secret()) == ["edge_ai.W006"]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = GOOD, [key]
    assert ids(checks.secrets_are_secret()) == ["edge_ai.W006"]


def test_passwords_of_the_database(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS, settings.EMBEDDED_DATABASE = GOOD, [], False
    settings.DATABASE_WEB_PASSWORD = settings.DATABASE_OWNER_PASSWORD = "short"
    assert ids(checks.secrets_are_secret()) == ["edge_ai.W007", "edge_ai.W008"]
    settings.DATABASE_WEB_PASSWORD, settings.DATABASE_OWNER_PASSWORD = "long and its own", "another long one"
    assert ids(checks.secrets_are_secret()) == []


def test_addresses(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.EMBEDDED_DATABASE, settings.PUBLIC_URL = ["*"], False, ""
    settings.OIDC_ISSUER, settings.TELEMETRY_URL = "http://login.example.com", "http://events.example.com"
    assert ids(checks.addresses_are_meant()) == ["edge_ai.W009", "edge_ai.W010", "edge_ai.W011", "edge_ai.W011"]
    settings.OIDC_ISSUER, settings.TELEMETRY_URL = "https://login.example.com", ""
    settings.ALLOWED_HOSTS, settings.PUBLIC_URL = ["studio.example.com"], "https://studio.example.com"
    assert ids(checks.addresses_are_meant()) == []


def test_the_role_of_the_database(db: None) -> None:
    """The suite's own role is as it should be; the owner's, asked in its place, is not."""
    assert ids(checks.database_role(databases=["default"])) == []
    assert ids(checks.database_role(databases=None)) == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        assert cursor.fetchone() == ("studio_web",)
    assert "no issues" in manage("check", "--database", "default")


def lacking(settings: Any, backend: str, **options: Any) -> list[str]:
    """What is said of a storage with some options."""
    chosen = settings.BLOB_STORAGES[backend]
    settings.STORAGE_BACKEND = backend
    settings.BLOB_STORAGES = settings.BLOB_STORAGES | {backend: {**chosen, "OPTIONS": chosen["OPTIONS"] | options}}
    found = checks.storage_is_whole()
    assert {each.id for each in found} <= {"edge_ai.E003"}
    return [each.msg.partition(": ")[2] for each in found]


def test_a_storage_without_its_settings(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(checks, "_is_installed", lambda library: library != "azure.identity")
    assert lacking(settings, "s3") == ["S3_BUCKET is not set."]
    assert lacking(settings, "s3", bucket_name="b") == []
    settings.S3_KMS_KEY_ID = "key-1"
    assert lacking(settings, "s3", bucket_name="b") == ["S3_KMS_KEY_ID is set, and S3_ENCRYPTION is not aws:kms."]
    assert lacking(settings, "gcs", credentials_file=str(tmp_path / "none")) == [
        "GCS_BUCKET is not set.",
        "GCS_CREDENTIALS_FILE is no file.",
    ]
    assert lacking(settings, "azure") == [
        *("AZURE_ACCOUNT is not set.", "AZURE_CONTAINER is not set."),
        "azure.identity is not installed.",
    ]
    assert lacking(settings, "azure", account_name="a", azure_container="c", account_key="k") == []
    settings.STORAGE_FALLBACK_BACKEND = "gcs"
    assert lacking(settings, "local") == ["GCS_BUCKET is not set.", "GCS_CREDENTIALS_FILE is no file."]


def test_a_storage_without_its_library(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"bucket_name": "b", "account_name": "a", "azure_container": "c", "account_key": "k"}

    def nothing_installed(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(checks, "find_spec", nothing_installed)
    for backend, library in (("gcs", "google.cloud.storage"), ("azure", "azure.storage.blob")):
        options = {name: value for name, value in found.items() if name in settings.BLOB_STORAGES[backend]["OPTIONS"]}
        assert lacking(settings, backend, **options) == [f"{library} is not installed."]
    monkeypatch.undo()
    assert lacking(settings, "s3", bucket_name="b") == [], "its library is the studio's own"
