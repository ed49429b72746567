"""The process that is measured: `python -m edge_ai.engine.measure.runner`, JSON lines on stdin and stdout, a task first.

It pins itself, imports NumPy and one runtime and nothing else that is heavy, does one task and ends:

``baseline``
    what the runtime costs in memory with a model that does nothing;
``latency``
    cold load, first inference, warm-up, steady state, warm load;
``throughput``
    inferences a second with several streams at once;
``profile``
    time by operator;
``blocks``
    blocks of inferences on command, see `edge_ai.engine.measure.blocks`.

What went wrong is the last line: `{"type": "error", "where", "exception", "message"}`, which the parent explains, or
`{"type": "refused", ...}`, an `EngineError` that the runtime's module made of it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from edge_ai.engine.errors import EngineError
from edge_ai.engine.measure.blocks import serve_blocks
from edge_ai.engine.measure.child import to_json
from edge_ai.engine.measure.energy import EnergyReading, energy_between_mj, read_energy
from edge_ai.engine.measure.loaded import (
    NS_PER_MS,
    NS_PER_S,
    Say,
    StepError,
    Task,
    drop_from_page_cache,
    import_runtime,
    load_feeds,
    load_model,
    round_and_round,
    step,
)
from edge_ai.engine.measure.memory import measure_of_used, peak_of, read_high_water_mb, read_rise_mb, read_used_mb
from edge_ai.engine.measure.operators import measure_operators
from edge_ai.engine.measure.statistics import count_outliers
from edge_ai.engine.measure.steady import record, warm_up
from edge_ai.engine.measure.throughput import measure_throughput
from edge_ai.engine.measure.watch import Watch
from edge_ai.engine.spec import Format

EMPTY_MODEL: Final = (
    b'\x08\x08:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05emptyZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""A serialized ONNX model of one Identity from ``x`` to ``y``, float32 of shape (1,), opset 13."""

_WARM_LOADS: Final = 3
_WARM_LOADS_NS: Final = 2 * NS_PER_S
_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    """Do the task on stdin and answer on what stdout was at the start."""
    # Native libraries print to fd 1 as they like; the protocol keeps a private copy of it.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A parent that is killed takes this process with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if len(sys.argv) > 1 and os.getppid() != int(sys.argv[1]):
        return 1  # it was killed before that was said: nobody waits for an answer

    def answer(**fields: object) -> None:
        protocol.write(json.dumps(fields) + "\n")
        protocol.flush()

    task: Task = json.loads(sys.stdin.readline())
    try:
        if task["cpus"]:
            with step("pin"):
                os.sched_setaffinity(0, task["cpus"])
        if task["task"] == "blocks":
            result: Mapping[str, object] = serve_blocks(task, answer)
        else:
            result = TASKS[task["task"]](task, lambda phase: answer(type="phase", phase=phase))
    except StepError as error:
        answer(type="error", where=error.where, exception=error.exception, message=str(error))
        return 1
    except EngineError as error:
        answer(type="refused", **to_json(error))
        return 1
    answer(type="result", result=result)
    return 0


def measure_baseline(task: Task, say: Say) -> dict[str, object]:
    """Measure the memory of a process that holds onnxruntime, the inputs and a model that does nothing."""
    from edge_ai.engine.runtime.onnx import open_session

    say("load")
    feeds = load_feeds(task)
    with step("load"):
        session = open_session(EMPTY_MODEL, Format.ONNX, threads=task["threads"])
    return {"used_mb": read_used_mb(), "feeds": len(feeds), "provider": session.provider}


