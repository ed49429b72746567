"""Record what a real studio answers, as the examples of the API's description: ``edge_ai/api/examples.json``.

Run it against a studio that has done the main job on the bundled sample (`manage.py run`):

    python -m benchmarks.api_examples http://localhost:8000 eas_…

The studio must run on the same machine with IMPORT_ALLOW_NETWORKS=127.0.0.0/8, since it imports from a server of this program.
Each answer is kept as it was, but for long lists, of which two entries are kept, and what is this studio's own: its secrets.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
WHERE = ROOT / "edge_ai" / "api" / "examples.json"
SAMPLE = ROOT / "edge_ai" / "sample"
API = "/api/edge/v1/"
KEPT_ENTRIES = 2
LONG_TEXT = 400
ENDED = {"completed", "failed", "cancelled"}
PUBLIC = "https://example.com/models"
SLOW = "/slow/"


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves the sample, and below `/slow/` so slowly that an import of it can be cancelled."""

    def do_GET(self) -> None:
        """Answer."""
        if self.path.startswith(SLOW):
            time.sleep(20)
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Serve the sample until the block ends; yields the address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(SAMPLE)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def shortened(value: Any) -> Any:
    """Keep the first entries of every list, and of what is keyed by anything."""
    if isinstance(value, list):
        return [shortened(each) for each in value[:KEPT_ENTRIES]]
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    return value[:LONG_TEXT] if isinstance(value, str) else value


class Recorder:
    """Asks, and keeps what was answered."""

    def __init__(self, base: str, key: str) -> None:
        self.client = httpx.Client(base_url=base + API, headers={"Authorization": f"Bearer {key}"}, timeout=120)
        self.base = base
        self.elsewhere = "http://127.0.0.1:9"
        self.kept: dict[str, Any] = {}

    def ask(self, operation: str, verb: str, path: str, **sent: Any) -> Any:
        """Send a request, and keep its answer under the operation's name and the status."""
        answer = self.client.request(verb, path, **sent)
        answer.raise_for_status()
        if not answer.content:
            return None
        body = answer.json()
        said = json.dumps(shortened(body), ensure_ascii=False).replace(self.base, "https://studio.example.com")
        said = said.replace(self.elsewhere, PUBLIC)
        self.kept[f"{operation} {answer.status_code}"] = json.loads(said)
        return body

    def ended(self, operation: str, path: str) -> Any:
        """Wait until a job has ended, and keep how it did."""
        while True:
            body = self.ask(operation, "GET", path)
            if body["status"] in ENDED:
                if body["status"] != "completed":
                    raise SystemExit(f"{operation}: {body}")
                return body
            time.sleep(2)

    def job(self, name: str, plural: str, path: str, body: dict[str, Any]) -> Any:
        """Submit a job and follow it to its end."""
        made = self.ask(f"create_{name}", "POST", path, json=body)
        done = self.ended(f"get_{name}", f"{path}{made['id']}/")
        self.ask(f"list_{plural}", "GET", path)
        self.ask(f"list_{name}_events", "GET", f"{path}{made['id']}/events/")
        return done

    def stopped(self, name: str, path: str, body: dict[str, Any]) -> None:
        """Submit a job, cancel it, and begin it again."""
        made = self.client.post(path, json=body).raise_for_status().json()
        self.ask(f"cancel_{name}", "POST", f"{path}{made['id']}/cancel/")
        while self.client.get(f"{path}{made['id']}/").json()["status"] != "cancelled":
            time.sleep(1)
        self.ask(f"retry_{name}", "POST", f"{path}{made['id']}/retry/")
        self.client.post(f"{path}{made['id']}/cancel/")


def record_parts(to: Recorder) -> None:
    """Record an upload in parts, where the studio keeps its files in S3."""
    content = (SAMPLE / "digits.onnx").read_bytes()
    asked = {"length_bytes": len(content), "file_name": "digits.onnx", "name": "digits"}
    if to.client.post("uploads/", json=asked).status_code != 201:
        return
    begun = to.ask("create_upload", "POST", "uploads/", json=asked)
    where = f"uploads/{begun['id']}/"
    wanted = {"parts": [{"number": 1, "sha256": hashlib.sha256(content).hexdigest()}]}
    (place,) = to.ask("sign_upload_parts", "POST", f"{where}parts/", json=wanted)["parts"]
    httpx.put(place["url"], content=content, headers=place["headers"]).raise_for_status()
    to.ask("complete_upload", "POST", f"{where}complete/")
    for part in to.kept["sign_upload_parts 200"]["parts"]:
        part["url"] = "https://bucket.s3.example.com/" + part["url"].partition("//")[2].partition("/")[2]
    to.client.delete(where)


