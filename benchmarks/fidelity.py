"""Is what the studio measures what a bare loop measures? ``python -m benchmarks.fidelity MODEL…``.

For each model, processes of the engine's runner and of a bare loop around the same runtime
(:mod:`benchmarks.bare_loop`) hold the model with the same threads, the same inputs and the same
processors, and run blocks by turns, A B B A. The ratio of the medians of neighbouring blocks, over several starts of the
processes, is what the studio adds; its interval is that of the engine's own comparisons of models (`interleave.ratio_of`).
After that whole latency runs of the engine and whole loops, each in a fresh process, A B B A, with their processor time.

Models are ONNX and TensorFlow Lite files. With ``tools`` among the ``--tables`` a runtime's own program runs
by turns with the engine, too: OpenVINO's ``benchmark_app``, on OpenVINO IR made from the ONNX files.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bare_loop import Loop

MAX_RATIO = 1.03
INPUTS = "inputs.npz"


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
    from edge_ai.engine.spec import Format

    format = Format.OPENVINO if model.suffix == ".xml" else sniff_model(model).format
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


def benchmark_app(xml: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Return what OpenVINO's program tells of one synchronous request, as `Loop.run`.

    Its report is rounded to hundredths of a millisecond; what it prints is not. What the processor time of one inference is, a
    run of a single one beside the timed run shows.
    """
    once, _ = _run_app(xml, arguments, "-niter", "1")
    timed, said = _run_app(xml, arguments, "-t", str(round(arguments.whole_seconds)))
    latency = re.search(r"Median:\s+([\d.]+) (us|ms)", said)
    count = re.search(r"Count:\s+(\d+) iterations", said)
    if latency is None or count is None:
        raise RuntimeError("benchmark_app did not print its median and its count")
    return {
        "p50_ns": float(latency[1]) * (1e3 if latency[2] == "us" else 1e6),
        "cpu_ns": (timed - once) * 1e9 / max(1, int(count[1]) - 1),
    }


