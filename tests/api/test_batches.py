"""Batches of optimizations by script."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.fleet.models import Ticket
from edge_ai.models import Model, OptimizationBatch, OptimizationJob
from tests.api.support import BASE, MISSING, Script, fields, problem, send_json
from tests.conftest import inside
from tests.edge_ai import factories

CREATE = "optimization-jobs/batch/"
LIST = f"{BASE}optimization-jobs/batches/"


@pytest.fixture
def wanted(alpha: Workspace, owner: User) -> dict[str, Any]:
    """Two models in two precisions, of which one cannot work; nobody waits in line."""
    with acting_as_system():
        Ticket.objects.all().delete()
    with inside(alpha, owner):
        return {
            "models": [str(factories.make_model(owner, name=name).pk) for name in ("one", "two")],
            "device_profiles": [str(factories.host_device().pk)],
            "precisions": ["fp16", "fp32"],
        }


def test_a_batch_from_asking_to_cancelling(
    alpha: Workspace, owner: User, script_of: Script, wanted: dict[str, Any]
) -> None:
    script = script_of(owner)
    plan = send_json(script, "post", CREATE, wanted | {"dry_run": True})
    assert plan.status_code == 200, plan.content
    told = plan.json()
    assert [(each["model_name"], each["precision"]) for each in told["combinations"]] == [
        ("one", "fp16"),
        ("two", "fp16"),
    ]
    assert told["combinations"][0]["plan"]["decided"] is True
    assert [each["code"] for each in told["refused"]] == ["unsupported_precision"] * 2
    assert told["wait"]["place"] == 2
    with inside(alpha, owner):
        assert not OptimizationBatch.objects.exists()
    answer = send_json(script, "post", CREATE, wanted)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert answer["Location"] == f"{LIST}{made['id']}/"
    assert (made["status"], made["progress"]) == ("queued", 0)
    assert made["counts"] == {
        "total": 2,
        "pending": 0,
        "queued": 2,
        "running": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
        "refused": 2,
    }
    assert [(job["model_name"], job["precision"], job["status"]) for job in made["jobs"]] == [
        ("one", "fp16", "queued"),
        ("two", "fp16", "queued"),
    ]
    assert made["asked"]["precisions"] == ["fp16", "fp32"]
    assert script.get(answer["Location"]).json() == made
    again = send_json(script, "post", CREATE, wanted)
    assert (again.status_code, again.json()["id"]) == (201, made["id"])
    [listed] = script.get(LIST).json()["results"]
    assert listed == {name: made[name] for name in listed}
    jobs = script.get(f"{BASE}optimization-jobs/", {"batch": made["id"]}).json()["results"]
    assert {job["batch"] for job in jobs} == {made["id"]} and len(jobs) == 2
    stopped = script.post(f"{answer['Location']}cancel/").json()
    assert (stopped["status"], stopped["counts"]["cancelled"]) == ("cancelled", 2)
    problem(script.post(f"{answer['Location']}cancel/"), 409, "conflict")
    assert script.post(f"{answer['Location']}retry/").json()["counts"]["queued"] == 2


def test_a_key_makes_a_repeated_request_safe(owner: User, script_of: Script, wanted: dict[str, Any]) -> None:
    script = script_of(owner)

    def ask(key: str, body: dict[str, Any]) -> Any:
        return script.post(BASE + CREATE, body, content_type="application/json", headers={"Idempotency-Key": key})

    first = ask("night-1", wanted).json()["id"]
    assert ask("night-1", wanted).json()["id"] == first
    assert ask("night-2", wanted).json()["id"] != first
    problem(ask("night-1", wanted | {"priority": "high"}), 409, "conflict")
    assert fields(problem(ask("k" * 201, wanted), 422, "invalid_request")) == {"Idempotency-Key"}


def test_what_cannot_work_at_all_is_refused_with_every_reason(
    alpha: Workspace, owner: User, script_of: Script, wanted: dict[str, Any]
) -> None:
    script = script_of(owner)
    for body in (wanted | {"precisions": ["fp32"]}, wanted | {"strict": True}):
        for dry_run in (False, True):
            answer = problem(send_json(script, "post", CREATE, body | {"dry_run": dry_run}), 422, "batch_refused")
            assert len(answer["details"]["refused"]) == 2
    with inside(alpha, owner):
        assert not OptimizationJob.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"models": []}, "models"),
        ({"models": ["x"]}, "models.0"),
        ({"precisions": ["int3"]}, "precisions.0"),
        ({"device_profiles": "all"}, "device_profiles"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bad_request_names_its_field(
    change: dict[str, Any], field: str, owner: User, script_of: Script, wanted: dict[str, Any]
) -> None:
    answer = problem(send_json(script_of(owner), "post", CREATE, wanted | change), 422, "invalid_request")
    assert any(name == field or name.startswith(field.partition(".")[0]) for name in fields(answer))


def test_what_one_does_not_see_cannot_be_combined(
    alpha: Workspace, owner: User, colleague: User, script_of: Script, wanted: dict[str, Any]
) -> None:
    script = script_of(colleague)
    assert fields(problem(send_json(script, "post", CREATE, wanted), 404, "not_found")) == {"models"}
    with inside(alpha, owner):
        Model.objects.update(visibility="workspace")
    answer = problem(send_json(script, "post", CREATE, wanted | {"device_profiles": [MISSING]}), 404, "not_found")
    assert fields(answer) == {"device_profiles"}
    made = send_json(script_of(owner), "post", CREATE, wanted | {"visibility": "workspace"}).json()
    assert script.get(f"{LIST}{made['id']}/").status_code == 200
    problem(script.post(f"{LIST}{made['id']}/cancel/"), 403, "permission_denied")
    private = send_json(script_of(owner), "post", CREATE, wanted).json()
    assert [row["id"] for row in script.get(LIST).json()["results"]] == [made["id"]]
    problem(script.get(f"{LIST}{private['id']}/"), 404, "not_found")


def test_more_batches_and_jobs_take_no_more_queries(
    alpha: Workspace, owner: User, script_of: Script, wanted: dict[str, Any]
) -> None:
    script = script_of(owner)
    first = send_json(script, "post", CREATE, wanted).json()["id"]
    addresses = [LIST, f"{LIST}{first}/"]
    counts: list[list[int]] = []
    for _ in range(2):
        costs = []
        for address in addresses:
            with CaptureQueriesContext(connection) as asked:
                assert script.get(address).status_code == 200
            costs.append(len(asked))
        counts.append(costs)
        with inside(alpha, owner):
            more = [str(factories.make_model(owner).pk) for _ in range(10)]
            for _ in range(9):
                factories.make_optimization(owner, batch_id=first)
        send_json(script, "post", CREATE, wanted | {"models": more})
    assert counts[0] == counts[1]
    assert max(counts[0]) < 15
