"""Bundles by the API: asking, refusing, stopping, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import PackagingJob
from tests.api.support import BASE, MISSING, Script, fields, problem, sample, send_json, upload
from tests.conftest import inside
from tests.edge_ai import factories

RESULT = {
    "artifact": MISSING,
    "size_bytes": 4711,
    "files": [{"path": "README.md", "size_bytes": 10, "sha256": "a" * 64}],
    "runs_here": True,
}


@pytest.fixture
def model(alpha: Workspace, owner: User) -> str:
    with inside(alpha, owner):
        return str(factories.make_model(owner).pk)


def test_a_bundle_is_queued_cancelled_and_asked_for_again(model: str, owner: User, script_of: Script) -> None:
    script = script_of(owner)
    wanted = {"model": model, "name": "For the demo", "visibility": "workspace", "priority": "high"}
    answer = send_json(script, "post", "packages/", wanted)
    assert answer.status_code == 201, answer.content
    job = answer.json()
    assert answer["Location"] == f"{BASE}packages/{job['id']}/"
    assert {name: job[name] for name in wanted} == wanted
    assert set(job) == {
        *("id", "owner", "name", "visibility", "status", "stage", "progress", "attempt", "max_attempts", "priority"),
        *("cancel_requested", "error", "model", "wait", "sandbox_level", "result"),
        *("created_at", "started_at", "finished_at", "updated_at"),
    }
    assert (job["status"], job["result"], job["sandbox_level"]) == ("queued", None, None)
    assert job["wait"]["place"] == 1
    where = answer["Location"]
    assert script.get(where).json() == job
    problem(script.post(f"{where}retry/"), 409, "conflict")
    assert script.post(f"{where}cancel/").json()["status"] == "cancelled"
    assert script.post(f"{where}retry/").json()["status"] == "queued"
    stages = [line["stage"] for line in script.get(f"{where}events/").json()["results"]]
    assert stages == ["queued", "cancelled", "queued"]


def test_a_model_that_is_being_analysed_is_waited_for(owner: User, script_of: Script) -> None:
    script = script_of(owner)
    new = upload(script, "models/", sample("digits.onnx")).json()["id"]
    job = send_json(script, "post", "packages/", {"model": new}).json()
    assert (job["status"], job["name"]) == ("pending", "Bundle of digits.onnx")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": None}, "model"),
        ({"model": "x"}, "model"),
        ({"name": "n" * 201}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"visibility": "public"}, "visibility"),
        ({"priority": "urgent"}, "priority"),
        ({"device_profile": MISSING}, "device_profile"),
        ({"dry_run": True}, "dry_run"),
    ],
)
def test_bad_requests(
    alpha: Workspace, model: str, owner: User, script_of: Script, changes: dict[str, Any], named: str
) -> None:
    answer = send_json(script_of(owner), "post", "packages/", {"model": model} | changes)
    assert fields(problem(answer, 422, "invalid_request")) == {named}
    with inside(alpha, owner):
        assert not PackagingJob.objects.exists()


def test_what_cannot_be_packed_is_refused(
    alpha: Workspace, owner: User, colleague: User, script_of: Script, model: str
) -> None:
    error = {"code": "model_unsafe", "detail": "It has code.", "fix": "Export it without."}
    with inside(alpha, owner):
        broken = factories.make_model(owner, status="failed", analysis=None, error=error)
    answer = send_json(script_of(owner), "post", "packages/", {"model": str(broken.pk)})
    assert fields(problem(answer, 422, "model_unsafe")) == {"model"}
    for someone, named in ((colleague, model), (owner, MISSING)):
        answer = send_json(script_of(someone), "post", "packages/", {"model": named})
        assert fields(problem(answer, 404, "not_found")) == {"model"}


def test_a_result_is_shown_where_it_is_asked_for(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        job = factories.make_packaging(
            owner, status="completed", finished_at=timezone.now(), progress=100, result=RESULT, sandbox_level="strong"
        )
    script = script_of(owner)
    shown = script.get(f"{BASE}packages/{job.pk}/").json()
    assert (shown["result"], shown["sandbox_level"]) == (RESULT, "strong")
    (row,) = script.get(f"{BASE}packages/").json()["results"]
    assert "result" not in row