def record(base: str, key: str) -> dict[str, Any]:
    """Do everything once."""
    to = Recorder(base, key)
    to.ask("get_me", "GET", "me/")
    to.ask("get_usage", "GET", "usage/")
    with (SAMPLE / "digits.onnx").open("rb") as file:
        model = to.ask("upload_model", "POST", "models/", files={"file": file}, data={"name": "digits", "tags": "demo"})
    with (SAMPLE / "digits-eval.npz").open("rb") as file:
        data = to.ask(
            "upload_dataset",
            "POST",
            "datasets/",
            files={"file": file},
            data={"name": "digits, held out", "kind": "both"},
        )
    mine = f"models/{model['id']}/"
    while to.ask("get_model", "GET", mine)["status"] != "ready":
        time.sleep(1)
    to.ask("update_model", "PATCH", mine, json={"description": "Handwritten digits, 8 by 8."})
    to.ask("list_models", "GET", "models/")
    to.ask("get_model_compatibility", "GET", f"{mine}compatibility/", params={"target_format": "onnx"})
    to.ask("get_dataset", "GET", f"datasets/{data['id']}/")
    to.ask("list_datasets", "GET", "datasets/")
    host = to.client.get("device-profiles/", params={"is_host": "true"}).json()["results"][0]["id"]
    board: dict[str, Any] = {
        "name": "Conveyor camera",
        "category": "single_board_computer",
        "cpu_architecture": "arm64",
    }
    board |= {"formats": ["onnx"], "precisions": ["fp32"]}
    own = to.ask(
        "create_device_profile", "POST", "device-profiles/", json=board | {"formats": ["onnx"], "precisions": ["fp32"]}
    )
    to.ask("update_device_profile", "PATCH", f"device-profiles/{own['id']}/", json={"memory_mb": 8192})
    to.ask("get_device_profile", "GET", f"device-profiles/{own['id']}/")
    to.ask("list_device_profiles", "GET", "device-profiles/")
    to.client.delete(f"device-profiles/{own['id']}/")

    wanted = {
        "model": model["id"],
        "device_profile": host,
        "dataset": data["id"],
        "target_format": "onnx",
        "precision": "int8",
    }
    to.ask("create_optimization_job", "POST", "optimization-jobs/", json=wanted | {"dry_run": True})
    optimized = to.job("optimization_job", "optimization_jobs", "optimization-jobs/", wanted | {"fresh": True})
    to.stopped("optimization_job", "optimization-jobs/", wanted | {"precision": "fp16", "fresh": True})
    variant = optimized["result"]["model"]
    many = {"models": [model["id"]], "device_profiles": [host], "precisions": ["int8_dynamic", "fp16"]}
    to.ask("create_optimization_batch", "POST", "optimization-jobs/batch/", json=many | {"dry_run": True})
    batch = to.ask("create_optimization_batch", "POST", "optimization-jobs/batch/", json=many)
    where = f"optimization-jobs/batches/{batch['id']}/"
    to.ask("cancel_optimization_batch", "POST", f"{where}cancel/")
    time.sleep(3)
    to.ask("retry_optimization_batch", "POST", f"{where}retry/")
    to.ended("get_optimization_batch", where)
    to.ask("list_optimization_batches", "GET", "optimization-jobs/batches/")

    run = {"model": variant, "device_profile": host, "dataset": data["id"], "min_seconds": 1, "max_seconds": 10}
    to.ask("create_benchmark", "POST", "benchmarks/", json=run | {"dry_run": True})
    to.job("benchmark", "benchmarks", "benchmarks/", run)
    to.stopped("benchmark", "benchmarks/", run)
    pair = {"models": [model["id"], variant], "device_profile": host, "max_seconds": 30}
    to.ask("create_comparison", "POST", "comparisons/", json=pair | {"dry_run": True})
    to.job("comparison", "comparisons", "comparisons/", pair)
    to.stopped("comparison", "comparisons/", pair)
    question = {"model": variant, "device_profile": host, "dataset": data["id"]}
    to.job("diagnosis", "diagnoses", "diagnoses/", question)
    to.stopped("diagnosis", "diagnoses/", question)
    to.job("package", "packages", "packages/", {"model": variant})
    to.stopped("package", "packages/", {"model": variant})
    with served() as to.elsewhere:
        to.stopped("import", "models/imports/", {"url": f"{to.elsewhere}{SLOW}digits.onnx"})
        to.job("import", "imports", "models/imports/", {"url": f"{to.elsewhere}/digits.onnx", "name": "digits"})
    to.ask("get_model_history", "GET", f"models/{variant}/history/")
    [artifact, *_] = to.ask("list_artifacts", "GET", "artifacts/")["results"]
    to.ask("get_artifact", "GET", f"artifacts/{artifact['id']}/")

    hook = to.ask(
        "create_webhook", "POST", "webhooks/", json={"url": "https://example.com/hooks", "events": ["model.ready"]}
    )
    where = f"webhooks/{hook['id']}/"
    to.ask("get_webhook", "GET", where)
    to.ask("update_webhook", "PATCH", where, json={"description": "build server"})
    to.ask("list_webhooks", "GET", "webhooks/")
    to.ask("rotate_webhook_secret", "POST", f"{where}rotate-secret/", json={"overlap_seconds": 60})
    to.ask("send_webhook_test", "POST", f"{where}test/")
    [delivery, *_] = to.ask("list_webhook_deliveries", "GET", f"{where}deliveries/")["results"]
    to.ask("get_webhook_delivery", "GET", f"{where}deliveries/{delivery['id']}/")
    to.ask("redeliver_webhook_delivery", "POST", f"{where}deliveries/{delivery['id']}/redeliver/")
    to.ask("redeliver_webhook", "POST", f"{where}redeliver/", json={"since": "2026-03-01T12:00:00Z"})
    to.client.delete(where)
    record_parts(to)
    begun = to.client.post("uploads/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1000"}).raise_for_status()
    where = base + begun.headers["Location"]
    to.ask("get_upload", "GET", where)
    to.client.delete(where, headers={"Tus-Resumable": "1.0.0"})
    to.ask("list_audit_events", "GET", "telemetry/events/")
    for name in to.kept:
        if "secret" in to.kept[name]:
            to.kept[name]["secret"] = "whsec_…"  # noqa: S105 - hides one
    return to.kept


def main() -> None:
    """Record, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base")
    parser.add_argument("key")
    given = parser.parse_args()
    WHERE.write_text(json.dumps(record(given.base, given.key), indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
