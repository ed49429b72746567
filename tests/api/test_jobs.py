"""Optimizations and benchmarks: asking, refusing, cancelling, running again, and the story."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from accounts.models import User, Workspace
from edge_ai.models import BenchmarkRun, DeviceProfile, Job, JobEvent, Model, OptimizationJob
from tests.api.support import BASE, MISSING, Script, fields, problem, sample, send_json, upload
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories


@pytest.fixture
def ids(alpha: Workspace, owner: User) -> dict[str, str]:
    """A ready model, a data set that fits it, and this machine."""
    with inside(alpha, owner):
        return {
            "model": str(factories.make_model(owner).pk),
            "dataset": str(factories.make_dataset(owner).pk),
            "device_profile": str(factories.host_device().pk),
        }


def optimization(ids: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A request that works."""
    return {**ids, "target_format": "onnx", "precision": "int8", **changes}


def count_jobs(alpha: Workspace, owner: User) -> int:
    with inside(alpha, owner):
        return OptimizationJob.objects.count() + BenchmarkRun.objects.count()


def test_an_optimization_is_queued(ids: dict[str, str], owner: User, script_of: Script) -> None:
    script = script_of(owner)
    wanted = optimization(
        ids, name="Smaller", optimization_level="size", options={"seed": 3, "calibration_samples": 40}
    )
    answer = send_json(script, "post", "optimization-jobs/", wanted)
    assert answer.status_code == 201, answer.content
    job = answer.json()
    assert answer["Location"] == f"{BASE}optimization-jobs/{job['id']}/"
    assert set(job) == {
        *("id", "owner", "name", "visibility", "status", "stage", "progress", "attempt", "max_attempts"),
        *("cancel_requested", "error", "model", "device_profile", "dataset", "target_format", "precision"),
        *(
            "batch",
            "optimization_level",
            "options",
            "priority",
            "wait",
            "sandbox_level",
            "result",
            "created_at",
            "started_at",
            "finished_at",
            "updated_at",
        ),
        "answered_by",
    }
    assert job["answered_by"] is None
    assert {name: job[name] for name in wanted} == wanted
    assert (job["status"], job["progress"], job["attempt"], job["error"], job["result"]) == ("queued", 0, 0, None, None)
    assert job["sandbox_level"] is None
    assert script.get(answer["Location"]).json() == job
    story = script.get(f"{answer['Location']}events/").json()
    assert [(line["kind"], line["stage"]) for line in story["results"]] == [("status", "queued")]


def test_a_dry_run_queues_nothing(alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script) -> None:
    answer = send_json(script_of(owner), "post", "optimization-jobs/", optimization(ids, dry_run=True))
    assert answer.status_code == 200, answer.content
    plan = answer.json()
    assert set(plan) == {
        *("decided", "route", "precision", "stages", "warnings", "expected_size_bytes", "estimate", "cached"),
        "wait",
    }
    assert plan["estimate"] == {
        "seconds": None,
        "low": None,
        "high": None,
        "samples": 0,
        "reason": "No optimization from onnx to onnx in int8 has been completed here yet.",
    }
    assert (plan["decided"], plan["route"]) == (True, ["onnx", "onnx"])
    assert "calibrate" in [stage["name"] for stage in plan["stages"]]
    assert 0 < plan["expected_size_bytes"] < 5000
    run = {key: ids[key] for key in ("model", "device_profile")} | {"dry_run": True}
    answer = send_json(script_of(owner), "post", "benchmarks/", run)
    assert (answer.status_code, answer.json()["decided"]) == (200, True)
    assert count_jobs(alpha, owner) == 0


def test_a_model_that_is_being_analysed_is_waited_for(ids: dict[str, str], owner: User, script_of: Script) -> None:
    script = script_of(owner)
    model = upload(script, "models/", sample("digits.onnx")).json()["id"]
    wanted = optimization(ids, model=model)
    plan = send_json(script, "post", "optimization-jobs/", wanted | {"dry_run": True}).json()
    assert (plan["decided"], plan["warnings"][0]["code"]) == (False, "analysis_pending")
    assert send_json(script, "post", "optimization-jobs/", wanted).json()["status"] == "pending"
    run = {"model": model, "device_profile": ids["device_profile"]}
    assert send_json(script, "post", "benchmarks/", run).json()["status"] == "pending"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"precision": "int16x8"}, "unsupported_precision", "precision"),
        ({"precision": "int4", "target_format": "openvino"}, "unsupported_precision", "precision"),
        ({"target_format": "gguf"}, "unsupported_conversion", "target_format"),
        ({"target_format": "coreml"}, "unsupported_conversion", "device_profile"),
    ],
)
def test_what_can_never_work_names_what_does(
    alpha: Workspace,
    ids: dict[str, str],
    owner: User,
    script_of: Script,
    changes: dict[str, str],
    code: str,
    field: str,
) -> None:
    for extra in ({}, {"dry_run": True}):
        body = problem(
            send_json(script_of(owner), "post", "optimization-jobs/", optimization(ids, **changes) | extra), 422, code
        )
        assert fields(body) == {field}
        nearest = body["details"]["nearest"]
        assert set(nearest) >= {"target_format", "precision"}
    assert count_jobs(alpha, owner) == 0
    answer = send_json(script_of(owner), "post", "optimization-jobs/", optimization(ids, **nearest))
    assert answer.status_code == 201, "the nearest does work"


