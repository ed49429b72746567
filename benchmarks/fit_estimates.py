"""Fit what estimates of devices that are not here rest on, and write ``edge_ai/engine/estimate/fit.json``.

Every model (``MODEL`` or ``MODEL:SAMPLES.npz``) is brought to ONNX where it is not, and into the precisions of
``--precisions``; what cannot be made is left out, and said. Each is measured in a process of its own on one processor:
every operator, the whole without the profiler on one thread and on two, and memory. One thread is timed by the processor
time of its process, and the quickest tenth of the runs counts, so that other work on the machine matters less. What was
measured is kept in ``--work``, so that a run that was stopped goes on; ``--fit-only`` fits anew what is there.

    python -m benchmarks.fit_estimates --work /tmp/fit MODEL.onnx:SAMPLES.npz MODEL.tflite …
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FIT: Final = Path(__file__).resolve().parent.parent / "edge_ai/engine/estimate/fit.json"
PRECISIONS: Final = ("int8", "int8_dynamic")
MAX_PROFILED, PROFILED_SECONDS, TOTAL_SECONDS = 60, 3.0, 3.0
#: Of the runs on a machine that others use too, those that were left alone.
QUIET: Final = 0.1
#: The profile cuts each time down to whole microseconds.
CUT_US: Final = 0.5
FORM: Final = re.compile(r"(-(h5|keras|savedmodel|tflite|onnx|fp32|fp16|int8|ifless))+$")
LATENCIES: Final = Path("measured.jsonl")
#: Vector lanes of 32 bits by the widest instructions, and what VNNI does with bytes in the place of one of them.
LANES: Final = {"avx512f": 16, "avx2": 8, "sse4_1": 4}
PIPES: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="MODEL or MODEL:SAMPLES.npz")
    parser.add_argument("--work", type=Path, required=True, help="Where variants and measurements are kept.")
    parser.add_argument("--precisions", nargs="*", default=list(PRECISIONS), help="Variants to make of each model.")
    parser.add_argument("--fit-only", action="store_true", help="Fit what was measured before.")
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    parser.add_argument("--output", type=Path, default=FIT)
    parser.add_argument("--measure", nargs=2, metavar=("MODEL", "SAMPLES"), help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.measure:
        print(json.dumps(measure(Path(given.measure[0]), given.measure[1])))
        return 0
    given.work.mkdir(parents=True, exist_ok=True)
    if not given.fit_only:
        measure_all(given.models, given.work, given.precisions, again=given.again)
    measured = [json.loads(line) for line in (given.work / LATENCIES).read_text().splitlines()]
    rows = {row["name"]: row | {"network": FORM.sub("", row["network"])} for row in measured}
    write(list(rows.values()), host(), given.output)
    return 0


def measure_all(models: Iterable[str], work: Path, precisions: Sequence[str], *, again: bool) -> None:
    """Measure what has not been measured, and keep it."""
    kept = work / LATENCIES
    known = (
        set() if again or not kept.exists() else {json.loads(line)["name"] for line in kept.read_text().splitlines()}
    )
    for model in models:
        path, _, samples = model.partition(":")
        for name, variant in variants(Path(path), samples, work, precisions):
            if name in known:
                continue
            command = [sys.executable, "-m", "benchmarks.fit_estimates", "--work", str(work)]
            run = subprocess.run(
                [*command, "--measure", str(variant), samples or "-"], capture_output=True, text=True, check=False
            )
            if run.returncode:
                print(f"{name}: not measured: {run.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            row = {"name": name, "network": network_of(Path(path)), **json.loads(run.stdout.strip().splitlines()[-1])}
            with kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(f"{name}: {row['total_us'] / 1e3:.3f} ms, {len(row['operators'])} operators", flush=True)


def network_of(path: Path) -> str:
    """Return which network a file holds: what its name says of format and precision tells no networks apart."""
    return FORM.sub("", path.stem)


def variants(path: Path, samples: str, work: Path, precisions: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the model in ONNX, and in the precisions that can be made of it."""
    base = path if path.suffix == ".onnx" else work / f"{path.stem}.onnx"
    wanted = [] if path.suffix == ".onnx" else [(path, base, "fp32", path.stem)]
    wanted += [(base, work / f"{path.stem}-{each}.onnx", each, f"{path.stem} {each}") for each in precisions]
    if path.suffix == ".onnx":
        yield path.stem, path
    for source, target, precision, name in wanted:
        if not source.exists():
            return
        if not target.exists():
            make = ["quantize", str(source), "-o", str(target), "--precision", precision, "--to", "onnx", "--no-search"]
            data = ["--dataset", samples] if samples else []
            command = [sys.executable, "-m", "edge_ai.engine", *make, *data]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                print(f"{name}: not made: {run.stderr.strip().splitlines()[-1:]}", file=sys.stderr, flush=True)
                continue
        yield name, target