def _run_app(xml: Path, arguments: argparse.Namespace, *how_long: str) -> tuple[float, str]:
    """Run it; returns its processor seconds and what it printed."""
    command = ["taskset", "-c", ",".join(map(str, arguments.cpus))]
    command += [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(xml), "-d", "CPU", "-api", "sync"]
    command += ["-hint", "none", "-nstreams", "1", "-nthreads", str(arguments.threads), "-infer_precision", "f32"]
    with tempfile.TemporaryDirectory(prefix="benchmark-app-") as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, *how_long, "-report_type", "no_counters", "-report_folder", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip().splitlines()[-1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def whole_benchmark(model: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Return what the engine's latency run in a fresh process tells, as `Loop.run`."""
    from edge_ai.engine.measure.child import run_task

    with prepared(model, arguments.threads, arguments.cpus) as case:
        task = {
            "task": "latency",
            "model_path": str(model),
            "format": case.format,
            "threads": case.threads,
            "cpus": case.cpus,
            "inputs_path": INPUTS,
            "input_names": case.names,
            "feed_count": case.feeds,
            "input": "random",
            "warmup": None,
            "max_warmup_seconds": 2.0,
            "min_seconds": arguments.whole_seconds,
            "max_seconds": arguments.whole_seconds,
            "samples_path": "samples.npz",
        }
        told = run_task(task, workdir=case.folder, timeout_s=600, on_tick=lambda phase, seconds: None)
        with np.load(case.folder / "samples.npz") as stored:
            p50_ns = float(np.median(stored["latency_ns"]))
    return {"p50_ns": p50_ns, "cpu_ns": told["cpu_time"]["ms_per_inference"] * 1e6}


def whole_loop(model: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the same of the bare loop in a fresh process."""
    with prepared(model, arguments.threads, arguments.cpus) as case, case.loop() as bare:
        bare.ready()
        bare.run(1000.0)
        return bare.run(arguments.whole_seconds * 1e3)


def by_turns(
    first: Callable[[], dict[str, float]], second: Callable[[], dict[str, float]], times: int
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Return pairs of runs, A B B A …"""
    pairs = []
    for number in range(times):
        if number % 2 == 0:
            told = first()
            pairs.append((told, second()))
        else:
            told = second()
            pairs.append((first(), told))
    return pairs


def row(name: str, pairs: Sequence[tuple[dict[str, float], dict[str, float]]], *kinds: str) -> None:
    """Print medians, the median of the pairs' ratios and their range, of each kind of time."""
    cells = []
    for kind in kinds:
        a_ms, b_ms = (statistics.median(one[kind] for one in column) / 1e6 for column in zip(*pairs, strict=True))
        ratios = sorted(100 * (b[kind] / a[kind] - 1) for a, b in pairs)
        cells.append(
            f"{a_ms:.4f} | {b_ms:.4f} | {statistics.median(ratios):+.1f} % ({ratios[0]:+.1f} to {ratios[-1]:+.1f})"
        )
    print(f"| {name} | {' | '.join(cells)} | {os.getloadavg()[0]:.1f} |", flush=True)


def compare_whole(model: Path, arguments: argparse.Namespace) -> None:
    """Compare whole runs in fresh processes, with their processor time, which other processes hardly change."""
    pairs = by_turns(lambda: whole_loop(model, arguments), lambda: whole_benchmark(model, arguments), arguments.starts)
    row(model.name, pairs, "p50_ns", "cpu_ns")


def compare_tool(model: Path, arguments: argparse.Namespace) -> None:
    """Compare whole runs of the engine and of ``benchmark_app`` on the OpenVINO IR of an ONNX file, A B B A.

    Free axes get the sizes that the engine makes inputs up with, so that both run the same shapes.
    """
    from edge_ai.engine.measure.inputs import made_up_feeds
    from edge_ai.engine.runtime import open_model
    from edge_ai.engine.runtime.openvino import openvino
    from edge_ai.engine.spec import Format

    with tempfile.TemporaryDirectory(prefix="ir-") as folder:
        xml = Path(folder) / "model.xml"
        feed = made_up_feeds(open_model(model, Format.ONNX, threads=1, optimize=False).inputs, 1)[0]
        read = openvino.Core().read_model(model)
        read.reshape({name: list(array.shape) for name, array in feed.items()})
        openvino.save_model(read, xml, compress_to_fp16=False)
        pairs = by_turns(
            lambda: benchmark_app(xml, arguments),
            lambda: whole_benchmark(xml, arguments),
            arguments.starts,
        )
    row(model.name, pairs, "p50_ns", "cpu_ns")


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
    parser.add_argument("--tables", nargs="+", choices=["blocks", "whole", "tools"], default=["blocks", "whole"])
    parser.add_argument("--whole-seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    good = True

    def each(models: Iterable[Path], print_row: Callable[[Path], object]) -> None:
        nonlocal good
        for model in models:
            try:
                good &= print_row(model.resolve()) is not False
            except Exception as error:
                good = False
                print(f"| {model.name} | fails: {str(error).splitlines()[-1][:150]} |", flush=True)

    if "blocks" in arguments.tables:
        print("\nBy turns, in blocks\n")
        print("| model | bare loop, p50 ms | engine, p50 ms | engine over bare | 95 % interval | within 3 % | load |")
        print("|---|---|---|---|---|---|---|")
        each(arguments.models, lambda model: compare(model, arguments))
    if "whole" in arguments.tables:
        print("\nWhole runs in fresh processes; ratios: median (range) of the pairs\n")
        print("| model | bare, p50 ms | engine, p50 ms | ratio | bare, CPU ms | engine, CPU ms | ratio | load |")
        print("|---|---|---|---|---|---|---|---|")
        each(arguments.models, lambda model: compare_whole(model, arguments))
    if "tools" in arguments.tables:
        print("\nOpenVINO's own program, on the OpenVINO IR of the ONNX files\n")
        print("| model | tool, p50 ms | engine, p50 ms | ratio | tool, CPU ms | engine, CPU ms | ratio | load |")
        print("|---|---|---|---|---|---|---|---|")
        each((one for one in arguments.models if one.suffix == ".onnx"), lambda model: compare_tool(model, arguments))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
