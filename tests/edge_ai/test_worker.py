"""Jobs in a studio of real processes: done, crashed, killed, cancelled. Driven over HTTP, as a script would."""

from __future__ import annotations

import hashlib
import json
import signal
import time
import urllib.request
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from edge_ai.sample import CALIBRATION_DATA, EVALUATION_DATA, ONNX_MODEL
from edge_ai.worker.family import Role
from tests.conftest import ask
from tests.studio import RealStudio

pytestmark = pytest.mark.worker
API = "/api/edge/v1/"
FINAL = {"completed", "failed", "cancelled"}
#: The lease of a studio in tests, and what is promised beyond it.
RESCUE_S = 6 + 30
CANCEL_S = 3


def upload(studio: RealStudio, path: str, file: Path, **fields: str) -> dict[str, Any]:
    """Send a file as a form and expect it to be taken."""
    boundary = uuid.uuid4().hex
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'.encode()
    body += file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(studio.base + API + path, body, method="POST")
    request.add_header("Authorization", f"Bearer {studio.api_key}")
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201
        found: dict[str, Any] = json.loads(answer.read())
        return found


def get(studio: RealStudio, path: str) -> dict[str, Any]:
    """Read a resource."""
    answer = ask(studio, "GET", API + path)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.body
    return found


def wait(studio: RealStudio, path: str, *statuses: str, seconds: float = 90) -> dict[str, Any]:
    """Wait until a row has one of the statuses."""
    deadline = time.monotonic() + seconds
    while True:
        row = get(studio, path)
        if row["status"] in statuses:
            return row
        assert time.monotonic() < deadline, f"{path} is still {row['status']} ({row.get('stage')})"
        time.sleep(0.1)


def submit(studio: RealStudio, path: str, **request: Any) -> dict[str, Any]:
    """Submit a job; an optimization runs, whether the same was done before or not, where the request says nothing of it."""
    if path == "optimization-jobs/":
        request = {"fresh": True} | request
    answer = ask(studio, "POST", API + path, request)
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.body
    return found


def when(studio: RealStudio, path: str, words: str) -> list[datetime]:
    """When a job's story says something, by the database's clock."""
    story = get(studio, path + "events/?page_size=500")["results"]
    return [datetime.fromisoformat(event["created_at"]) for event in story if words in event["message"]]


def engines(studio: RealStudio) -> list[psutil.Process]:
    """Return the engine children of the studio's workers (not their own helpers)."""
    found = []
    for process in psutil.Process(studio.pid).children(recursive=True):
        try:
            if process.cmdline()[1:4] == ["-m", "edge_ai.engine", "run"]:
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


def await_engine(studio: RealStudio) -> psutil.Process:
    """Wait until exactly one job's engine runs, and return it."""
    deadline = time.monotonic() + 90  # others' jobs come to their end
    while time.monotonic() < deadline:
        running = engines(studio)
        if len(running) == 1:
            return running[0]
        time.sleep(0.05)
    raise AssertionError(f"{len(running)} engines run")


def worker_of(engine: psutil.Process) -> psutil.Process:
    """Return the worker that an engine works for, whatever holds it between them."""
    return next(process for process in engine.parents() if process.name() == Role.WORKER)


@pytest.fixture(scope="module")
def device(studio: RealStudio) -> str:
    """“This machine”."""
    rows: list[dict[str, Any]] = get(studio, "device-profiles/?page_size=200")["results"]
    assert rows[0]["is_host"]
    return str(rows[0]["id"])


@pytest.fixture(scope="module")
def model(studio: RealStudio) -> dict[str, Any]:
    """The bundled sample, analysed."""
    made = upload(studio, "models/", ONNX_MODEL, name="digits")
    return wait(studio, f"models/{made['id']}/", "ready", "failed")


@pytest.fixture(scope="module")
def dataset(studio: RealStudio) -> str:
    """The sample's calibration data."""
    return str(upload(studio, "datasets/", CALIBRATION_DATA, name="calibration", kind="calibration")["id"])