def test_int8_needs_data(ids: dict[str, str], owner: User, script_of: Script) -> None:
    body = problem(
        send_json(script_of(owner), "post", "optimization-jobs/", optimization(ids, dataset=None)),
        422,
        "dataset_required",
    )
    assert fields(body) == {"dataset"}


@pytest.mark.parametrize("path", ["optimization-jobs/", "benchmarks/"])
def test_a_data_set_of_another_model(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script, path: str
) -> None:
    header = {
        "arrays": [{"name": "audio", "dtype": "int64", "shape": [64, 16000]}],
        "samples": 64,
        "has_labels": False,
    }
    with inside(alpha, owner):
        other = factories.make_dataset(owner, header=header, has_labels=False)
    wanted = optimization(ids) if path == "optimization-jobs/" else dict(ids)
    body = problem(
        send_json(script_of(owner), "post", path, wanted | {"dataset": str(other.pk)}), 422, "dataset_mismatch"
    )
    assert fields(body) == {"dataset"}
    assert "image" in body["detail"]
    assert "audio" in body["detail"]
    assert body["details"]["expected"][0]["name"] == "image"
    assert body["details"]["given"][0] == {"name": "audio", "dtype": "int64", "shape": [64, 16000]}


@pytest.mark.parametrize("path", ["optimization-jobs/", "benchmarks/"])
@pytest.mark.parametrize("field", ["model", "device_profile", "dataset"])
@pytest.mark.parametrize("whose", ["nobody", "colleague"])
def test_what_a_request_names_must_be_visible(
    alpha: Workspace,
    ids: dict[str, str],
    owner: User,
    colleague: User,
    script_of: Script,
    path: str,
    field: str,
    whose: str,
) -> None:
    if whose == "nobody":
        named = MISSING
    else:
        with inside(alpha, colleague):
            made: Model | DeviceProfile | Any = {
                "model": factories.make_model,
                "device_profile": factories.make_device,
                "dataset": factories.make_dataset,
            }[field](colleague)
        named = str(made.pk)
    wanted = optimization(ids) if path == "optimization-jobs/" else dict(ids)
    body = problem(send_json(script_of(owner), "post", path, wanted | {field: named}), 404, "not_found")
    assert fields(body) == {field}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "not-an-id"}, "model"),
        ({"model": None}, "model"),
        ({"model": ["x"]}, "model"),
        ({"precision": "int7"}, "precision"),
        ({"precision": None}, "precision"),
        ({"target_format": ""}, "target_format"),
        ({"optimization_level": "fastest"}, "optimization_level"),
        ({"options": []}, "options"),
        ({"options": {str(i): i for i in range(51)}}, "options"),
        ({"options": {"a": list(range(1001))}}, "options"),
        ({"options": {"a": {"b": ["nul\0"]}}}, "options"),
        ({"options": {"a": "\ud800"}}, "options"),
        ({"options": {"a": {"nul\0": 1}}}, "options"),
        ({"options": {"seed": 10**400}}, "options"),
        ({"options": {"seed": 1.5}}, "options.seed"),
        ({"options": {"sede": 1}}, "options.sede"),
        ({"name": "n" * 201}, "name"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"presicion": "int8"}, "presicion"),
    ],
)
def test_bad_optimization_requests(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script, changes: dict[str, Any], named: str
) -> None:
    answer = send_json(script_of(owner), "post", "optimization-jobs/", optimization(ids, **changes))
    assert fields(problem(answer, 422, "invalid_request")) == {named}
    assert count_jobs(alpha, owner) == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"threads": 0}, "threads"),
        ({"threads": 257}, "threads"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 10**400}, "batch_size"),
        ({"warmup": -1}, "warmup"),
        ({"min_seconds": 0}, "min_seconds"),
        ({"min_seconds": 10**400}, "min_seconds"),
        ({"min_seconds": 5, "max_seconds": 4}, "max_seconds"),
        ({"max_seconds": 601}, "max_seconds"),
        ({"max_seconds": "long"}, "max_seconds"),
        ({"baseline": 7.5}, "baseline"),
        ({"profile_operators": 7}, "profile_operators"),
    ],
)
def test_bad_benchmark_requests(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script, changes: dict[str, Any], named: str
) -> None:
    answer = send_json(script_of(owner), "post", "benchmarks/", {**ids, **changes})
    assert fields(problem(answer, 422, "invalid_request")) == {named}
    assert count_jobs(alpha, owner) == 0