def measure(model: Path, samples: str) -> dict[str, Any]:
    """Measure one model in this process."""
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[-1:])
    from edge_ai.engine.estimate.trace import trace
    from edge_ai.engine.evaluate.dataset import load_dataset
    from edge_ai.engine.formats.onnx import read_model, weights
    from edge_ai.engine.formats.onnx_shapes import infer, peak_activation_bytes
    from edge_ai.engine.measure.inputs import dataset_feeds, made_up_feeds
    from edge_ai.engine.measure.memory import read_rise_mb, read_used_mb
    from edge_ai.engine.runtime import open_model
    from edge_ai.engine.runtime.onnx import open_session
    from edge_ai.engine.spec import Format

    inputs = open_model(model, Format.ONNX, threads=1, optimize=False).inputs
    if samples == "-":
        feeds = made_up_feeds(inputs, 1)[:1]
    else:
        feeds = dataset_feeds(inputs, load_dataset(Path(samples)).matched(inputs), 1)[:1]
    feed = {item.name: feeds[0][item.name] for item in inputs}
    # The peak from here on: reading samples may have taken more before.
    Path("/proc/self/clear_refs").write_text("5")
    before_mb = read_used_mb() or 0.0
    one = open_session(model, Format.ONNX, threads=1)
    total_us = quiet_part(taken_us(lambda: one.run(feed), time.process_time_ns))
    loaded_mb = (read_used_mb() or 0.0) + (read_rise_mb() or 0.0) - before_mb
    prefix = Path(f"/tmp/fit-estimates-{os.getpid()}")  # noqa: S108 - deleted after it was read
    repeat = max(5, min(MAX_PROFILED, round(PROFILED_SECONDS * 1e6 / total_us)))
    shaped = trace(model, ort_format=False, feeds=[feed] * 2, prefix=prefix)
    timed = trace(model, ort_format=False, feeds=[feed] * repeat, prefix=prefix, prepack=True)
    # The names that the optimizer makes up, and the order, differ from session to session; what is made does not.
    shaped, timed = (sorted(each, key=lambda one: (one.work.type, str(one.outputs))) for each in (shaped, timed))
    if [(each.work.type, each.outputs) for each in shaped] != [(each.work.type, each.outputs) for each in timed]:
        raise SystemExit("The operators differ from run to run.")
    times_us = [quiet_part(each.durations_us) + CUT_US for each in timed]
    spent_us = sum(each.work.calls * time_us for each, time_us in zip(timed, times_us, strict=True))
    # The profiler's clock runs on while others have the processor: together, operators take no longer than the whole.
    scale = min(1.0, total_us / spent_us)
    two_us = None
    if len(cpus) > 1:
        os.sched_setaffinity(0, cpus[:2])
        two = sleeping_session(model)
        two_us = quiet_part(longer_share_us(lambda: two.run(None, feed)))
    graph = read_model(model)
    return {
        "total_us": total_us,
        "two_threads_us": two_us,
        "memory_bytes": round(loaded_mb * 1e6),
        "weight_bytes": sum(weight.size_bytes for weight in weights(graph)),
        "activation_bytes": peak_activation_bytes(graph, infer(graph)),
        "operators": [
            {
                "type": shape.work.type,
                "inputs": [[tensor.dtype, list(tensor.shape)] for tensor in shape.inputs],
                "outputs": [[tensor.dtype, list(tensor.shape)] for tensor in shape.outputs],
                "calls": shape.work.calls,
                "us": time_us * scale,
            }
            for shape, time_us in zip(shaped, times_us, strict=True)
        ],
    }


