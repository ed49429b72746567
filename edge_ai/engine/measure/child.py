"""Starts a runner process for one task, follows it and says in the engine's terms why it failed."""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import edge_ai
from edge_ai.engine.errors import EngineError, InternalError, ResourceError, UnsupportedError, UserInputError

_TICK_S: Final = 0.5
_END_S: Final = 10.0
_MAX_MESSAGE: Final = 600
_NAMES: Final = {
    "tflite": "LiteRT",
    "keras": "TensorFlow",
    "saved_model": "TensorFlow",
    "openvino": "OpenVINO",
}
_UNKNOWN_OPERATOR: Final = "is not a registered function/op"
_MEMORY_WORDS: Final = ("bad_alloc", "bad allocation", "failed to allocate", "out of memory", "cannot allocate memory")


def run_task(
    task: Mapping[str, Any],
    *,
    workdir: Path,
    timeout_s: float,
    on_tick: Callable[[str, float], None],
    phase_s: Callable[[str], float] = lambda phase: math.inf,
) -> dict[str, Any]:
    """Run one task in a fresh process and return its result.

    Parameters
    ----------
    task
        What `edge_ai.engine.measure.runner` reads.
    workdir
        The process' current folder.
    timeout_s
        When to kill it.
    on_tick
        Called about twice a second and at every change with the phase and the seconds since that phase began. The
        process that is measured does nothing for it.
    phase_s
        When to kill it for one phase, in seconds since that began.

    Raises
    ------
    EngineError
        With the code that tells the user what happened.
    """
    process = start_runner(workdir)
    try:
        told = json.dumps(dict(task)).encode() + b"\n"
        last = _follow(process, told, time.monotonic() + timeout_s, on_tick, phase_s)
        if last is not None and last.get("type") == "result":
            result: dict[str, Any] = last["result"]
            return result
        raise end_of(process, last, task, workdir)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def start_runner(workdir: Path) -> subprocess.Popen[bytes]:
    """Start a process that reads a task from its stdin and answers on its stdout, with pipes to both."""
    # -P: the work folder holds a stranger's files, and must not be where modules are looked up.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "edge_ai.engine.measure.runner", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=workdir,
        env={**os.environ, "PYTHONPATH": _import_path()},
    )


def end_of(
    process: subprocess.Popen[bytes], last: Mapping[str, Any] | None, task: Mapping[str, Any], workdir: Path
) -> EngineError:
    """Return the error of a process that has closed its output without a result; ``last`` is what it said last."""
    known = {**task, "model_path": str(workdir / task["model_path"])}
    if last is not None and last.get("type") == "refused":
        error = from_json(last)
        if error.code == "dataset_mismatch" and task.get("input") != "dataset":
            told = error.details or {}
            return explain_failure("run", str(told.get("exception")), str(told.get("runtime_message") or error), known)
        return error
    if last is not None and last.get("type") == "error":
        return explain_failure(str(last["where"]), str(last["exception"]), str(last["message"]), known)
    # It is about to end; killed now, it would seem to have been killed for memory.
    with suppress(subprocess.TimeoutExpired):
        return explain_exit(process.wait(_END_S))
    return explain_exit(1)


def to_json(error: EngineError) -> dict[str, object]:
    """Return what a process tells of an error; see `from_json`."""
    return {
        "class": type(error).__name__,
        "message": error.message,
        "code": error.code,
        "fix": error.fix,
        "details": error.details,
        "field": error.field,
    }


def from_json(told: Mapping[str, Any]) -> EngineError:
    """Return the error that another process told of."""
    kinds = {kind.__name__: kind for kind in (UserInputError, UnsupportedError, ResourceError, InternalError)}
    return kinds.get(str(told["class"]), EngineError)(
        str(told["message"]),
        code=str(told["code"]),
        fix=str(told["fix"]),
        details=told["details"],
        field=told["field"],
    )