def test_infinity_in_json_is_no_number(ids: dict[str, str], owner: User, script_of: Script) -> None:
    text = json.dumps({**ids, "max_seconds": 1}).replace('"max_seconds": 1', '"max_seconds": 1e999')
    answer = script_of(owner).post(f"{BASE}benchmarks/", text, content_type="application/json")
    assert fields(problem(answer, 422, "invalid_request")) == {"max_seconds"}


def test_a_benchmark_is_queued(alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script) -> None:
    script = script_of(owner)
    wanted = {**ids, "threads": 1, "min_seconds": 1, "max_seconds": 10, "batch_size": 2, "warmup": 5}
    answer = send_json(script, "post", "benchmarks/", wanted)
    assert answer.status_code == 201, answer.content
    run = answer.json()
    assert {name: run[name] for name in wanted} == wanted
    assert set(run) == {
        *("id", "owner", "name", "visibility", "status", "stage", "progress", "attempt", "max_attempts"),
        *("cancel_requested", "error", "model", "device_profile", "dataset", "baseline", "threads", "batch_size"),
        *(
            "priority",
            "optimization_job",
            "wait",
            "sandbox_level",
            "warmup",
            "min_seconds",
            "max_seconds",
            "profile_operators",
            "kind",
            "p50_ms",
            "estimated_ms",
            "result",
        ),
        *("created_at", "started_at", "finished_at", "updated_at"),
    }
    assert script.get(answer["Location"]).json() == run
    problem(script.get(f"{answer['Location']}samples/"), 404, "not_found")
    body = problem(
        send_json(script, "post", "benchmarks/", wanted | {"baseline": run["id"]}),
        409,
        "conflict",
    )
    assert fields(body) == {"baseline"}


def test_nothing_is_guessed_for_a_device_elsewhere(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script
) -> None:
    with inside(alpha, owner):
        board = factories.make_device(owner)
    body = problem(
        send_json(script_of(owner), "post", "benchmarks/", ids | {"device_profile": str(board.pk)}),
        422,
        "device_not_here",
    )
    assert fields(body) == {"device_profile"}
    assert body["details"]["nearest"]["device_profile"] == "This machine"


