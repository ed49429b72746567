"""Diagnoses by the API: asking, refusing, stopping, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import DiagnosisJob
from tests.api.support import BASE, MISSING, Script, fields, problem, send_json
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results


@pytest.fixture
def wanted(alpha: Workspace, owner: User) -> dict[str, Any]:
    """A request."""
    with inside(alpha, owner):
        baseline = factories.make_model(owner)
        return {
            "model": str(factories.make_model(owner, parent=baseline).pk),
            "baseline": str(baseline.pk),
            "device_profile": str(factories.host_device().pk),
            "dataset": str(factories.make_dataset(owner).pk),
            "threads": 1,
            "max_seconds": 5.0,
        }


def test_a_diagnosis_is_queued_cancelled_and_asked_for_again(
    wanted: dict[str, Any], owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    answer = send_json(script, "post", "diagnoses/", wanted | {"name": "Why?", "visibility": "workspace"})
    assert answer.status_code == 201, answer.content
    job = answer.json()
    where = answer["Location"]
    assert where == f"{BASE}diagnoses/{job['id']}/"
    assert {name: job[name] for name in wanted} == wanted
    assert set(job) == {
        *("id", "owner", "name", "visibility", "status", "stage", "progress", "attempt", "max_attempts", "priority"),
        *("cancel_requested", "error", "wait", "sandbox_level", "result"),
        *("created_at", "started_at", "finished_at", "updated_at", *wanted),
    }
    assert (job["status"], job["result"]) == ("queued", None)
    assert script.get(where).json() == job
    problem(script.post(f"{where}retry/"), 409, "conflict")
    assert script.post(f"{where}cancel/").json()["status"] == "cancelled"
    assert script.post(f"{where}retry/").json()["status"] == "queued"
    stages = [line["stage"] for line in script.get(f"{where}events/").json()["results"]]
    assert stages == ["queued", "cancelled", "queued"]


def test_without_a_baseline_it_is_the_parent(wanted: dict[str, Any], owner: User, script_of: Script) -> None:
    asked = {"model": wanted["model"], "device_profile": wanted["device_profile"]}
    job = send_json(script_of(owner), "post", "diagnoses/", asked).json()
    assert (job["baseline"], job["dataset"], job["threads"], job["max_seconds"]) == (wanted["baseline"], None, None, 20)


@pytest.mark.parametrize(
    ("changes", "status", "code", "named"),
    [
        ({"model": None}, 422, "invalid_request", "model"),
        ({"threads": 0}, 422, "invalid_request", "threads"),
        ({"max_seconds": 0}, 422, "invalid_request", "max_seconds"),
        ({"max_seconds": "soon"}, 422, "invalid_request", "max_seconds"),
        ({"device_profile": "x"}, 422, "invalid_request", "device_profile"),
        ({"dry_run": True}, 422, "invalid_request", "dry_run"),
        ({"model": MISSING}, 404, "not_found", "model"),
        ({"baseline": MISSING}, 404, "not_found", "baseline"),
        ({"dataset": MISSING}, 404, "not_found", "dataset"),
    ],
)
def test_bad_requests(
    alpha: Workspace,
    wanted: dict[str, Any],
    owner: User,
    script_of: Script,
    changes: dict[str, Any],
    status: int,
    code: str,
    named: str,
) -> None:
    answer = send_json(script_of(owner), "post", "diagnoses/", wanted | changes)
    assert fields(problem(answer, status, code)) == {named}
    with inside(alpha, owner):
        assert not DiagnosisJob.objects.exists()


def test_a_result_is_shown_whole_and_its_remedy_is_a_request(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        baseline = factories.make_model(owner)
        told = results.diagnosed(baseline)
        told["findings"][0]["fix_job"]["options"] = {}
        job = factories.make_diagnosis(
            owner, baseline=baseline, status="completed", finished_at=timezone.now(), progress=100, result=told
        )
    script = script_of(owner)
    shown = script.get(f"{BASE}diagnoses/{job.pk}/").json()
    assert shown["result"] == told
    (row,) = script.get(f"{BASE}diagnoses/").json()["results"]
    assert "result" not in row
    fix = send_json(script, "post", "optimization-jobs/", shown["result"]["findings"][0]["fix_job"])
    assert fix.status_code == 201, fix.content
    assert fix.json()["precision"] == "fp16"
