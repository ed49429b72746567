"""Comparisons by the API: asking, refusing, stopping, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import ComparisonJob
from tests.api.support import BASE, MISSING, Script, fields, problem, sample, send_json, upload
from tests.conftest import inside
from tests.edge_ai import factories
from tests.web import results


@pytest.fixture
def wanted(alpha: Workspace, owner: User) -> dict[str, Any]:
    """A request that is right."""
    with inside(alpha, owner):
        models = [factories.make_model(owner, name=name) for name in ("digits", "digits · int8")]
        return {
            "models": [str(model.pk) for model in models],
            "device_profile": str(factories.host_device().pk),
            "dataset": str(factories.make_dataset(owner).pk),
            "threads": 1,
            "max_seconds": 5.0,
        }


def test_a_comparison_is_queued_cancelled_and_asked_for_again(
    wanted: dict[str, Any], owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    answer = send_json(script, "post", "comparisons/", wanted | {"priority": "high"})
    assert answer.status_code == 201, answer.content
    job = answer.json()
    where = answer["Location"]
    assert where == f"{BASE}comparisons/{job['id']}/"
    assert {name: job[name] for name in wanted} == wanted
    assert (job["name"], job["margin"], job["status"]) == ("digits against digits · int8", 0.02, "queued")
    assert set(job) == {
        *("id", "owner", "name", "visibility", "status", "stage", "progress", "attempt", "max_attempts", "priority"),
        *("cancel_requested", "error", "models", "device_profile", "dataset", "threads", "margin", "max_seconds"),
        *("wait", "sandbox_level", "result", "created_at", "started_at", "finished_at", "updated_at"),
    }
    assert script.get(where).json() == job
    assert script.post(f"{where}cancel/").json()["status"] == "cancelled"
    assert script.post(f"{where}retry/").json()["status"] == "queued"
    stages = [line["stage"] for line in script.get(f"{where}events/").json()["results"]]
    assert stages == ["queued", "cancelled", "queued"]
    problem(script.get(f"{where}samples/"), 404, "not_found")


def test_the_order_is_the_one_asked_for(wanted: dict[str, Any], owner: User, script_of: Script) -> None:
    script = script_of(owner)
    turned = wanted["models"][::-1]
    job = send_json(script, "post", "comparisons/", wanted | {"models": turned}).json()
    assert job["models"] == turned
    (row,) = script.get(f"{BASE}comparisons/?model={turned[1]}").json()["results"]
    assert row["models"] == turned
    assert script.get(f"{BASE}comparisons/?model={MISSING}").json()["results"] == []


def test_a_model_that_is_being_analysed_is_waited_for(wanted: dict[str, Any], owner: User, script_of: Script) -> None:
    script = script_of(owner)
    new = upload(script, "models/", sample("digits.onnx")).json()["id"]
    models = [wanted["models"][0], new]
    plan = send_json(script, "post", "comparisons/", wanted | {"models": models, "dry_run": True}).json()
    assert plan["decided"] is False
    assert send_json(script, "post", "comparisons/", wanted | {"models": models}).json()["status"] == "pending"


def test_a_dry_run_queues_nothing(alpha: Workspace, wanted: dict[str, Any], owner: User, script_of: Script) -> None:
    plan = send_json(script_of(owner), "post", "comparisons/", wanted | {"dry_run": True}).json()
    assert [stage["name"] for stage in plan["stages"]] == ["compare", "accuracy"]
    with inside(alpha, owner):
        assert not ComparisonJob.objects.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"models": []}, "models"),
        ({"models": None}, "models"),
        ({"models": ["x", "y"]}, "models"),
        ({"models": [MISSING] * 9}, "models"),
        ({"device_profile": None}, "device_profile"),
        ({"threads": 0}, "threads"),
        ({"margin": 0}, "margin"),
        ({"margin": 0.6}, "margin"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"max_seconds": 601}, "max_seconds"),
        ({"max_seconds": "NaN"}, "max_seconds"),
        ({"name": "nul\0"}, "name"),
        ({"batch_size": 2}, "batch_size"),
    ],
)
def test_bad_requests(
    alpha: Workspace, wanted: dict[str, Any], owner: User, script_of: Script, changes: dict[str, Any], named: str
) -> None:
    answer = send_json(script_of(owner), "post", "comparisons/", wanted | changes)
    assert named in {name.partition(".")[0] for name in fields(problem(answer, 422, "invalid_request"))}
    with inside(alpha, owner):
        assert not ComparisonJob.objects.exists()


def test_too_few_and_the_same_one_twice(wanted: dict[str, Any], owner: User, script_of: Script) -> None:
    first = wanted["models"][0]
    for models in ([first], [first, first]):
        answer = send_json(script_of(owner), "post", "comparisons/", wanted | {"models": models})
        assert fields(problem(answer, 422, "invalid_request")) == {"models"}


def test_what_cannot_be_compared_is_refused(
    alpha: Workspace, wanted: dict[str, Any], owner: User, colleague: User, script_of: Script
) -> None:
    first = wanted["models"][0]
    other_input = factories.ANALYSIS | {"inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", 3]}]}
    error = {"code": "model_unsafe", "detail": "It has code.", "fix": "Export it without."}
    with inside(alpha, owner):
        strange = str(factories.make_model(owner, name="other", analysis=other_input).pk)
        broken = str(factories.make_model(owner, status="failed", analysis=None, error=error).pk)
        stored = str(factories.make_model(owner, format="coreml").pk)
        board = str(factories.make_device(owner).pk)
    with inside(alpha, colleague):
        theirs = str(factories.make_model(colleague).pk)
    script = script_of(owner)
    for changes, status, code, field in (
        ({"models": [first, strange], "dataset": None}, 422, "not_comparable", "models"),
        ({"models": [first, broken]}, 422, "model_unsafe", "models"),
        ({"models": [first, stored]}, 422, "unsupported_conversion", "models"),
        ({"models": [first, theirs]}, 404, "not_found", "models"),
        ({"device_profile": board}, 422, "device_not_here", "device_profile"),
    ):
        answer = send_json(script, "post", "comparisons/", wanted | changes)
        assert fields(problem(answer, status, code)) == {field}, changes


def test_a_result_is_shown_where_it_is_asked_for(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        models = [factories.make_model(owner), factories.make_model(owner, name="b")]
        result = results.compared(*models)
        job = factories.make_comparison(
            owner, *models, status="completed", finished_at=timezone.now(), progress=100, result=result
        )
    script = script_of(owner)
    assert script.get(f"{BASE}comparisons/{job.pk}/").json()["result"] == result
    (row,) = script.get(f"{BASE}comparisons/").json()["results"]
    assert "result" not in row
