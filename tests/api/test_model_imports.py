"""Imports by the API and by the page: asking, refusing, stopping, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User, Workspace
from edge_ai.models import ImportJob
from tests.api.support import BASE, Script, fields, problem, send_json
from tests.conftest import inside
from tests.edge_ai import factories

PATH = "models/imports/"
URL = "https://example.com/models/net.onnx?token=hidden"


def test_an_import_is_queued_cancelled_and_asked_for_again(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    wanted = {"url": URL, "sha256": "a" * 64, "name": "net", "tags": ["demo"], "priority": "high"}
    answer = send_json(script, "post", PATH, wanted)
    assert answer.status_code == 201, answer.content
    job = answer.json()
    where = answer["Location"]
    assert where == f"{BASE}{PATH}{job['id']}/"
    assert set(job) == {
        *("id", "owner", "name", "visibility", "status", "stage", "progress", "attempt", "max_attempts", "priority"),
        *("cancel_requested", "error", "source", "address", "sha256", "model", "wait", "sandbox_level", "result"),
        *("created_at", "started_at", "finished_at", "updated_at"),
    }
    assert (job["source"], job["address"], job["sha256"]) == ("url", "https://example.com/models/net.onnx", "a" * 64)
    assert (job["name"], job["status"], job["model"], job["priority"]) == ("Import net", "queued", None, "high")
    assert script.get(where).json() == job
    assert script.post(f"{where}cancel/").json()["status"] == "cancelled"
    assert script.post(f"{where}retry/").json()["status"] == "queued"
    listed = script.get(f"{BASE}{PATH}?status=queued&source=url&ordering=-name")
    assert [each["id"] for each in listed.json()["results"]] == [job["id"]]
    stages = [line["stage"] for line in script.get(f"{where}events/").json()["results"]]
    assert stages == ["queued", "cancelled", "queued"]
    assert b"hidden" not in listed.content + answer.content


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_request", "url"),
        ({"url": URL, "s3_key": "net.onnx"}, "invalid_request", "url"),
        ({"url": "http://127.0.0.1/net.onnx"}, "address_refused", "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "address_refused", "url"),
        ({"url": "https://me:word@example.com/net.onnx"}, "address_refused", "url"),
        ({"url": URL, "sha256": "abc"}, "invalid_request", "sha256"),
        ({"s3_key": "net.onnx"}, "import_s3_off", "s3_key"),
        ({"url": URL, "file": "x"}, "invalid_request", "file"),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    owner: User, script_of: Script, alpha: Workspace, body: dict[str, Any], code: str, field: str
) -> None:
    refused = problem(send_json(script_of(owner), "post", PATH, body), 422, code)
    assert fields(refused) == {field}
    with inside(alpha, owner):
        assert not ImportJob.objects.exists()


def test_a_colleagues_import_is_theirs(
    alpha: Workspace, owner: User, colleague: User, viewer: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        private = factories.make_import(owner)
        shared = factories.make_import(owner, visibility="workspace")
    other = script_of(colleague)
    problem(other.get(f"{BASE}{PATH}{private.pk}/"), 404, "not_found")
    assert other.get(f"{BASE}{PATH}{shared.pk}/").status_code == 200
    problem(other.post(f"{BASE}{PATH}{shared.pk}/cancel/"), 403, "permission_denied")
    problem(send_json(script_of(viewer), "post", PATH, {"url": URL}), 403, "permission_denied")


def test_the_page_takes_a_link_and_says_what_is_wrong_with_one(
    alpha: Workspace, owner: User, browser_of: Callable[[User], Client], settings: Any
) -> None:
    browser = browser_of(owner)
    assert "Import from a link" in browser.get("/models/").content.decode()
    refused = browser.post("/models/import/", {"import-url": "http://127.0.0.1/net.onnx"})
    assert refused.status_code == 422
    assert "is not public" in refused.content.decode()
    answer = browser.post("/models/import/", {"import-url": URL, "import-name": "net"})
    assert answer.status_code == 303
    shown = browser.get(answer["Location"]).content.decode()
    assert "https://example.com/models/net.onnx" in shown and "token=hidden" not in shown
    assert "Import net" in browser.get("/jobs/").content.decode()
    assert "s3_key" not in browser.get("/models/").content.decode()
    settings.IMPORT_S3_BUCKET = "models"
    shown = browser.get("/models/").content.decode()
    assert "import-s3_key" in shown
    assert f"Looked for below {alpha.pk}/" in shown
