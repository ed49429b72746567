"""Settings: safe by default, refused with a sentence, documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_ai.management.commands.document import PAGES
from tests.conftest import ROOT

SERVER = {
    "DATABASE_URL": "postgresql://studio_web:x@db.example.com/studio?sslmode=require",
    "SECRET_KEY": "not-a-real-key-but-long-enough-0123456789-0123456789-0123456789",
}


def python(code: str, data_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with nothing of the tests' settings."""
    ours = ("STUDIO_", "DATABASE_", "S3_", "GCS_", "AZURE_", "STORAGE_", "JOB_")
    base = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=base | {"DJANGO_SETTINGS_MODULE": "config.settings", "STUDIO_DATA_DIR": str(data_dir)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def settings_with(data_dir: Path, *names: str, **environment: str) -> dict[str, Any]:
    """Return what some settings are in an environment."""
    code = (
        "import json; from config import settings as s; "
        f"print(json.dumps({{name: getattr(s, name) for name in {names!r}}}, default=str))"
    )
    done = python(code, data_dir, **environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def complaint(data_dir: Path, **environment: str) -> str:
    """Return what the settings are refused with, the last line of the traceback."""
    done = python("import config.settings", data_dir, **environment)
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


def test_the_defaults_are_safe(tmp_path: Path) -> None:
    found = settings_with(tmp_path, "DEBUG", "SECRET_KEY", "BIND_ADDRESS", "HTTPS", "ALLOWED_HOSTS", "TRUST_PROXY")
    assert (found["DEBUG"], found["BIND_ADDRESS"], found["TRUST_PROXY"]) == (False, "127.0.0.1", False)
    assert found["HTTPS"] is False, "a studio on one's own machine speaks plain http"
    assert "*" not in found["ALLOWED_HOSTS"]
    assert len(found["SECRET_KEY"]) > 50
    again = settings_with(tmp_path, "SECRET_KEY")
    assert again["SECRET_KEY"] == found["SECRET_KEY"], "sessions outlive a restart"


def test_a_server_of_ones_own_is_reached_over_https_and_asked_for_as_given(tmp_path: Path) -> None:
    names = ("HTTPS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS", "DATABASES", "SECRET_KEY")
    found = settings_with(tmp_path, *names, **SERVER)
    assert found["HTTPS"] and found["SESSION_COOKIE_SECURE"] and found["CSRF_COOKIE_SECURE"]
    assert found["SECURE_HSTS_SECONDS"] > 0
    assert found["SECRET_KEY"] == SERVER["SECRET_KEY"]
    database = found["DATABASES"]["default"]
    assert (database["HOST"], database["USER"], database["NAME"]) == ("db.example.com", "studio_web", "studio")
    assert database["OPTIONS"] == {"sslmode": "require"}
    assert database["ACTS_FOR_USERS"] is True
    assert not (tmp_path / "secrets.json").exists(), "nothing is made up beside given secrets"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"DATABASE_URL": SERVER["DATABASE_URL"]}, "SECRET_KEY is required"),
        (SERVER | {"SECRET_KEY": "  "}, "SECRET_KEY is required"),
        (SERVER | {"STUDIO_DATABASE_IDENTITY": "owner"}, "DATABASE_OWNER_URL"),
        ({"STUDIO_DATABASE_IDENTITY": "postgres"}, "STUDIO_DATABASE_IDENTITY"),
        ({"PORT": "http"}, "PORT must be a whole number"),
        ({"PORT": "70000"}, "PORT must be a whole number, 1 to 65535"),
        ({"DEBUG": "maybe"}, "DEBUG must be yes or no"),
        ({"STORAGE_BACKEND": "floppy"}, "STORAGE_BACKEND must be one of"),
        ({"JOB_LEASE_SECONDS": "0"}, "JOB_LEASE_SECONDS"),
        ({"DATABASE_URL": "mysql://u@h/d"}, "DATABASE_URL must begin with postgresql://"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence(tmp_path: Path, environment: dict[str, str], says: str) -> None:
    assert says in complaint(tmp_path, **environment)


def test_the_owner_of_the_tables_acts_for_nobody(tmp_path: Path) -> None:
    environment = SERVER | {
        "DATABASE_OWNER_URL": "postgresql://studio_owner:y@db.example.com/studio",
        "STUDIO_DATABASE_IDENTITY": "owner",
    }
    database = settings_with(tmp_path, "DATABASES", **environment)["DATABASES"]["default"]
    assert (database["USER"], database["ACTS_FOR_USERS"]) == ("studio_owner", False)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text().rstrip() == PAGES[page]().rstrip()


def test_storages_by_their_settings(tmp_path: Path) -> None:
    chosen = {
        **{"STORAGE_BACKEND": "s3", "S3_BUCKET": "b", "S3_ENCRYPTION": "aws:kms", "S3_KMS_KEY_ID": "key-1"},
        **{"STORAGE_FALLBACK_BACKEND": "azure", "AZURE_ACCOUNT": "a", "AZURE_CONTAINER": "c", "AZURE_ACCOUNT_KEY": "k"},
    }
    found = settings_with(tmp_path, "STORAGES", **chosen)["STORAGES"]
    assert found["blobs"]["BACKEND"] == "config.s3.StudioS3Storage"
    assert found["blobs"]["OPTIONS"]["object_parameters"] == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
    azure = found["blobs_fallback"]["OPTIONS"]
    assert (azure["account_name"], azure["azure_container"], azure["account_key"]) == ("a", "c", "k")
    found = settings_with(tmp_path, "STORAGES", STORAGE_BACKEND="gcs", GCS_BUCKET="b", GCS_KMS_KEY_NAME="projects/p/k")
    assert found["STORAGES"]["blobs"]["OPTIONS"]["object_parameters"] == {"kms_key_name": "projects/p/k"}
    assert "blobs_fallback" not in found["STORAGES"]
    aes = settings_with(tmp_path, "S3_STORAGE", S3_ENCRYPTION="AES256")["S3_STORAGE"]
    assert aes["OPTIONS"]["object_parameters"] == {"ServerSideEncryption": "AES256"}
    assert "another than STORAGE_BACKEND" in complaint(tmp_path, STORAGE_FALLBACK_BACKEND="local")