def explain_failure(where: str, exception: str, message: str, task: Mapping[str, Any]) -> EngineError:
    """Turn what the runtime raised into an error with a stable code, a cause and a fix.

    Parameters
    ----------
    where
        The step that failed: "pin", "load" or "run".
    exception, message
        The name of its class, and its text; the folder of the model is taken out of it.
    task
        As given to the runner, with the whole path of the model.
    """
    runtime = _NAMES.get(str(task.get("format")), "onnxruntime")
    told = _without_paths(message.strip(), Path(task["model_path"]))[:_MAX_MESSAGE]
    details = {"step": where, "exception": exception, "runtime_message": told}
    if exception == "MemoryError" or any(word in message.lower() for word in _MEMORY_WORDS):
        return _out_of_memory(details)
    if where == "pin":
        return UserInputError(
            f"The processors {task.get('cpus')} are not available on this machine.",
            code="invalid_request",
            fix="Choose processors that this machine has and that the worker may use.",
            details=details,
            field="cpus",
        )
    if exception == "NotImplemented" or (where == "load" and _UNKNOWN_OPERATOR in message):
        return UnsupportedError(
            f"{runtime} has no implementation for a part of this model: {told}",
            code="unsupported_operator",
            fix=f"Export the model with operators that {runtime} has on a CPU, or choose another precision.",
            details=details,
        )
    if where == "load" and "external data" in message.lower():
        return UserInputError(
            f"The model keeps its weights in another file that is not there: {told}",
            code="external_data_missing",
            fix="Save the model with its weights inside: onnx.save(model, path, save_as_external_data=False).",
            details=details,
        )
    if where == "load":
        return UserInputError(
            f"{runtime} could not load the model: {told}",
            code="model_unreadable",
            fix="Export the model again and run it once with the library that it was exported with before uploading it.",
            details=details,
        )
    if where == "run" and task.get("input") == "dataset":
        return UserInputError(
            f"The model loaded but could not run on a sample of the dataset: {told}",
            code="dataset_mismatch",
            fix="Check that every sample has the shape, the type and the range of values that the model was made for.",
            details=details,
        )
    return UserInputError(
        f"The model loaded but failed when it was run on made-up inputs: {told}",
        code="dataset_required",
        fix="Give a dataset with real samples: this model does not accept inputs made from its declared shapes alone.",
        details=details,
    )


def explain_exit(status: int) -> EngineError:
    """Turn the exit status of a process that left no answer into an error; a negative one is the signal."""
    if status == -signal.SIGKILL:
        return _out_of_memory({"signal": "SIGKILL"})
    if status in (-signal.SIGXCPU, -signal.SIGXFSZ):
        name = signal.Signals(-status).name
        return ResourceError(
            f"The measurement was stopped by a limit of the sandbox ({name}).",
            code="resource_limit",
            fix="Measure for a shorter time, or ask the administrator to raise the limits.",
            details={"signal": name},
        )
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        return UserInputError(
            f"The runtime crashed on this model ({name}).",
            code="engine_crashed",
            fix="The file is probably damaged or provokes a fault of the runtime. Export it again, or report the file.",
            details={"signal": name},
        )
    return InternalError(
        "The measuring process ended without an answer.",
        code="internal_error",
        details={"exit_status": status},
    )


def _without_paths(message: str, model: Path) -> str:
    """Return a message that tells nothing of where files lie on this machine."""
    for path in {model, model.resolve()}:
        message = message.replace(str(path), "the model").replace(f"{path.parent}/", "")
    return message


def _out_of_memory(details: Mapping[str, object]) -> ResourceError:
    return ResourceError(
        "The model needs more memory than this machine could give it.",
        code="resource_limit",
        fix="Use a smaller batch or a smaller model, or measure on a machine with more memory.",
        details=details,
    )


def _follow(
    process: subprocess.Popen[bytes],
    task: bytes,
    deadline_s: float,
    on_tick: Callable[[str, float], None],
    phase_s: Callable[[str], float],
) -> dict[str, Any] | None:
    """Feed the task and read lines until the process closes its output; return the last result or error."""
    if process.stdin is None or process.stdout is None:
        raise InternalError("The measuring process has no pipes.", code="internal_error")
    try:
        process.stdin.write(task)
        process.stdin.close()
    except BrokenPipeError:
        return None
    phase, since_s = "start", time.monotonic()
    last: dict[str, Any] | None = None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            now_s = time.monotonic()
            if now_s > deadline_s or now_s - since_s > phase_s(phase):
                raise ResourceError(
                    "The measurement took far longer than its time budget and was stopped.",
                    code="resource_limit",
                    fix="Give it more seconds, or a smaller batch: a single inference may take longer than the budget.",
                    details={"phase": phase},
                )
            on_tick(phase, now_s - since_s)
            if not selector.select(_TICK_S):
                continue
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            if not chunk:
                return last
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                message: dict[str, Any] = json.loads(line)
                if message["type"] == "phase":
                    phase, since_s = str(message["phase"]), time.monotonic()
                else:
                    last = message


def _import_path() -> str:
    """Return where the child is to find ``edge_ai`` from another folder: as this process did, and where that came from."""
    root = str(Path(next(iter(edge_ai.__path__))).resolve().parent)
    return os.pathsep.join(part for part in (os.environ.get("PYTHONPATH"), root) if part)
