"""Is what the studio measures what a bare loop measures? ``python -m benchmarks.fidelity MODEL…``.

For each model, processes of the engine's runner and of a bare loop around the same runtime (this file with ``--loop``, which
imports nothing of the engine but the inputs' file) hold the model with the same threads, the same inputs and the same
processors, and run blocks by turns, A B B A. The ratio of the medians of neighbouring blocks, over several starts of the
processes, is what the studio adds; its interval is that of the engine's own comparisons of models (`interleave.ratio_of`).

Models are ONNX and TensorFlow Lite files. With ``--tools`` the runtimes' own programs run the same model by turns with the
engine, too: OpenVINO's ``benchmark_app`` on ONNX files, which the engine measures as OpenVINO IR made from them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MAX_RATIO = 1.03
INPUTS = "inputs.npz"

Feeds = list[dict[str, Any]]


# The bare loop: a process of its own, which follows here what a script would do.


def bare_onnx(path: str, threads: int) -> Callable[[dict[str, Any]], object]:
    """Return what runs an ONNX file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


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
    """Hold the model and answer each line, a number of milliseconds, with the latencies of so long a loop, in ns."""
    os.sched_setaffinity(0, task["cpus"])
    with np.load(task["inputs"], allow_pickle=False) as stored:
        feeds: Feeds = [
            {name: stored[f"{feed}_{place}"] for place, name in enumerate(task["names"])}
            for feed in range(task["feeds"])
        ]
    make = bare_tflite if task["model"].endswith(".tflite") else bare_onnx
    run = make(task["model"], task["threads"])
    count = 0
    print(json.dumps([]), flush=True)
    for line in sys.stdin:
        end = time.perf_counter() + float(line) / 1e3
        taken: list[int] = []
        while not taken or time.perf_counter() < end:
            feed = feeds[count % len(feeds)]
            count += 1
            begin = time.perf_counter_ns()
            run(feed)
            taken.append(time.perf_counter_ns() - begin)
        # The first runs after the other's block find their caches empty; the engine leaves them out as well.
        print(json.dumps(taken[3:] or taken), flush=True)
    return 0


class Loop:
    """A bare loop's process."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fidelity", "--loop", json.dumps(task)],
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
        print(milliseconds, file=self._process.stdin, flush=True)
        return statistics.median(self._answer())

    def _answer(self) -> list[int]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"The bare loop ended with {self._process.wait()}.")
        told: list[int] = json.loads(line)
        return told


# The comparison.


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model with its inputs made, in a work folder."""

    model: Path
    format: str
    names: list[str]
    feeds: int
    folder: Path
    threads: int
    cpus: list[int]

    def held(self) -> Any:
        """Return the engine's process for it."""
        from edge_ai.engine.measure.held import HeldModel

        task = {
            "task": "blocks",
            "model_path": str(self.model),
            "format": self.format,
            "threads": self.threads,
            "cpus": self.cpus,
            "inputs_path": INPUTS,
            "input_names": self.names,
            "feed_count": self.feeds,
            "input": "random",
            "samples_path": "engine.npy",
        }
        return HeldModel(task, self.folder)

    def loop(self) -> Loop:
        """Return the bare loop's process for it."""
        return Loop(
            {
                "model": str(self.model),
                "threads": self.threads,
                "cpus": self.cpus,
                "inputs": str(self.folder / INPUTS),
                "names": self.names,
                "feeds": self.feeds,
            }
        )


@contextmanager
def prepared(model: Path, threads: int, cpus: list[int]) -> Iterator[Case]:
    """Make the inputs that the engine makes up for a model."""
    from edge_ai.engine.measure.inputs import prepare_inputs
    from edge_ai.engine.runtime import open_model
    from edge_ai.engine.sniff import sniff_model

    format = sniff_model(model).format
    inputs = open_model(model, format, threads=1, optimize=False).inputs
    with tempfile.TemporaryDirectory(prefix="fidelity-") as name:
        made = prepare_inputs(inputs, None, batch_size=1, path=Path(name) / INPUTS)
        yield Case(
            model=model,
            format=str(format),
            names=list(made.names),
            feeds=made.count,
            folder=Path(name),
            threads=threads,
            cpus=cpus,
        )


def start(case: Case, rounds: int, milliseconds: float) -> list[list[list[float]]]:
    """Start both and return the medians of their blocks: by round, there and back, the loop's and the engine's."""
    with case.loop() as bare, case.held() as engine:
        bare.ready()
        engine.ready()
        engine.warm_up(2.0)
        bare.block(1000.0)
        found = []
        for _ in range(rounds):
            there = [bare.block(milliseconds), float(engine.block(milliseconds))]
            back = [float(engine.block(milliseconds)), bare.block(milliseconds)][::-1]
            found.append([there, back])
        return found


def compare(model: Path, arguments: argparse.Namespace) -> bool:
    """Compare by turns and print a row; returns whether the engine's median is within the aim."""
    from edge_ai.engine.measure.interleave import ratio_of

    with prepared(model, arguments.threads, arguments.cpus) as case:
        starts = [np.array(start(case, arguments.rounds, arguments.block_ms)) for _ in range(arguments.starts)]
    bare_ms, engine_ms = (
        float(np.median(np.concatenate([one[:, :, place] for one in starts]))) / 1e6 for place in (0, 1)
    )
    found = ratio_of(starts, 0, 1, margin=MAX_RATIO - 1)
    within = 1 / MAX_RATIO <= found.ratio <= MAX_RATIO
    low, high = found.ci95
    print(
        f"| {model.name} | {bare_ms:.4f} | {engine_ms:.4f} | {100 * (found.ratio - 1):+.2f} % "
        f"| {100 * (low - 1):+.2f} to {100 * (high - 1):+.2f} % | {'yes' if within else 'no'} | {os.getloadavg()[0]:.1f} |",
        flush=True,
    )
    return within


