"""The main job on the bundled sample, over HTTP, as a customer's script would do it. Standard library only.

Upload the model and its data, wait for the analysis, make three variants, measure the original and each variant, and
return the table. Whatever an earlier run already did is found again, not repeated.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ai.sample import CALIBRATION_DATA, EVALUATION_DATA, ONNX_MODEL

MODEL_NAME = "Digits sample"
CALIBRATION_NAME = "Digits, calibration"
EVALUATION_NAME = "Digits, held out"
PRECISIONS = ("int8", "int8_dynamic", "fp16")
FINAL = frozenset({"completed", "failed", "cancelled"})
POLL_SECONDS = 0.3

Say = Callable[[str], None]


class SampleError(RuntimeError):
    """The sample did not get through; the text says where."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    variant: str
    size_bytes: int
    ratio: float
    p50_ms: float | None
    accuracy: float | None
    sqnr_db: float | None


class Studio:
    """The API of one workspace."""

    def __init__(self, base: str, key: str) -> None:
        self.api = base.rstrip("/") + "/api/edge/v1/"
        self.key = key

    def call(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send JSON, get JSON.

        Raises
        ------
        SampleError
            With the studio's own words.
        """
        data = None if body is None else json.dumps(body).encode()
        return self._send(verb, path, data, "application/json")

    def upload(self, path: str, file: Path, fields: Mapping[str, str]) -> dict[str, Any]:
        """Send a file (a small one: it is held in memory) as a form."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
        )
        data = b"".join([*parts, file.read_bytes(), f"\r\n--{boundary}--\r\n".encode()])
        return self._send("POST", path, data, f"multipart/form-data; boundary={boundary}")

    def find(self, path: str, **filters: str) -> dict[str, Any] | None:
        """Return the newest row of a list that the filters leave, or ``None``."""
        query = urllib.parse.urlencode(filters | {"page_size": "200"})
        rows: list[dict[str, Any]] = self.call("GET", f"{path}?{query}")["results"]
        return rows[0] if rows else None

    def named(self, path: str, name: str) -> dict[str, Any] | None:
        """Return the row of a list that is called ``name``."""
        rows: list[dict[str, Any]] = self.call("GET", f"{path}?{urllib.parse.urlencode({'search': name})}")["results"]
        return next((row for row in rows if row["name"] == name), None)

    def wait(self, path: str, until: frozenset[str], say: Say, label: str) -> dict[str, Any]:
        """Poll a row until its status is one of ``until``, telling each new stage."""
        told = ""
        while True:
            row = self.call("GET", path)
            now = str(row.get("stage") or row["status"])
            if now != told:
                say(f"  {label}: {now}")
                told = now
            if row["status"] in until:
                if row["status"] in {"failed", "cancelled"}:
                    raise SampleError(f"{label} {row['status']}: {(row.get('error') or {}).get('detail')}")
                return row
            time.sleep(POLL_SECONDS)

    def _send(self, verb: str, path: str, data: bytes | None, kind: str) -> dict[str, Any]:
        url = self.api + path
        request = urllib.request.Request(url, data=data, method=verb)  # noqa: S310 - the studio's own address
        request.add_header("Authorization", f"Bearer {self.key}")
        if data is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - as above
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            raise SampleError(
                f"{verb} {path} answered {error.code}: {error.read(2000).decode(errors='replace')}"
            ) from error


