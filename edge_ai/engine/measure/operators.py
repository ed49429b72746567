"""Time by operator, measured in a session of its own: the task ``profile`` of a measured process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypedDict

from edge_ai.engine.measure.loaded import NS_PER_S, Feed, Say, StepError, Task, load_feeds, round_and_round, step
from edge_ai.engine.measure.profile import OperatorTime, Told, read_profile, share_out
from edge_ai.engine.quiet import quiet_natively
from edge_ai.engine.spec import Format

MAX_RUNS: Final = 50
_NS: Final = 1 * NS_PER_S
_OPENVINO_TYPES: Final[Mapping[str, str]] = {
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
}

NO_PROFILE: Final[Mapping[Format, str]] = {
    Format.KERAS: "TensorFlow runs the network as one function here, without times by operator.",
    Format.SAVED_MODEL: "TensorFlow runs the network as one function here, without times by operator.",
}
"""Why the operators of other formats are not measured one by one."""

OTHER_NAMES: Final = frozenset({Format.TFLITE})
"""Here the runtime times what it makes of the network, not the file's own operators: shown, but nothing follows from it."""


class Profile(TypedDict):
    """The time by operator, and how many runs it is of; without operators, ``reason`` says why there are none."""

    operators: list[OperatorTime] | None
    runs: int
    reason: str | None


def measure_operators(task: Task, say: Say) -> Profile:
    """Profile a few runs, ``max_runs`` of the task at most; what the runtime writes is deleted after it has been read."""
    if task["format"] == Format.TFLITE:
        return _of_litert(task, load_feeds(task), say)
    measure = _of_openvino if task["format"] == Format.OPENVINO else _of_onnx
    operators, count = measure(task, load_feeds(task), say)
    return Profile(operators=operators, runs=count, reason=None)


def _of_litert(task: Task, feeds: list[Feed], say: Say) -> Profile:
    """Profile with LiteRT's C interface, which takes fewer models than its interpreter."""
    from edge_ai.engine.measure.litert_profile import NotProfiledError, Profiled, runs_by_operator

    say("load")
    runs: list[list[tuple[str, int, int]]] = []
    try:
        with quiet_natively():
            model = Profiled(Path(task["model_path"]), task["input_names"], threads=task["threads"])
            places = iter(range(_most_runs(task) + 1))

            def run() -> None:
                place = next(places)
                model.fill(feeds[place % len(feeds)])
                told = model.profiled(model.run)
                if place > 0:
                    runs.append(told)

            count = _run_for_a_while(run, say, _most_runs(task))
    except (NotProfiledError, StepError) as error:
        refused = error.__cause__ if isinstance(error, StepError) else error
        if not isinstance(refused, NotProfiledError):
            raise
        return Profile(operators=None, runs=0, reason=str(refused))
    return Profile(operators=share_out(*runs_by_operator(runs)), runs=count, reason=None)


def _of_onnx(task: Task, feeds: list[Feed], say: Say) -> tuple[list[OperatorTime], int]:
    from edge_ai.engine.runtime.onnx import open_session

    say("load")
    with step("load"):
        session = open_session(
            Path(task["model_path"]),
            Format(task["format"]),
            threads=task["threads"],
            profile_prefix=task["profile_prefix"],
        )
    count = _run_for_a_while(round_and_round(session, feeds), say, _most_runs(task))
    path = Path(session.raw.end_profiling())
    try:
        return read_profile(path, skip_runs=1), count
    finally:
        path.unlink(missing_ok=True)


def _of_openvino(task: Task, feeds: list[Feed], say: Say) -> tuple[list[OperatorTime], int]:
    """Add up the counters that OpenVINO keeps of each inference when asked to; `open_session` does not ask."""
    # Imported there, where its telemetry is kept from reporting.
    from edge_ai.engine.runtime.openvino import openvino

    say("load")
    with step("load"):
        # Otherwise as in edge_ai.engine.runtime.openvino.
        settings = {
            "PERF_COUNT": True,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": task["threads"],
        }
        request = openvino.Core().compile_model(task["model_path"], "CPU", settings).create_infer_request()
    runs_us: dict[tuple[str, str, str], list[float]] = {}
    told: dict[tuple[str, str, str], Told] = {}
    places = iter(range(_most_runs(task) + 1))

    def run() -> None:
        place = next(places)
        # By place: the file's own names of tensors may be several, or none.
        request.infer(dict(enumerate(feeds[place % len(feeds)].values())))
        if place == 0:
            return
        for index, node in enumerate(request.profiling_info):
            # What takes less than a microsecond counts as not run, now and then. Names may be repeated.
            if node.status == openvino.ProfilingInfo.Status.EXECUTED:
                key = (node.node_name, node.node_type, str(index))
                runs_us.setdefault(key, []).append(node.real_time.total_seconds() * 1e6)
                told[key] = _told_by_openvino(str(node.exec_type))

    count = _run_for_a_while(run, say, _most_runs(task))
    return share_out({key: times + [0.0] * (count - len(times)) for key, times in runs_us.items()}, told), count


def _told_by_openvino(kernel: str) -> Told:
    """Return what a kernel's name tells, such as ``brgconv_avx512_I8`` or ``jit_avx2_f32``: how it computes, and in what."""
    implementation, _, dtype = kernel.rpartition("_")
    known = _OPENVINO_TYPES.get(dtype.lower())
    return Told(dtype=known, reads=known, provider=(implementation if known else kernel) or None)


def _run_for_a_while(run: Callable[[], Any], say: Say, most: int) -> int:
    """Run once to warm up, then as often as time allows; returns how often that was."""
    with step("run"):
        run()
        say("measure")
        count, end_ns = 0, time.perf_counter_ns() + _NS
        while count < most and (count == 0 or time.perf_counter_ns() < end_ns):
            run()
            count += 1
    return count


def _most_runs(task: Task) -> int:
    return int(task.get("max_runs", MAX_RUNS))