def long_benchmark(studio: RealStudio, model: dict[str, Any], device: str) -> dict[str, Any]:
    """A benchmark that runs until something happens to it."""
    return submit(
        studio, "benchmarks/", model=model["id"], device_profile=device, threads=1, min_seconds=60, max_seconds=60
    )


def test_the_main_job(studio: RealStudio, model: dict[str, Any], device: str, dataset: str) -> None:
    assert model["status"] == "ready", model["error"]
    assert model["format"] == "onnx"
    assert model["sha256"] == hashlib.sha256(ONNX_MODEL.read_bytes()).hexdigest()
    assert model["analysis"]["inputs"][0]["name"] == "image"

    job = submit(
        studio,
        "optimization-jobs/",
        model=model["id"],
        device_profile=device,
        dataset=dataset,
        target_format="onnx",
        precision="int8",
    )
    job = wait(studio, f"optimization-jobs/{job['id']}/", *FINAL)
    assert job["status"] == "completed", job["error"]
    result = job["result"]
    assert result["compression_ratio"] > 2
    assert result["parity"]["data"] == "dataset"
    assert result["parity"]["sqnr_db"] > 15

    variant = get(studio, f"models/{result['model']}/")
    assert (variant["parent"], variant["producer"], variant["status"]) == (model["id"], job["id"], "ready")
    request = urllib.request.Request(f"{studio.base}{API}models/{variant['id']}/download/")
    request.add_unredirected_header("Authorization", f"Bearer {studio.api_key}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = answer.read()
    assert hashlib.sha256(content).hexdigest() == variant["sha256"]
    assert len(content) == result["size_bytes"]

    labelled = upload(studio, "datasets/", EVALUATION_DATA, name="held out", kind="evaluation")
    run = submit(
        studio,
        "benchmarks/",
        model=variant["id"],
        device_profile=device,
        dataset=labelled["id"],
        threads=1,
        min_seconds=1,
        max_seconds=3,
    )
    run = wait(studio, f"benchmarks/{run['id']}/", *FINAL)
    assert run["status"] == "completed", run["error"]
    latency = run["result"]["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert latency["ci95"][0] <= latency["p50"] <= latency["ci95"][1]
    assert run["result"]["accuracy"]["top1"] > 0.95

    artifacts = get(studio, f"artifacts/?optimization_job={job['id']}")["results"]
    assert {item["artifact_type"] for item in artifacts} == {"optimized_model", "recipe"}
    events = get(studio, f"optimization-jobs/{job['id']}/events/")
    assert (seqs := [e["seq"] for e in events["results"]]) == sorted(seqs) and len(seqs) > 3


def test_a_job_of_a_model_still_being_analysed_waits_for_it(studio: RealStudio, device: str) -> None:
    fresh = upload(studio, "models/", ONNX_MODEL, name="not yet analysed")
    job = submit(
        studio,
        "optimization-jobs/",
        model=fresh["id"],
        device_profile=device,
        target_format="onnx",
        precision="fp16",
    )
    assert job["status"] in {"pending", "queued"}
    assert wait(studio, f"optimization-jobs/{job['id']}/", *FINAL)["status"] == "completed"


def test_a_crash_of_the_engine_fails_one_job_and_nothing_else(
    studio: RealStudio, model: dict[str, Any], device: str
) -> None:
    run = long_benchmark(studio, model, device)
    await_engine(studio).send_signal(signal.SIGSEGV)
    ended = wait(studio, f"benchmarks/{run['id']}/", *FINAL)
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "engine_crashed"
    short = submit(
        studio, "benchmarks/", model=model["id"], device_profile=device, threads=1, min_seconds=0.5, max_seconds=1
    )
    assert wait(studio, f"benchmarks/{short['id']}/", *FINAL)["status"] == "completed"


def test_cancelling_ends_a_running_job_with_everything_it_started(
    studio: RealStudio, model: dict[str, Any], device: str
) -> None:
    run = long_benchmark(studio, model, device)
    engine = await_engine(studio)
    family = [engine, *engine.children(recursive=True)]
    answer = ask(studio, "POST", f"{API}benchmarks/{run['id']}/cancel/", {})
    assert answer.status == 200
    ended = wait(studio, f"benchmarks/{run['id']}/", *FINAL, seconds=10)
    assert ended["status"] == "cancelled"
    assert ended["result"] is None
    asked = when(studio, f"benchmarks/{run['id']}/", "Cancellation asked for.")[0]
    assert (datetime.fromisoformat(ended["finished_at"]) - asked).total_seconds() <= CANCEL_S
    deadline = time.monotonic() + 5
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family):
        assert time.monotonic() < deadline, "a process of the cancelled job is still there"
        time.sleep(0.1)
    assert ask(studio, "POST", f"{API}benchmarks/{run['id']}/cancel/", {}).status == 409


def test_a_killed_workers_job_is_done_by_another_once(
    studio: RealStudio, model: dict[str, Any], device: str, dataset: str
) -> None:
    job = submit(
        studio,
        "optimization-jobs/",
        model=model["id"],
        device_profile=device,
        dataset=dataset,
        target_format="onnx",
        precision="int8",
        name="killed once",
    )
    engine = await_engine(studio)
    worker = worker_of(engine)
    killed = time.time()
    worker.kill()
    ended = wait(studio, f"optimization-jobs/{job['id']}/", *FINAL, seconds=90)
    assert ended["status"] == "completed", ended["error"]
    assert ended["attempt"] == 2
    again = when(studio, f"optimization-jobs/{job['id']}/", "Attempt 2 began")[0]
    assert again.timestamp() - killed <= RESCUE_S
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, "the engine outlived its worker"
    variants = get(studio, f"models/?parent={model['id']}&page_size=200")["results"]
    assert [v["producer"] for v in variants].count(job["id"]) == 1


def test_a_killed_workers_finished_stages_are_not_done_again(
    studio: RealStudio, model: dict[str, Any], device: str, dataset: str
) -> None:
    def conversions() -> set[Path]:
        """Return the kept stages of conversions to TFLite, of whatever job."""
        scopes = (studio.data_dir / "work").glob("*/.stages/*/*/scope")
        return {path for path in scopes if path.read_bytes() == b"tflite"}

    before = conversions()
    job = submit(
        studio,
        "optimization-jobs/",
        model=model["id"],
        device_profile=device,
        dataset=dataset,
        target_format="tflite",
        precision="int8",
        optimization_level="size",
        name="killed after the conversion",
    )
    worker = worker_of(await_engine(studio))
    deadline = time.monotonic() + 60
    while not conversions() - before:
        assert time.monotonic() < deadline, "the conversion was not kept"
        time.sleep(0.02)
    worker.kill()
    ended = wait(studio, f"optimization-jobs/{job['id']}/", *FINAL, seconds=90)
    assert (ended["status"], ended["attempt"]) == ("completed", 2), ended["error"]
    passes = {item["name"]: item.get("reused", False) for item in ended["result"]["passes"]}
    assert passes["convert onnx to tflite"] and passes["answers of the original"]
    events = get(studio, f"optimization-jobs/{job['id']}/events/")["results"]
    assert any("“convert onnx to tflite”: taken from an earlier attempt" in line["message"] for line in events)

    same = {name: job[name] for name in ("model", "device_profile", "dataset", "target_format", "precision")}
    again = submit(studio, "optimization-jobs/", optimization_level="size", fresh=False, **same)
    assert (again["status"], again["answered_by"]) == ("completed", job["id"])
    assert again["result"] == ended["result"]


def test_a_truncated_model_fails_with_its_code(studio: RealStudio, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(ONNX_MODEL.read_bytes()[:60_000])
    made = upload(studio, "models/", cut, name="cut")
    ended = wait(studio, f"models/{made['id']}/", "ready", "failed")
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "model_unreadable"
    refused = ask(
        studio,
        "POST",
        f"{API}benchmarks/",
        {"model": made["id"], "device_profile": get(studio, "device-profiles/")["results"][0]["id"]},
    )
    assert (refused.status, refused.body["code"]) == (422, "model_unreadable")


def test_no_work_folder_is_left_behind(studio: RealStudio) -> None:
    deadline = time.monotonic() + 10
    while left := [path for path in (studio.data_dir / "work").glob("*/[!.]*/**/*") if path.is_file()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