def measure_latency(task: Task, say: Say) -> dict[str, object]:
    """Measure loading, the first inference and the steady state, in this order; write every sample to a file."""
    feeds = load_feeds(task)
    import_ms = import_runtime(task)
    imported_mb = read_used_mb()
    say("load")
    dropped = drop_from_page_cache(Path(task["model_path"]))
    begin_ns = time.perf_counter_ns()
    session = load_model(task)
    cold_ms = (time.perf_counter_ns() - begin_ns) / NS_PER_MS
    loaded_mb = read_used_mb()

    run = round_and_round(session, feeds)
    say("warmup")
    with step("run"):
        begin_ns = time.perf_counter_ns()
        run()
        first_ms = (time.perf_counter_ns() - begin_ns) / NS_PER_MS
        warmed = warm_up(run, runs=task["warmup"], max_seconds=task["max_warmup_seconds"])
    # Read here, before the samples take memory of their own.
    used_mb, rise_mb, high_water_mb = read_used_mb(), read_rise_mb(), read_high_water_mb()

    say("measure")
    gc.collect()
    gc.freeze()
    gc.disable()
    with step("run"):
        energy_before = read_energy()
        watch = Watch()
        steady = record(
            run, min_seconds=task["min_seconds"], max_seconds=task["max_seconds"], disturbed=watch.is_disturbed
        )
        spent = watch.spent()
        energy_after = read_energy()
    gc.enable()
    np.savez_compressed(task["samples_path"], latency_ns=steady.latency_ns, started_ns=steady.started_ns)

    say("reload")
    energy: dict[str, object] = {"energy_mj": None, "energy_reason": None}
    if isinstance(energy_before, EnergyReading) and isinstance(energy_after, EnergyReading):
        energy["energy_mj"] = energy_between_mj(energy_before, energy_after) / steady.runs
    else:
        energy["energy_reason"] = energy_before if isinstance(energy_before, str) else str(energy_after)
    return energy | {
        "import_ms": import_ms,
        "imported_mb": imported_mb,
        "cold_ms": cold_ms,
        "page_cache_dropped": dropped,
        "warm_ms": _warm_load_ms(task),
        "first_inference_ms": first_ms,
        "warmup": {"runs": warmed.runs, "seconds": warmed.seconds, "stable": warmed.stable},
        "loaded_mb": loaded_mb,
        "peak_mb": peak_of(used_mb, rise_mb, earlier_mb=(imported_mb, loaded_mb)),
        "high_water_mb": high_water_mb,
        "memory_measure": measure_of_used(),
        "cpu_percent": 100.0 * (spent.user_s + spent.system_s) / spent.wall_s,
        "cpu_time": {
            "wall_s": spent.wall_s,
            "user_s": spent.user_s,
            "system_s": spent.system_s,
            "ms_per_inference": 1e3 * (spent.user_s + spent.system_s - steady.looks_cpu_seconds) / steady.runs,
        },
        "measured_seconds": spent.wall_s,
        "stop": {"reason": steady.reason, "within": steady.within, "prolonged_seconds": steady.prolonged_seconds},
        "noise": asdict(watch.signals(steady.latency_ns)),
        "outliers": count_outliers(steady.latency_ns),
        "runtime": session.runtime,
        "runtime_version": session.runtime_version,
        "provider": session.provider,
    }


TASKS: Final[Mapping[str, Callable[[Task, Say], Mapping[str, object]]]] = {
    "baseline": measure_baseline,
    "latency": measure_latency,
    "throughput": measure_throughput,
    "profile": measure_operators,
}


def _warm_load_ms(task: Task) -> float:
    """Return the median time to open another session, with the file in the page cache and the runtime warm."""
    times_ms: list[float] = []
    end_ns = time.perf_counter_ns() + _WARM_LOADS_NS
    while len(times_ms) < _WARM_LOADS and (not times_ms or time.perf_counter_ns() < end_ns):
        begin_ns = time.perf_counter_ns()
        session = load_model(task)
        times_ms.append((time.perf_counter_ns() - begin_ns) / NS_PER_MS)
        del session
    return sorted(times_ms)[len(times_ms) // 2]


if __name__ == "__main__":
    raise SystemExit(main())
