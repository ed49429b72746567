"""What the API's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

SAMPLE = Path(__file__).resolve().parents[2] / "edge_ai" / "sample"
BASE = "/api/edge/v1/"
PARTS = {"type", "title", "status", "code", "detail", "errors", "request_id"}
MISSING = "11111111-2222-4333-8444-555555555555"
Script = Callable[..., Client]


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Return the problem that a response holds, after looking at its shape."""
    assert response.status_code == status, response.content[:2000]
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) - {"details"} == PARTS
    assert body["status"] == status
    assert body["code"] == code, body
    assert body["type"] == f"/docs/errors/#{code}"
    assert body["request_id"] == response["X-Request-ID"]
    assert body["detail"] and body["title"]
    for error in body["errors"]:
        assert set(error) == {"field", "code", "detail"}
    said = response.content.decode()
    assert "Traceback" not in said
    assert str(settings.DATA_DIR) not in said
    assert "SELECT" not in said
    return body


def fields(body: dict[str, Any]) -> set[str]:
    """Return the fields that a problem finds fault with."""
    return {error["field"] for error in body["errors"]}


def send_json(client: Client, verb: str, path: str, body: Any) -> Any:
    """Send JSON."""
    return getattr(client, verb)(path if path.startswith("/") else BASE + path, body, content_type="application/json")


def sample(name: str) -> SimpleUploadedFile:
    """Return a file of the bundled sample, ready to be sent."""
    return SimpleUploadedFile(name, (SAMPLE / name).read_bytes())


def upload(client: Client, path: str, file: SimpleUploadedFile, **values: Any) -> Any:
    """Send a form with a file."""
    return client.post(BASE + path, {"file": file, **values})
