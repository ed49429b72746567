"""What is said when the process that is measured fails, with real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_ai import sample
from edge_ai.engine.errors import CODES, EngineError, InternalError, ResourceError, UnsupportedError, UserInputError
from edge_ai.engine.measure.child import explain_exit, explain_failure, from_json, run_task, to_json


def store_input(folder: Path, shape: tuple[int, ...]) -> None:
    arrays: dict[str, Any] = {"0_0": np.zeros(shape, dtype=np.float32)}
    np.savez(folder / "inputs.npz", **arrays)


def latency_task(folder: Path, **fields: object) -> dict[str, Any]:
    store_input(folder, (1, 8, 8, 1))
    return {
        "task": "latency",
        "model_path": str(sample.ONNX_MODEL),
        "format": "onnx",
        "threads": 1,
        "cpus": None,
        "inputs_path": "inputs.npz",
        "input_names": ["image"],
        "feed_count": 1,
        "input": "random",
        "warmup": 1,
        "max_warmup_seconds": 1.0,
        "min_seconds": 30.0,
        "max_seconds": 30.0,
        "samples_path": "samples.npz",
    } | fields


def ignore(phase: str, seconds: float) -> None:
    """Hear nothing."""


def failure(
    task: dict[str, Any],
    folder: Path,
    *,
    timeout_s: float = 60.0,
    on_tick: Callable[[str, float], None] = ignore,
    phase_s: Callable[[str], float] = lambda phase: 60.0,
) -> EngineError:
    with pytest.raises(EngineError) as caught:
        run_task(task, workdir=folder, timeout_s=timeout_s, on_tick=on_tick, phase_s=phase_s)
    assert caught.value.code in CODES
    return caught.value


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGSEGV, "engine_crashed"), (signal.SIGKILL, "resource_limit")])
def test_a_process_that_dies_by_a_signal_is_told_apart(tmp_path: Path, number: signal.Signals, code: str) -> None:
    before = set(children())

    def on_tick(phase: str, seconds: float) -> None:
        if phase == "measure":
            for pid in set(children()) - before:
                os.kill(pid, number)

    error = failure(latency_task(tmp_path), tmp_path, on_tick=on_tick)
    assert error.code == code
    assert error.details == {"signal": number.name}


def test_a_process_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    before = set(children())
    error = failure(latency_task(tmp_path), tmp_path, timeout_s=1.5)
    assert error.code == "resource_limit"
    assert set(children()) == before


def test_a_phase_that_takes_too_long_is_named(tmp_path: Path) -> None:
    lasts = {"measure": 0.2}
    error = failure(latency_task(tmp_path), tmp_path, phase_s=lambda phase: lasts.get(phase, 60.0))
    assert (error.code, error.details) == ("resource_limit", {"phase": "measure"})


def test_a_broken_model_is_unreadable_and_no_path_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(sample.ONNX_MODEL.read_bytes()[:1000])
    error = failure(latency_task(tmp_path, model_path=str(broken)), tmp_path)
    assert error.code == "model_unreadable"
    assert str(tmp_path) not in error.message


def test_weights_that_are_elsewhere_are_said_to_be_missing_and_no_path_is_told(tmp_path: Path) -> None:
    model = onnx.load(sample.ONNX_MODEL)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin")
    (tmp_path / "weights.bin").unlink()
    error = failure(latency_task(tmp_path, model_path="model.onnx"), tmp_path)
    assert error.code == "external_data_missing"
    assert "weights.bin" in error.message
    assert str(tmp_path) not in error.message


def test_inputs_that_do_not_fit_are_a_matter_of_the_dataset(tmp_path: Path) -> None:
    task = latency_task(tmp_path, input="dataset")
    store_input(tmp_path, (1, 9, 9, 1))
    assert failure(task, tmp_path).code == "dataset_mismatch"
    assert failure(task | {"input": "random"}, tmp_path).code == "dataset_required"


def test_processors_that_are_not_there_are_named(tmp_path: Path) -> None:
    error = failure(latency_task(tmp_path, cpus=[4000]), tmp_path)
    assert (error.code, error.field) == ("invalid_request", "cpus")


def test_a_file_in_the_work_folder_is_never_imported(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from the work folder')")
    result = run_task(
        latency_task(tmp_path, min_seconds=0.1, max_seconds=0.1),
        workdir=tmp_path,
        timeout_s=60.0,
        on_tick=ignore,
    )
    assert result["stop"]["reason"] in ("ci", "budget")


@pytest.mark.parametrize(
    ("where", "exception", "message", "code"),
    [
        ("run", "RuntimeException", "Failed to allocate memory for requested buffer of size 9", "resource_limit"),
        ("load", "MemoryError", "", "resource_limit"),
        ("load", "NotImplemented", "Could not find an implementation for ConvInteger(10)", "unsupported_operator"),
        ("load", "InvalidGraph", "This is an invalid model", "model_unreadable"),
    ],
)
def test_what_the_runtime_raises_becomes_a_stable_code(where: str, exception: str, message: str, code: str) -> None:
    error = explain_failure(where, exception, message, {"model_path": "model.onnx"})
    assert error.code == code
    assert error.fix


def test_exits_without_an_answer_have_codes() -> None:
    assert explain_exit(-signal.SIGXCPU).code == "resource_limit"
    assert explain_exit(-signal.SIGILL).code == "engine_crashed"
    assert explain_exit(1).code == "internal_error"
    assert explain_exit(1).retryable


def test_our_own_fault_is_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    task = latency_task(tmp_path)
    (tmp_path / "inputs.npz").unlink()
    error = failure(task, tmp_path)
    assert error.code == "internal_error"
    assert error.details == {"exit_status": 1}


@pytest.mark.parametrize("kind", [UserInputError, UnsupportedError, ResourceError, InternalError, EngineError])
def test_an_error_crosses_the_process_boundary_whole(kind: type[EngineError]) -> None:
    error = kind("It failed.", code="model_unreadable", fix="Mend it.", details={"at": [1]}, field="file")
    copy = from_json(json.loads(json.dumps(to_json(error))))
    assert type(copy) is kind
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    ("format", "name"),
    [("onnx", "onnxruntime"), ("tflite", "LiteRT"), ("keras", "TensorFlow"), ("openvino", "OpenVINO")],
)
def test_the_runtime_that_failed_is_named(format: str, name: str) -> None:
    error = explain_failure("load", "ValueError", "no", {"model_path": "model", "format": format})
    assert name in error.message


def test_a_runner_whose_parent_is_gone_already_does_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_ai.engine.measure.runner", "1"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
