"""Google Cloud and Azure by their real libraries, with keys made here: what links say, and what failures are told as.

Neither service can be had here. Both were tried against emulators; docs/self-hosting.md says so.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings as live
from django.core.files.base import ContentFile

from accounts.models import User, Workspace
from edge_ai import storage
from edge_ai.engine.errors import EngineError
from tests.conftest import inside
from tests.studio import free_port

NAME = "größe 1.onnx"
DISPOSITION = "attachment; filename=\"gro_e 1.onnx\"; filename*=utf-8''gr%C3%B6%C3%9Fe%201.onnx"
SHA256 = "a" * 64


def use(settings: Any, backend: str, **options: Any) -> None:
    """Keep blobs in a service."""
    chosen = settings.BLOB_STORAGES[backend]
    blobs = {**chosen, "OPTIONS": chosen["OPTIONS"] | options}
    settings.STORAGES = settings.STORAGES | {"blobs": blobs}


@pytest.fixture
def google(settings: Any, tmp_path: Path) -> dict[str, Any]:
    """A bucket, and the key of a service account that nobody knows."""
    pytest.importorskip("google.cloud.storage", reason="the extra `google` is not installed")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        **{"type": "service_account", "project_id": "studio", "private_key": key.decode(), "private_key_id": "1"},
        **{"client_email": "studio@studio.iam.gserviceaccount.com", "client_id": "1"},
        "token_uri": f"http://127.0.0.1:{free_port()}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    options = {"bucket_name": "studio", "project_id": "studio", "credentials_file": str(path)}
    use(settings, "gcs", **options)
    return options


@pytest.fixture
def azure(settings: Any) -> dict[str, Any]:
    """A container of an account whose key is made up."""
    pytest.importorskip("azure.storage.blob", reason="the extra `azure` is not installed")
    key = base64.b64encode(b"0" * 64).decode()
    options = {"account_name": "studio", "azure_container": "blobs", "account_key": key}
    use(settings, "azure", **options)
    return options


def link(alpha: Workspace, owner: User, sha256: str = SHA256) -> tuple[str, dict[str, str]]:
    """A download's address without its question, and what is asked."""
    with inside(alpha, owner):
        url = storage.signed_url(sha256=sha256, file_name=NAME, mime_type="application/x-onnx")
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", {
        name: each[0] for name, each in parse_qs(parts.query).items()
    }


def test_links_to_google_cloud_say_name_type_and_end(google: dict[str, Any], alpha: Workspace, owner: User) -> None:
    where, asked = link(alpha, owner)
    assert where == f"https://storage.googleapis.com/studio/{storage.blob_name(alpha.schema_name, SHA256)}"
    assert (asked["response-content-disposition"], asked["response-content-type"]) == (
        DISPOSITION,
        "application/x-onnx",
    )
    assert asked["X-Goog-Expires"] == str(live.DOWNLOAD_URL_SECONDS)
    assert asked["X-Goog-Credential"].startswith("studio@studio.iam.gserviceaccount.com/")
    assert link(alpha, owner, "b" * 64)[1]["X-Goog-Signature"] != asked["X-Goog-Signature"]


def test_links_to_azure_say_name_type_and_end(azure: dict[str, Any], alpha: Workspace, owner: User) -> None:
    where, asked = link(alpha, owner)
    assert where == f"https://studio.blob.core.windows.net/blobs/{storage.blob_name(alpha.schema_name, SHA256)}"
    assert (asked["rscd"], asked["rsct"], asked["sp"]) == (DISPOSITION, "application/x-onnx", "r")
    assert asked["se"].endswith("Z") and asked["sr"] == "b"
    assert link(alpha, owner, "b" * 64)[1]["sig"] != asked["sig"]


@pytest.mark.parametrize("service", ["google", "azure"])
def test_a_service_that_is_away_is_worth_another_attempt(
    service: str, request: pytest.FixtureRequest, settings: Any, alpha: Workspace, owner: User, tmp_path: Path
) -> None:
    options = request.getfixturevalue(service)
    nobody = f"http://127.0.0.1:{free_port()}/studio"
    use(settings, "gcs" if service == "google" else "azure", **options, endpoint_url=nobody)
    with inside(alpha, owner), pytest.raises(EngineError) as failed:
        storage.copy_out(SHA256, tmp_path / "copy")
    assert (failed.value.code, failed.value.retryable) == ("storage_unavailable", True)


class Recorder(BaseHTTPRequestHandler):
    """Google's interface, as far as one upload needs it."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._answer(404, b"{}")

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b'{"name": "x"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_google_is_asked_to_encrypt_by_the_key_that_is_named(google: dict[str, Any], settings: Any) -> None:
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        use(settings, "gcs", **google, endpoint_url=endpoint, object_parameters={"kms_key_name": key})
        storage.backend().save("x", ContentFile(b"weights"))
        server.shutdown()
    assert parse_qs(urlsplit(Recorder.asked[-1]).query)["kmsKeyName"] == [key]
