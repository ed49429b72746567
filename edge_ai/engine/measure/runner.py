"""The process that is measured: `python -m edge_ai.engine.measure.runner`, a task on stdin, JSON lines on stdout.

It pins itself, imports numpy and one runtime and nothing else that is heavy, does one task and ends:

``baseline``
    what the runtime costs in memory with a model that does nothing;
``latency``
    cold load, first inference, warm-up, steady state, warm load;
``throughput``
    inferences a second with several streams at once;
``profile``
    time by operator.

It explains nothing itself: what went wrong is the last line, `{"type": "error", "where", "exception", "message"}`.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

EMPTY_MODEL: Final = (
    b'\x08\x08:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05emptyZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""A serialized ONNX model of one Identity from ``x`` to ``y``, float32 of shape (1,), opset 13."""

_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1_000_000_000
_WARM_LOADS: Final = 3
_WARM_LOADS_NS: Final = 2 * _NS_PER_S
_PROFILE_RUNS: Final = 50
_PROFILE_NS: Final = 1 * _NS_PER_S
_PR_SET_PDEATHSIG: Final = 1

Feed = Mapping[str, "npt.NDArray[Any]"]
Task = Mapping[str, Any]
Say = Callable[[str], None]


class StepError(Exception):
    """A step of the task failed: which one, and with which kind of exception."""

    def __init__(self, where: str, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.where = where
        self.exception = type(cause).__name__


@contextmanager
def step(where: str) -> Iterator[None]:
    """Name the step in which an exception is raised; runtimes raise classes of their own, so all are caught."""
    try:
        yield
    except Exception as error:
        raise StepError(where, error) from error


def main() -> int:
    """Do the task on stdin and answer on what stdout was at the start."""
    # Native libraries print to fd 1 as they like; the protocol keeps a private copy of it.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A parent that is killed takes this process with it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def answer(**fields: object) -> None:
        protocol.write(json.dumps(fields) + "\n")
        protocol.flush()

    task: Task = json.load(sys.stdin)
    try:
        if task["cpus"]:
            with step("pin"):
                os.sched_setaffinity(0, task["cpus"])
        result = TASKS[task["task"]](task, lambda phase: answer(type="phase", phase=phase))
    except StepError as error:
        answer(type="error", where=error.where, exception=error.exception, message=str(error))
        return 1
    answer(type="result", result=result)
    return 0


def measure_baseline(task: Task, say: Say) -> dict[str, object]:
    """Measure the memory of a process that holds the runtime, the inputs and a model that does nothing."""
    from edge_ai.engine.measure.memory import read_used_mb

    say("load")
    feeds = _load_feeds(task)
    with step("load"):
        session = _open_session(task, model=EMPTY_MODEL)
    return {"used_mb": read_used_mb(), "feeds": len(feeds), "provider": session.get_providers()[0]}


def measure_latency(task: Task, say: Say) -> dict[str, object]:
    """Measure loading, the first inference and the steady state, in this order; write every sample to a file."""
    import numpy as np

    begin_ns = time.perf_counter_ns()
    import onnxruntime

    import_ms = (time.perf_counter_ns() - begin_ns) / _NS_PER_MS
    from edge_ai.engine.measure.energy import EnergyReading, energy_between_mj, read_energy
    from edge_ai.engine.measure.memory import read_rise_mb, read_used_mb
    from edge_ai.engine.measure.noise import read_counters, signals_between
    from edge_ai.engine.measure.statistics import half_drift, robust_cv
    from edge_ai.engine.measure.steady import record, warm_up

    say("load")
    feeds = _load_feeds(task)
    dropped = _drop_from_page_cache(Path(task["model_path"]))
    with step("load"):
        begin_ns = time.perf_counter_ns()
        session = _open_session(task)
        cold_ms = (time.perf_counter_ns() - begin_ns) / _NS_PER_MS
    loaded_mb = read_used_mb()

    run = _runner(session, feeds)
    say("warmup")
    with step("run"):
        begin_ns = time.perf_counter_ns()
        run()
        first_ms = (time.perf_counter_ns() - begin_ns) / _NS_PER_MS
        warmed = warm_up(run, runs=task["warmup"], max_seconds=task["max_warmup_seconds"])
    # Read here, before the samples take memory of their own.
    used_mb, rise_mb = read_used_mb(), read_rise_mb()

    say("measure")
    cpus = sorted(os.sched_getaffinity(0))
    gc.collect()
    gc.freeze()
    gc.disable()
    with step("run"):
        energy_before = read_energy()
        before = read_counters(cpus)
        steady = record(run, min_seconds=task["min_seconds"], max_seconds=task["max_seconds"])
        after = read_counters(cpus)
        energy_after = read_energy()
    gc.enable()
    np.savez_compressed(task["samples_path"], latency_ns=steady.latency_ns, started_ns=steady.started_ns)

    say("reload")
    signals = signals_between(
        before,
        after,
        processors=len(cpus),
        drift=half_drift(steady.latency_ns),
        cv=robust_cv(steady.latency_ns),
    )
    wall_s = max(after.wall_s - before.wall_s, 1e-9)
    energy: dict[str, object] = {"energy_mj": None, "energy_reason": None}
    if isinstance(energy_before, EnergyReading) and isinstance(energy_after, EnergyReading):
        energy["energy_mj"] = energy_between_mj(energy_before, energy_after) / len(steady.latency_ns)
    else:
        energy["energy_reason"] = energy_before if isinstance(energy_before, str) else str(energy_after)
    return energy | {
        "import_ms": import_ms,
        "cold_ms": cold_ms,
        "page_cache_dropped": dropped,
        "warm_ms": _warm_load_ms(task),
        "first_inference_ms": first_ms,
        "warmup": {"runs": warmed.runs, "seconds": warmed.seconds, "stable": warmed.stable},
        "loaded_mb": loaded_mb,
        "peak_mb": None if used_mb is None or rise_mb is None else used_mb + rise_mb,
        "cpu_percent": 100.0 * (after.own_s - before.own_s) / wall_s,
        "measured_seconds": wall_s,
        "stop": {"reason": steady.reason, "within": steady.within},
        "noise": {
            "run_delay": signals.run_delay,
            "others_busy": signals.others_busy,
            "steal": signals.steal,
            "drift": signals.drift,
            "cv": signals.cv,
        },
        "runtime_version": onnxruntime.__version__,
        "provider": session.get_providers()[0],
    }


def measure_throughput(task: Task, say: Say) -> dict[str, object]:
    """Count the inferences of several streams that share one session and never pause."""
    say("load")
    feeds = _load_feeds(task)
    with step("load"):
        session = _open_session(task)
    streams = int(task["streams"])
    duration_ns = int(task["seconds"] * _NS_PER_S)
    counts, spent_ns = [0] * streams, [1] * streams
    failures: list[Exception] = []
    barrier = threading.Barrier(streams + 1)

    def stream(number: int) -> None:
        run = _runner(session, feeds, first=number)
        try:
            run()
        except Exception as error:
            failures.append(error)
        barrier.wait()
        if failures:
            return
        begin_ns = time.perf_counter_ns()
        end_ns, now_ns, count = begin_ns + duration_ns, begin_ns, 0
        try:
            while now_ns < end_ns:
                run()
                now_ns = time.perf_counter_ns()
                count += 1
        except Exception as error:
            failures.append(error)
            return
        counts[number], spent_ns[number] = count, now_ns - begin_ns

    threads = [threading.Thread(target=stream, args=(number,), daemon=True) for number in range(streams)]
    for thread in threads:
        thread.start()
    barrier.wait()
    say("measure")
    for thread in threads:
        thread.join()
    if failures:
        raise StepError("run", failures[0])
    rate = sum(count / (ns / _NS_PER_S) for count, ns in zip(counts, spent_ns, strict=True))
    return {"runs": sum(counts), "runs_per_s": rate, "seconds": max(spent_ns) / _NS_PER_S}


def measure_operators(task: Task, say: Say) -> dict[str, object]:
    """Profile a few runs in a session of their own; the runtime's profile file is deleted after it has been read."""
    from edge_ai.engine.measure.profile import read_profile

    say("load")
    feeds = _load_feeds(task)
    with step("load"):
        session = _open_session(task, profile_prefix=task["profile_prefix"])
    run = _runner(session, feeds)
    with step("run"):
        run()
        say("measure")
        count, end_ns = 0, time.perf_counter_ns() + _PROFILE_NS
        while count < _PROFILE_RUNS and (count == 0 or time.perf_counter_ns() < end_ns):
            run()
            count += 1
    path = Path(session.end_profiling())
    try:
        operators = read_profile(path, skip_runs=1)
    finally:
        path.unlink(missing_ok=True)
    return {"operators": operators, "runs": count}


TASKS: Final[Mapping[str, Callable[[Task, Say], dict[str, object]]]] = {
    "baseline": measure_baseline,
    "latency": measure_latency,
    "throughput": measure_throughput,
    "profile": measure_operators,
}


def _open_session(task: Task, *, model: bytes | None = None, profile_prefix: str | None = None) -> Any:
    """Open a session on the CPU with the task's threads: one operator at a time, each on that many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if model is None and task["format"] == "ort":
        options.add_session_config_entry("session.load_model_format", "ORT")
    return onnxruntime.InferenceSession(
        task["model_path"] if model is None else model, options, providers=["CPUExecutionProvider"]
    )


def _load_feeds(task: Task) -> list[Feed]:
    """Read the prepared inputs into memory; names are kept apart from the file, since they may hold anything."""
    import numpy as np

    names: list[str] = task["input_names"]
    with np.load(task["inputs_path"], allow_pickle=False) as stored:
        return [
            {name: stored[f"{feed}_{place}"] for place, name in enumerate(names)} for feed in range(task["feed_count"])
        ]


def _runner(session: Any, feeds: list[Feed], *, first: int = 0) -> Callable[[], object]:
    """Return a function that runs the next of the inputs, round and round."""
    names = [output.name for output in session.get_outputs()]
    following = itertools.cycle(feeds[first % len(feeds) :] + feeds[: first % len(feeds)]).__next__
    run = session.run
    return lambda: run(names, following())


def _drop_from_page_cache(path: Path) -> bool:
    """Ask the kernel to forget the file, so that loading reads it from the disk; it may keep it all the same."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Pages that have not been written yet cannot be dropped.
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _warm_load_ms(task: Task) -> float:
    """Return the median time to open another session, with the file in the page cache and the runtime warm."""
    times_ms: list[float] = []
    end_ns = time.perf_counter_ns() + _WARM_LOADS_NS
    with step("load"):
        while len(times_ms) < _WARM_LOADS and (not times_ms or time.perf_counter_ns() < end_ns):
            begin_ns = time.perf_counter_ns()
            session = _open_session(task)
            times_ms.append((time.perf_counter_ns() - begin_ns) / _NS_PER_MS)
            del session
    return sorted(times_ms)[len(times_ms) // 2]


if __name__ == "__main__":
    raise SystemExit(main())