def test_a_variant_to_come_is_measured_on_this_machine_and_only_where_it_will_run(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    with inside(alpha, owner):
        board = factories.make_device(owner)
        job = factories.make_optimization(owner)
        phone = factories.make_optimization(owner, target_format="ncnn", precision="fp16")
        new = factories.make_model(owner, status="uploaded", analysis=None)
    here = {"device_profile": ids["device_profile"]}
    there = {"device_profile": str(board.pk)}
    for wanted, code, field in (
        ({"optimization_job": str(job.pk)} | there, "device_not_here", "device_profile"),
        ({"model": str(new.pk)} | there, "device_not_here", "device_profile"),
        ({"optimization_job": str(phone.pk)} | here, "unsupported_conversion", "model"),
    ):
        assert fields(problem(send_json(script, "post", "benchmarks/", wanted), 422, code)) == {field}
    run = send_json(script, "post", "benchmarks/", {"optimization_job": str(job.pk)} | here).json()
    assert (run["status"], run["optimization_job"]) == ("pending", str(job.pk))


def test_a_model_that_failed_is_refused_with_its_own_code(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script
) -> None:
    error = {"code": "external_data_missing", "detail": "weights.bin is not there.", "fix": "Save it with its weights."}
    with inside(alpha, owner):
        broken = factories.make_model(owner, status="failed", analysis=None, error=error)
    for path, wanted in (("optimization-jobs/", optimization(ids)), ("benchmarks/", ids)):
        body = problem(
            send_json(script_of(owner), "post", path, wanted | {"model": str(broken.pk)}), 422, "external_data_missing"
        )
        assert fields(body) == {"model"}


@pytest.mark.parametrize("path", ["optimization-jobs/", "benchmarks/"])
def test_cancelling_and_running_again(ids: dict[str, str], owner: User, script_of: Script, path: str) -> None:
    script = script_of(owner)
    wanted = optimization(ids) if path == "optimization-jobs/" else dict(ids)
    where = send_json(script, "post", path, wanted)["Location"]
    problem(script.post(f"{where}retry/"), 409, "conflict")
    cancelled = script.post(f"{where}cancel/")
    assert cancelled.status_code == 200
    job = cancelled.json()
    assert (job["status"], job["cancel_requested"], job["error"]["code"]) == ("cancelled", True, "cancelled")
    assert job["finished_at"] is not None
    problem(script.post(f"{where}cancel/"), 409, "conflict")
    again = script.post(f"{where}retry/")
    assert again.status_code == 200
    assert (again.json()["status"], again.json()["error"], again.json()["cancel_requested"]) == ("queued", None, False)
    assert script.get(where).json() == again.json()
    stages = [line["stage"] for line in script.get(f"{where}events/").json()["results"]]
    assert stages == ["queued", "cancelled", "queued"]


def test_cancelling_what_runs_asks_it_to_stop(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    where = send_json(script, "post", "optimization-jobs/", optimization(ids))["Location"]
    job_id = UUID(where.rstrip("/").rsplit("/", 1)[-1])
    with inside_as_system(alpha):
        assert Job.objects.claim(job_id, worker="tests", lease=timedelta(minutes=1))
    job = script.post(f"{where}cancel/").json()
    assert (job["status"], job["cancel_requested"], job["attempt"]) == ("running", True, 1)
    assert job["started_at"] is not None


def test_the_story_is_told_from_where_one_is(
    alpha: Workspace, ids: dict[str, str], owner: User, script_of: Script
) -> None:
    script = script_of(owner)
    where = send_json(script, "post", "optimization-jobs/", optimization(ids))["Location"]
    job_id = where.rstrip("/").rsplit("/", 1)[-1]
    with inside(alpha, owner):
        JobEvent.objects.bulk_create(
            JobEvent(job_id=job_id, kind="log", message=f"line {i}", progress=i % 100, stage="calibrate")
            for i in range(450)
        )
    seen: list[int] = []
    link: str | None = f"{where}events/"
    pages = 0
    while link:
        page = script.get(link).json()
        seen += [line["seq"] for line in page["results"]]
        link = page["next"]
        pages += 1
    assert (len(seen), pages, seen) == (451, 3, sorted(set(seen)))
    assert script.get(f"{where}events/?after={seen[-1]}").json() == {"next": None, "previous": None, "results": []}
    assert [line["seq"] for line in script.get(f"{where}events/?after={seen[-3]}").json()["results"]] == seen[-2:]
    for after in ("-1", "x", "1.5", str(2**63), "9" * 40, "٣"):
        assert fields(problem(script.get(f"{where}events/", {"after": after}), 422, "invalid_request")) == {"after"}


def test_a_result_is_shown_where_it_is_asked_for(alpha: Workspace, owner: User, script_of: Script) -> None:
    result = {"kind": "measured", "latency_ms": {"p50": 1.25}, "chart": {"series_ms": [1.0] * 2000}}
    with inside(alpha, owner):
        blob = factories.make_blob()
        run = factories.make_benchmark(
            owner,
            status="completed",
            finished_at=timezone.now(),
            progress=100,
            result=result,
            p50_ms=1.25,
            samples_blob=blob,
        )
    script = script_of(owner)
    assert script.get(f"{BASE}benchmarks/{run.pk}/").json()["result"] == result
    (row,) = script.get(f"{BASE}benchmarks/").json()["results"]
    assert "result" not in row
    assert row["p50_ms"] == 1.25
    samples = script.get(f"{BASE}benchmarks/{run.pk}/samples/", headers={"Accept": "application/octet-stream"})
    assert samples.status_code == 302
    assert samples["Location"].startswith("/files/")


def test_artifacts(alpha: Workspace, owner: User, script_of: Script) -> None:
    with inside(alpha, owner):
        artifact = factories.make_artifact(owner, target_platform="This machine")
    script = script_of(owner)
    where = f"{BASE}artifacts/{artifact.pk}/"
    shown = script.get(where).json()
    assert set(shown) == {
        *("id", "owner", "visibility", "artifact_type", "file_name", "model", "optimization_job", "benchmark"),
        *("device_profile", "size_bytes", "sha256", "mime_type", "target_platform", "target_language"),
        *("download_count", "expires_at", "created_at", "updated_at"),
    }
    assert (shown["artifact_type"], shown["download_count"], shown["sha256"]) == ("recipe", 0, artifact.sha256)
    assert script.get(f"{where}download/").status_code == 302
    assert script.get(where).json()["download_count"] == 1
    assert [row["id"] for row in script.get(f"{BASE}artifacts/?artifact_type=recipe").json()["results"]] == [
        shown["id"]
    ]
    assert script.delete(where).status_code == 204
    problem(script.get(where), 404, "not_found")