def run_sample(base: str, key: str, say: Say) -> list[Row]:
    """Do the main job and return its table, the original first."""
    studio = Studio(base, key)
    device = studio.call("GET", "device-profiles/?page_size=200")["results"][0]
    model = studio.named("models/", MODEL_NAME)
    if model is None:
        say(f"Uploading {ONNX_MODEL.name} ({ONNX_MODEL.stat().st_size / 1e6:.2f} MB)")
        model = studio.upload(
            "models/",
            ONNX_MODEL,
            {"name": MODEL_NAME, "description": "A small convolutional network that reads digits."},
        )
    calibration = _dataset(studio, CALIBRATION_NAME, CALIBRATION_DATA, "calibration", say)
    evaluation = _dataset(studio, EVALUATION_NAME, EVALUATION_DATA, "evaluation", say)
    model = studio.wait(f"models/{model['id']}/", frozenset({"ready", "failed"}), say, "analysis")
    baseline = _benchmark(studio, model["id"], device["id"], evaluation, None, "original", say)
    rows = [
        Row(
            variant="original",
            size_bytes=model["size_bytes"],
            ratio=1.0,
            p50_ms=baseline["result"]["latency_ms"]["p50"],
            accuracy=_top1(baseline),
            sqnr_db=None,
        )
    ]
    for precision in PRECISIONS:
        job = _optimize(studio, model["id"], device["id"], calibration, precision, say)
        result = job["result"]
        run = _benchmark(studio, result["model"], device["id"], evaluation, baseline["id"], precision, say)
        rows.append(
            Row(
                variant=precision,
                size_bytes=result["size_bytes"],
                ratio=result["compression_ratio"],
                p50_ms=run["result"]["latency_ms"]["p50"],
                accuracy=_top1(run),
                sqnr_db=result["parity"]["sqnr_db"],
            )
        )
    return rows


def _dataset(studio: Studio, name: str, path: Path, kind: str, say: Say) -> str:
    found = studio.named("datasets/", name)
    if found is None:
        say(f"Uploading {path.name}")
        found = studio.upload("datasets/", path, {"name": name, "kind": kind})
    return str(found["id"])


def _optimize(studio: Studio, model: str, device: str, dataset: str, precision: str, say: Say) -> dict[str, Any]:
    done = studio.find("optimization-jobs/", model=model, precision=precision, status="completed")
    if done is not None:
        return studio.call("GET", f"optimization-jobs/{done['id']}/")
    request = {
        "model": model,
        "device_profile": device,
        "dataset": dataset,
        "target_format": "onnx",
        "precision": precision,
        "name": f"{MODEL_NAME} → onnx {precision}",
    }
    job = studio.call("POST", "optimization-jobs/", request)
    return studio.wait(f"optimization-jobs/{job['id']}/", FINAL, say, f"optimize to {precision}")


def _benchmark(
    studio: Studio, model: str, device: str, dataset: str, baseline: str | None, label: str, say: Say
) -> dict[str, Any]:
    done = studio.find("benchmarks/", model=model, status="completed")
    if done is not None:
        return studio.call("GET", f"benchmarks/{done['id']}/")
    request = {
        "model": model,
        "device_profile": device,
        "dataset": dataset,
        "baseline": baseline,
        "threads": 1,
        "min_seconds": 2,
        "max_seconds": 10,
        "name": f"{MODEL_NAME}, {label}",
    }
    run = studio.call("POST", "benchmarks/", request)
    return studio.wait(f"benchmarks/{run['id']}/", FINAL, say, f"benchmark {label}")


def _top1(run: Mapping[str, Any]) -> float | None:
    accuracy = run["result"].get("accuracy") or {}
    return accuracy.get("top1")


def table(rows: list[Row]) -> str:
    """Return the table as text."""
    lines = [f"{'variant':<14}{'size':>12}{'ratio':>9}{'p50':>12}{'accuracy':>11}{'SQNR':>11}"]
    for row in rows:
        lines.append(
            f"{row.variant:<14}"
            f"{row.size_bytes / 1e6:>9.3f} MB"
            f"{row.ratio:>8.2f}×"
            + (f"{row.p50_ms:>9.4f} ms" if row.p50_ms is not None else f"{'–':>12}")
            + (f"{100 * row.accuracy:>9.2f} %" if row.accuracy is not None else f"{'–':>11}")
            + (f"{row.sqnr_db:>8.1f} dB" if row.sqnr_db is not None else f"{'–':>11}")
        )
    return "\n".join(lines)