# The runtimes' own programs.


def benchmark_app(xml: Path, arguments: argparse.Namespace) -> float:
    """Return the median latency in ms that OpenVINO's program tells of one synchronous request."""
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(xml), "-d", "CPU", "-api", "sync"]
    command += ["-hint", "none", "-nstreams", "1", "-nthreads", str(arguments.threads), "-infer_precision", "f32"]
    command += ["-t", str(round(arguments.tool_seconds)), "-json_stats", "-report_type", "no_counters"]
    with tempfile.TemporaryDirectory(prefix="benchmark-app-") as folder:
        done = subprocess.run(
            [*_pinned(arguments.cpus), *command, "-report_folder", folder], capture_output=True, text=True, check=False
        )
        reports = list(Path(folder).glob("*.json"))
        if done.returncode or not reports:
            raise RuntimeError((done.stdout + done.stderr).strip().splitlines()[-1])
        told = json.loads(reports[0].read_text())
    return float(told["execution_results"]["latency_median"])


def whole_benchmark(model: Path, format: str, arguments: argparse.Namespace) -> float:
    """Return the median latency in ms of the engine's latency run in a fresh process."""
    from edge_ai.engine.measure.child import run_task

    with prepared(model, arguments.threads, arguments.cpus) as case:
        task = {
            "task": "latency",
            "model_path": str(model),
            "format": format,
            "threads": case.threads,
            "cpus": case.cpus,
            "inputs_path": INPUTS,
            "input_names": case.names,
            "feed_count": case.feeds,
            "input": "random",
            "warmup": None,
            "max_warmup_seconds": 2.0,
            "min_seconds": arguments.tool_seconds,
            "max_seconds": arguments.tool_seconds,
            "samples_path": "samples.npz",
        }
        run_task(task, workdir=case.folder, timeout_s=600, on_tick=lambda phase, seconds: None)
        with np.load(case.folder / "samples.npz") as stored:
            return float(np.median(stored["latency_ns"])) / 1e6


def compare_tool(model: Path, arguments: argparse.Namespace) -> None:
    """Compare whole runs of the engine and of ``benchmark_app`` on the OpenVINO IR of an ONNX file, A B B A."""
    from edge_ai.engine.runtime.openvino import openvino

    with tempfile.TemporaryDirectory(prefix="ir-") as folder:
        xml = Path(folder) / "model.xml"
        read = openvino.Core().read_model(model)
        for port in read.inputs:
            shape = port.get_partial_shape()
            if shape.is_dynamic:
                raise RuntimeError(
                    f"its input {port.any_name} has the shape {shape}, which benchmark_app has to be told"
                )
        openvino.save_model(read, xml, compress_to_fp16=False)
        pairs: list[tuple[float, float]] = []
        for number in range(arguments.starts):

            def tool() -> float:
                return benchmark_app(xml, arguments)

            def ours() -> float:
                return whole_benchmark(xml, "openvino", arguments)

            if number % 2 == 0:
                theirs_ms = tool()
                pairs.append((theirs_ms, ours()))
            else:
                ours_ms = ours()
                pairs.append((tool(), ours_ms))
    theirs, engine = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(100 * (b / a - 1) for a, b in pairs)
    print(
        f"| {model.name} | {theirs:.4f} | {engine:.4f} | {statistics.median(ratios):+.1f} % "
        f"| {ratios[0]:+.1f} to {ratios[-1]:+.1f} % | {os.getloadavg()[0]:.1f} |",
        flush=True,
    )


def _pinned(cpus: Sequence[int]) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, cpus))]


def main() -> int:
    """Compare, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--cpus", type=int, nargs="+", default=sorted(os.sched_getaffinity(0))[-1:], help="to be pinned to"
    )
    parser.add_argument("--starts", type=int, default=4, help="how often the processes are started")
    parser.add_argument("--rounds", type=int, default=10, help="A B B A in each start")
    parser.add_argument("--block-ms", type=float, default=150.0)
    parser.add_argument("--tools", action="store_true", help="also benchmark_app, on the ONNX files among the models")
    parser.add_argument("--tool-seconds", type=float, default=5.0)
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        return loop(json.loads(arguments.loop))
    print("| model | bare loop, p50 ms | engine, p50 ms | engine over bare | 95 % interval | within 3 % | load |")
    print("|---|---|---|---|---|---|---|")
    good = True
    for model in arguments.models:
        try:
            good &= compare(model.resolve(), arguments)
        except Exception as error:
            good = False
            print(f"| {model.name} | fails: {str(error).splitlines()[-1][:150]} | | | | | |", flush=True)
    if arguments.tools:
        print(
            "\n| model as OpenVINO IR | benchmark_app, p50 ms | engine, p50 ms | engine over tool | range of pairs | load |"
        )
        print("|---|---|---|---|---|---|")
        for model in (each for each in arguments.models if each.suffix == ".onnx"):
            try:
                compare_tool(model.resolve(), arguments)
            except Exception as error:
                print(f"| {model.name} | not compared: {str(error).splitlines()[-1][:150]} | | | | |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
