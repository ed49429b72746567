"""The task ``blocks`` of a measured process: it keeps its model loaded and runs a block of inferences when told to.

Commands are JSON lines on stdin, each answered by one line: ``warm_up``, ``block``, and ``finish``, which ends it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from edge_ai.engine.measure.loaded import NS_PER_MS, Task, import_runtime, load_feeds, load_model, round_and_round, step
from edge_ai.engine.measure.noise import NOTHING_SPENT, add_between, read_counters, signals_between
from edge_ai.engine.measure.statistics import half_drift, robust_cv
from edge_ai.engine.measure.steady import warm_up

MAX_SAMPLES: Final = 1_000_000
_REWARM_RUNS: Final = 3
_REWARM_SHARE: Final = 0.1
_LEAST_RUNS: Final = 5
"""Of a model that fits a block so often: fewer come of a block that was mostly spent waiting for a processor."""

_LONGEST: Final = 4
"""How many times as long as asked for a block may become for that."""

Answer = Callable[..., None]


def serve_blocks(task: Task, answer: Answer) -> dict[str, object]:
    """Load the model and obey commands until ``finish``, whose answer this returns.

    Parameters
    ----------
    task
        As of every measured process.
    answer
        Writes a line of JSON.
    """
    feeds = load_feeds(task)
    import_runtime(task)
    session = load_model(task)
    run = round_and_round(session, feeds)
    latencies, medians = array("q"), array("q")
    cpus = sorted(os.sched_getaffinity(0))
    spent = NOTHING_SPENT
    usual_ns = 0
    gc.disable()
    answer(type="done")
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        if command["do"] == "finish":
            break
        with step("run"):
            if command["do"] == "warm_up":
                usual_ns = _warm_up(run, float(command["max_seconds"]))
                answer(type="done", run_ns=usual_ns)
                gc.collect()
                gc.freeze()
                continue
            before = read_counters(cpus)
            block = _block(run, int(command["ms"] * NS_PER_MS), usual_ns)
            spent = add_between(spent, before, read_counters(cpus))
        median_ns = int(np.median(np.frombuffer(block, dtype=np.int64)))
        medians.append(median_ns)
        usual_ns = min(usual_ns or median_ns, median_ns)
        latencies.extend(block[: MAX_SAMPLES - len(latencies)])
        answer(type="done", median_ns=median_ns, runs=len(block))
    latency_ns = np.frombuffer(latencies, dtype=np.int64)
    np.save(task["samples_path"], latency_ns, allow_pickle=False)
    signals = signals_between(
        NOTHING_SPENT,
        spent,
        processors=len(cpus),
        drift=half_drift(np.frombuffer(medians, dtype=np.int64)),
        cv=robust_cv(latency_ns) if len(latency_ns) else 0.0,
    )
    return {
        "runtime": session.runtime,
        "runtime_version": session.runtime_version,
        "provider": session.provider,
        "noise": asdict(signals),
    }


def _warm_up(run: Callable[[], object], max_seconds: float) -> int:
    """Run until the latency has settled; returns how long the last inference took, in ns."""
    run()
    warm_up(run, runs=None, max_seconds=max_seconds)
    begin_ns = time.perf_counter_ns()
    run()
    return time.perf_counter_ns() - begin_ns


def _block(run: Callable[[], object], length_ns: int, usual_ns: int) -> array[int]:
    """Run for a while and return the latencies, at least one.

    The first runs are not recorded where they are a small part of the block: another process had the caches before. What a
    run takes usually decides that, and how many there must be, since one that had to wait for a processor may fill the block.
    """
    clock = time.perf_counter_ns
    latencies = array("q")
    if usual_ns <= length_ns * _REWARM_SHARE:
        for _ in range(_REWARM_RUNS):
            run()
    least = min(_LEAST_RUNS, max(1, length_ns // max(1, usual_ns)))
    begin_ns = stop = clock()
    while (
        not latencies
        or stop - begin_ns < length_ns
        or (len(latencies) < least and stop - begin_ns < _LONGEST * length_ns)
    ):
        start = clock()
        run()
        stop = clock()
        latencies.append(stop - start)
    return latencies