def sleeping_session(model: Path) -> Any:
    """Return a session with two threads that sleep while they wait, so that processor time is what they work."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def taken_us(run: Callable[[], object], clock: Callable[[], int]) -> list[float]:
    """Return how long runs took by a clock of this process or thread, which stops while others have the processor."""
    taken: list[float] = []
    run()
    end = time.perf_counter() + TOTAL_SECONDS
    while len(taken) < 5 or time.perf_counter() < end:
        began = clock()
        run()
        taken.append((clock() - began) / 1e3)
    return taken


def longer_share_us(run: Callable[[], object]) -> list[float]:
    """Return how long that one of two threads worked that worked longer, in microseconds of processor time.

    With two processors to themselves a run takes no less; how long others have the processors meanwhile does not count.
    """
    taken: list[float] = []
    run()
    end = time.perf_counter() + TOTAL_SECONDS
    while len(taken) < 5 or time.perf_counter() < end:
        both, caller = time.process_time_ns(), time.thread_time_ns()
        run()
        both, caller = time.process_time_ns() - both, time.thread_time_ns() - caller
        taken.append(max(caller, both - caller) / 1e3)
    return taken


def quiet_part(taken: Sequence[float]) -> float:
    """Return the mean of the least fifth, whose middle is the tenth percentile: some times are whole numbers."""
    ordered = sorted(taken)
    part = ordered[: max(1, round(2 * QUIET * len(ordered)))]
    return sum(part) / len(part)


def host() -> dict[str, Any]:
    """This machine: what its processor could do at most, and what memory gave to a copy."""
    from edge_ai.catalogue.host import detect_host

    facts = detect_host()
    text = Path("/proc/cpuinfo").read_text()
    clock = re.search(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)
    mhz = float(facts.cpu_frequency_mhz or (clock[1] if clock else 0))
    lanes = next((count for name, count in LANES.items() if name in facts.cpu_extensions), 0)
    if not mhz or not lanes:
        raise SystemExit("This machine does not tell its clock or its vector instructions.")
    gflops = mhz / 1e3 * PIPES * lanes * 2
    int8 = 4 if {"avx512_vnni", "avx_vnni"} & set(facts.cpu_extensions) else 2
    return {
        "cpu_model": facts.cpu_model,
        "architecture": facts.cpu_architecture,
        "extensions": list(facts.cpu_extensions),
        "cpu_frequency_mhz": round(mhz),
        "peak_gflops_fp32": gflops,
        "peak_tops_int8": gflops * int8 / 1e3,
        "peak_source": (
            f"derived for one processor: {mhz:g} MHz × {PIPES} pipes × {lanes} lanes × 2 operations; int8 {int8} × that"
        ),
        "memory_bandwidth_gb_s": copied_gb_s(),
        "memory_bandwidth_source": "measured: the best of 20 copies of 128 MB by NumPy, read and written bytes",
        "threads": 1,
        "processors": len(os.sched_getaffinity(0)),
    }


def copied_gb_s() -> float:
    """Return how fast one processor copies what no cache of its own holds."""
    import numpy as np

    source = np.ones(32 << 20, dtype=np.float32)
    target = np.zeros_like(source)
    best = 0.0
    for _ in range(20):
        began = time.process_time()
        np.copyto(target, source)
        best = max(best, 2 * source.nbytes / (time.process_time() - began) / 1e9)
    return round(best, 2)


def write(measured: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], output: Path) -> None:
    """Fit, validate, and write the file."""
    from edge_ai.engine.estimate.fitting import fit_all
    from edge_ai.engine.report import versions_of

    fitted = fit_all(measured, machine)
    fitted |= {
        "measured_at": datetime.now(UTC).date().isoformat(),
        "machine": dict(machine),
        "libraries": versions_of(["onnxruntime"]) | {"python": platform.python_version()},
    }
    output.write_text(json.dumps(fitted, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(fitted["validation"], indent=1))


if __name__ == "__main__":
    sys.exit(main())
