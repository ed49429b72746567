"""The same request again, by script."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User, Workspace
from edge_ai.models import Artifact, ArtifactType, Job, OptimizationJob
from edge_ai.models.base import ClockTimestamp
from tests.api.support import BASE, Script, problem, send_json
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories

Wanted = dict[str, str]


@pytest.fixture
def wanted(alpha: Workspace, owner: User) -> Wanted:
    """A request that works."""
    with inside(alpha, owner):
        return {
            "model": str(factories.make_model(owner).pk),
            "device_profile": str(factories.host_device().pk),
            "target_format": "onnx",
            "precision": "fp16",
        }


def submitted_and_done(alpha: Workspace, script: Script, owner: User, wanted: Wanted) -> str:
    """Submit it, and let it have its result as a worker would; returns the job's id."""
    job_id = str(send_json(script(owner), "post", "optimization-jobs/", wanted).json()["id"])
    with inside_as_system(alpha):
        job = OptimizationJob.objects.get(pk=job_id)
        variant = factories.make_model(owner, producer=job, parent=job.model)
        for kind in (ArtifactType.OPTIMIZED_MODEL, ArtifactType.RECIPE):
            factories.make_artifact(owner, variant, artifact_type=kind, optimization_job=job)
        result = {"model": str(variant.pk), "precision": "fp16"}
        Job.objects.filter(pk=job_id).update(
            status="completed", progress=100, result=result, started_at=ClockTimestamp(), finished_at=ClockTimestamp()
        )
    return job_id


def test_the_same_request_has_its_answer_at_once(
    alpha: Workspace, owner: User, script_of: Script, wanted: Wanted
) -> None:
    done = submitted_and_done(alpha, script_of, owner, wanted)
    script = script_of(owner)
    plan = send_json(script, "post", "optimization-jobs/", wanted | {"dry_run": True}).json()
    assert plan["cached"] == done
    plan = send_json(script, "post", "optimization-jobs/", wanted | {"dry_run": True, "fresh": True}).json()
    assert plan["cached"] is None
    answer = send_json(script, "post", "optimization-jobs/", wanted)
    assert answer.status_code == 201
    job = answer.json()
    assert (job["status"], job["answered_by"], job["progress"]) == ("completed", done, 100)
    assert job["result"] == script.get(f"{BASE}optimization-jobs/{done}/").json()["result"]
    (line,) = script.get(f"{BASE}optimization-jobs/{job['id']}/events/").json()["results"]
    assert line["message"].startswith(f"Answered from job {done}")
    found = script.get(f"{BASE}artifacts/?optimization_job={job['id']}").json()["results"]
    assert len(found) == 2 and {item["optimization_job"] for item in found} == {done}
    assert found == script.get(f"{BASE}artifacts/?optimization_job={done}").json()["results"]
    problem(send_json(script, "post", f"optimization-jobs/{job['id']}/retry/", {}), 409, "conflict")
    fresh = send_json(script, "post", "optimization-jobs/", wanted | {"fresh": True}).json()
    assert (fresh["status"], fresh["answered_by"]) == ("queued", None)


def test_a_benchmark_is_never_answered_from_another(
    alpha: Workspace, owner: User, script_of: Script, wanted: Wanted
) -> None:
    script = script_of(owner)
    run = {name: wanted[name] for name in ("model", "device_profile")}
    first = send_json(script, "post", "benchmarks/", run).json()
    with inside_as_system(alpha):
        Job.objects.filter(pk=first["id"]).update(
            status="completed", progress=100, result={}, finished_at=ClockTimestamp()
        )
    assert send_json(script, "post", "benchmarks/", run | {"dry_run": True}).json()["cached"] is None
    second = send_json(script, "post", "benchmarks/", run).json()
    assert second["status"] == "queued" and "answered_by" not in second
    problem(send_json(script, "post", "benchmarks/", run | {"fresh": True}), 422, "invalid_request")


def test_asking_costs_the_same_however_many_jobs_there_are(
    alpha: Workspace, owner: User, script_of: Script, wanted: Wanted
) -> None:
    submitted_and_done(alpha, script_of, owner, wanted)
    script = script_of(owner)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            send_json(script, "post", "optimization-jobs/", wanted | {"dry_run": True})
        return len(queries)

    cost()
    before = cost()
    for _ in range(5):
        assert send_json(script, "post", "optimization-jobs/", wanted).json()["answered_by"]
    assert cost() == before
    with inside(alpha, owner):
        assert Artifact.objects.count() == 2
