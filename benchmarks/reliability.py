"""How soon a job starts, is cancelled, and is rescued: a studio of real processes, started for the measurement.

``python -m benchmarks.reliability``. Prints medians and the worst; fails when one is over what is promised.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil

from edge_ai.sample import ONNX_MODEL
from tests.chaos.client import Client, ended
from tests.studio import RealStudio, reachable_folder, start_studio

LEASE_S = 6
START_MS = 150.0
CANCEL_S = 3.0
RESCUE_S = LEASE_S + 30.0
#: Between two jobs, so that the studio is idle again when the next one comes.
PAUSE_S = 0.7


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A studio with a model that jobs can be made of."""

    studio: RealStudio
    client: Client
    model: str
    device: str

    def job(self, *, seconds: float) -> str:
        """Submit a benchmark that runs so long; returns its path."""
        made = self.client.post(
            "benchmarks/",
            model=self.model,
            device_profile=self.device,
            threads=1,
            warmup=1,
            min_seconds=seconds,
            max_seconds=seconds,
        )
        return f"benchmarks/{made['id']}/"

    def engine(self) -> psutil.Process:
        """Wait until an engine runs, and return it."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for process in psutil.Process(self.studio.pid).children(recursive=True):
                try:
                    if process.cmdline()[1:4] == ["-m", "edge_ai.engine", "run"]:
                        return process
                except (psutil.Error, IndexError):
                    continue
            time.sleep(0.02)
        raise RuntimeError("No engine was started.")


def start_ms(bench: Bench) -> float:
    """From the request's transaction to a worker's claim, by the database's clock, on an idle studio."""
    time.sleep(PAUSE_S)
    row = bench.client.wait(bench.job(seconds=0.1), until=ended, seconds=60)
    return (_moment(row["started_at"]) - _moment(row["created_at"])).total_seconds() * 1000


def cancel_s(bench: Bench) -> float:
    """From asking to the final state, for a job that computes."""
    path = bench.job(seconds=60)
    bench.engine()
    time.sleep(1)
    began = time.monotonic()
    bench.client.ask("POST", path + "cancel/", {})
    row = bench.client.wait(path, until=ended, seconds=60)
    if row["status"] != "cancelled":
        raise RuntimeError(f"The job was not cancelled but {row['status']}.")
    return time.monotonic() - began


def rescue_s(bench: Bench) -> float:
    """From the kill of a worker to the next attempt at the job that it ran."""
    path = bench.job(seconds=3)
    worker = bench.engine().parent()
    if worker is None:
        raise RuntimeError("The engine has no worker.")
    began = time.monotonic()
    worker.kill()
    bench.client.wait(path, until=lambda row: bool(row["attempt"] >= 2), seconds=90)
    taken = time.monotonic() - began
    if bench.client.wait(path, until=ended, seconds=90)["status"] != "completed":
        raise RuntimeError("The rescued job did not complete.")
    return taken


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def report(
    name: str, unit: str, values: Sequence[float], limit: float, summary: Callable[[Sequence[float]], float]
) -> bool:
    """Print one line; tells whether the promise is kept."""
    value = summary(values)
    kept = value <= limit
    print(
        f"{name}: median {statistics.median(values):.2f} {unit}, worst {max(values):.2f} {unit}, "
        f"{len(values)} runs; promised {limit:g} {unit}: {'kept' if kept else 'NOT KEPT'}",
        flush=True,
    )
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all three."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=20, help="Jobs whose start is timed; a fourth of it for the others."
    )
    given = parser.parse_args(arguments)
    few = max(2, given.runs // 4)
    with reachable_folder() as folder, start_studio(folder, JOB_LEASE_SECONDS=str(LEASE_S)) as studio:
        client = Client(base=studio.base, api_key=studio.api_key)
        uploaded: dict[str, Any] = client.upload("models/", "digits.onnx", ONNX_MODEL.read_bytes(), name="digits")
        client.wait(f"models/{uploaded['id']}/", until=lambda row: row["status"] == "ready", seconds=90)
        device = client.get("device-profiles/?page_size=200")["results"][0]["id"]
        bench = Bench(studio=studio, client=client, model=uploaded["id"], device=device)
        kept = [
            report("enqueue to start", "ms", [start_ms(bench) for _ in range(given.runs)], START_MS, statistics.median),
            report("cancel of a running job", "s", [cancel_s(bench) for _ in range(few)], CANCEL_S, max),
            report("rescue after a killed worker", "s", [rescue_s(bench) for _ in range(few)], RESCUE_S, max),
        ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
