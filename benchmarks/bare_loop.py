"""A bare loop around a runtime, held in a process of its own: what :mod:`benchmarks.fidelity` compares the engine with.

``python -m benchmarks.bare_loop TASK`` is that process. It imports nothing of the engine: it is what a script would do.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

Feeds = list[dict[str, Any]]


def bare_onnx(path: str, threads: int) -> Callable[[dict[str, Any]], object]:
    """Return what runs an ONNX file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [item.name for item in session.get_outputs()]
    return lambda feed: session.run(outputs, feed)


def bare_tflite(path: str, threads: int) -> Callable[[dict[str, Any]], object]:
    """Return what runs a TensorFlow Lite file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    inputs = [item["index"] for item in interpreter.get_input_details()]
    outputs = [item["index"] for item in interpreter.get_output_details()]

    def run(feed: dict[str, Any]) -> object:
        # The inputs are in the order of the model's own.
        for index, value in zip(inputs, feed.values(), strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run


def loop(task: Mapping[str, Any]) -> int:
    """Hold the model and answer each line, a number of milliseconds, with the median latency of so long a loop.

    Beside it is the processor time of an inference; both in ns.
    """
    os.sched_setaffinity(0, task["cpus"])
    with np.load(task["inputs"], allow_pickle=False) as stored:
        feeds: Feeds = [
            {name: stored[f"{feed}_{place}"] for place, name in enumerate(task["names"])}
            for feed in range(task["feeds"])
        ]
    make = bare_tflite if task["model"].endswith(".tflite") else bare_onnx
    run = make(task["model"], task["threads"])
    count = 0
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        end = time.perf_counter() + float(line) / 1e3
        taken: list[int] = []
        used = time.process_time_ns()
        while not taken or time.perf_counter() < end:
            feed = feeds[count % len(feeds)]
            count += 1
            begin = time.perf_counter_ns()
            run(feed)
            taken.append(time.perf_counter_ns() - begin)
        # The first runs after the other's block find their caches empty; the engine leaves them out as well.
        used = (time.process_time_ns() - used) // len(taken)
        print(json.dumps({"p50_ns": statistics.median(taken[3:] or taken), "cpu_ns": used}), flush=True)
    return 0


class Loop:
    """A bare loop's process."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_loop", json.dumps(task)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()

    def ready(self) -> None:
        """Wait until it has loaded the model."""
        self._answer()

    def block(self, milliseconds: float) -> float:
        """Run for so long; returns the median latency in ns."""
        return self.run(milliseconds)["p50_ns"]

    def run(self, milliseconds: float) -> dict[str, float]:
        """Run for so long; returns the median latency, ``p50_ns``, and the processor time of an inference, ``cpu_ns``."""
        print(milliseconds, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"The bare loop ended with {self._process.wait()}.")
        told: dict[str, float] = json.loads(line)
        return told


if __name__ == "__main__":
    sys.exit(loop(json.loads(sys.argv[1])))
