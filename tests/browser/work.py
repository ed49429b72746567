"""Work that the pages can show, done through the API by the real studio."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from dataclasses import dataclass
from typing import Any

from tests.conftest import ask
from tests.studio import ROOT, RealStudio

SAMPLE = ROOT / "edge_ai" / "sample"
API = "/api/edge/v1/"
FINAL = {"completed", "failed", "cancelled"}
JOB_SECONDS = 150


@dataclass(frozen=True, kw_only=True)
class Work:
    """Ids of what was made."""

    model: str
    variant: str
    broken_model: str
    dataset: str
    device: str
    optimization: str
    cancelled_optimization: str
    bundle: str
    benchmark: str
    compared_benchmark: str
    estimate: str
    comparison: str
    diagnosis: str
    webhook: str
    batch: str
    artifact: str


def upload(studio: RealStudio, path: str, file_name: str, content: bytes, **values: str) -> dict[str, Any]:
    """Send a file as a browser's form does."""
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in values.items()
    ]
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + content + f"\r\n--{mark}--\r\n".encode()
    request = urllib.request.Request(studio.base + API + path, data=body, method="POST")
    request.add_header("Authorization", f"Bearer {studio.api_key}")
    request.add_header("Content-Type", f"multipart/form-data; boundary={mark}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def made(studio: RealStudio, path: str, body: dict[str, Any]) -> str:
    """Create something and return its id."""
    answer = ask(studio, "POST", API + path, body)
    assert answer.status in {201, 202}, answer
    return str(answer.body["id"])


def await_final(studio: RealStudio, path: str) -> dict[str, Any]:
    """Wait until something has come to its end, one way or another."""
    deadline = time.monotonic() + JOB_SECONDS
    while True:
        body: dict[str, Any] = ask(studio, "GET", API + path).body
        if body["status"] in FINAL | {"ready"}:
            return body
        assert time.monotonic() < deadline, f"{path} did not end: {body}"
        time.sleep(0.3)


def do_work(studio: RealStudio) -> Work:
    """Upload, optimize, measure, estimate, compare, diagnose, and fail in the ways that pages have to show."""
    model = upload(studio, "models/", "digits.onnx", (SAMPLE / "digits.onnx").read_bytes(), name="Shown digits")["id"]
    # Cut short: it is recognised as ONNX, and its analysis says what is wrong.
    cut = (SAMPLE / "digits.onnx").read_bytes()[:200_000]
    broken = upload(studio, "models/", "cut.onnx", cut, name="Cut short")["id"]
    dataset = upload(
        studio, "datasets/", "digits-eval.npz", (SAMPLE / "digits-eval.npz").read_bytes(), name="Shown data"
    )["id"]
    device = next(
        each["id"] for each in ask(studio, "GET", f"{API}device-profiles/").body["results"] if each["is_host"]
    )
    assert await_final(studio, f"models/{model}/")["status"] == "ready"
    assert await_final(studio, f"models/{broken}/")["status"] == "failed"
    shared = {"device_profile": device, "dataset": dataset}
    optimization = made(
        studio, "optimization-jobs/", {"model": model, "precision": "int8", "target_format": "onnx"} | shared
    )
    done = await_final(studio, f"optimization-jobs/{optimization}/")
    assert done["status"] == "completed", done
    quick = {"min_seconds": 0.5, "max_seconds": 3}
    first = made(studio, "benchmarks/", {"model": model} | shared | quick)
    assert await_final(studio, f"benchmarks/{first}/")["status"] == "completed"
    variant = str(done["result"]["model"])
    second = made(studio, "benchmarks/", {"model": variant, "baseline": first} | shared | quick)
    assert await_final(studio, f"benchmarks/{second}/")["status"] == "completed"
    comparison = made(studio, "comparisons/", {"models": [model, variant], "max_seconds": 5} | shared)
    diagnosis = made(studio, "diagnoses/", {"model": variant, "max_seconds": 2} | shared)
    elsewhere = ask(studio, "GET", f"{API}device-profiles/?search=Raspberry+Pi+5+(8").body["results"][0]["id"]
    estimate = made(studio, "benchmarks/", {"model": model, "device_profile": elsewhere})
    for path in (f"comparisons/{comparison}/", f"diagnoses/{diagnosis}/", f"benchmarks/{estimate}/"):
        assert await_final(studio, path)["status"] == "completed", path
    cancelled = made(
        studio, "optimization-jobs/", {"model": model, "precision": "fp16", "target_format": "onnx"} | shared
    )
    assert ask(studio, "POST", f"{API}optimization-jobs/{cancelled}/cancel/").status in {200, 202}
    assert await_final(studio, f"optimization-jobs/{cancelled}/")["status"] == "cancelled"
    # Port 9, discard, where nobody listens: its log shows a test that did not arrive.
    webhook = made(studio, "webhooks/", {"url": "http://127.0.0.1:9/hook", "events": ["benchmark.completed"]})
    assert ask(studio, "POST", f"{API}webhooks/{webhook}/test/", {}).body["status"] == "failed"
    bundle = made(studio, "packages/", {"model": variant, "priority": "high"})
    assert await_final(studio, f"packages/{bundle}/")["status"] == "completed"
    several = {"models": [model, variant], "device_profiles": [device], "precisions": ["fp16", "int4"]}
    batch = made(studio, "optimization-jobs/batch/", several)
    assert await_final(studio, f"optimization-jobs/batches/{batch}/")["counts"]["refused"]
    return Work(
        model=model,
        variant=variant,
        broken_model=broken,
        dataset=dataset,
        device=device,
        optimization=optimization,
        cancelled_optimization=cancelled,
        bundle=bundle,
        benchmark=first,
        compared_benchmark=second,
        estimate=estimate,
        comparison=comparison,
        diagnosis=diagnosis,
        webhook=webhook,
        batch=batch,
        artifact=ask(studio, "GET", f"{API}artifacts/?artifact_type=optimized_model").body["results"][0]["id"],
    )
