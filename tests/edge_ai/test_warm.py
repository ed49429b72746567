"""Warm or cold: which jobs are sent to the warm process, that none is lost to it, and real conversions in its forks."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_ai.engine.spec import AnalyzeSpec, BenchmarkSpec, Format, OptimizeSpec, Precision, Spec, spec_to_json
from edge_ai.engine.warm_rules import needs_tensorflow
from edge_ai.sandbox import Child, Limits, WatchedChild
from edge_ai.sandbox.warm import WarmChild
from edge_ai.worker import warm
from edge_ai.worker.work import Work
from tests.edge_ai import warm_tensorflow, warm_work
from tests.edge_ai.test_sandbox import await_gone, finish, pid_of

LIMITS = Limits(wall_seconds=120, memory_bytes=12 << 30)


def optimize(source: Format, target: Format, precision: Precision = Precision.FP32) -> OptimizeSpec:
    """A spec of a conversion."""
    return OptimizeSpec(model_path="model", source_format=source, target_format=target, precision=precision)


def work_of(spec: Spec) -> Work:
    """What the worker would do."""
    return Work(spec=spec, limits=LIMITS)


@pytest.fixture(autouse=True)
def _work_here(tmp_path: Path, settings: Any) -> None:
    """What a warm process of the best level sees is the work folder."""
    settings.WORK_DIR = tmp_path


@pytest.fixture
def warmth(monkeypatch: pytest.MonkeyPatch) -> Iterator[warm.Warmth]:
    """A warm process of this test's own, whose forks run the code in their folder."""
    made = warm.Warmth(warm_work.__name__)
    monkeypatch.setattr(warm, "warmth", made)
    yield made
    if made.process is not None:
        made.process.stop()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (optimize(Format.SAVED_MODEL, Format.TFLITE), True),
        (optimize(Format.KERAS, Format.ONNX), True),
        (optimize(Format.SAVED_MODEL, Format.OPENVINO), True),
        (optimize(Format.TFLITE, Format.ONNX), True),
        (optimize(Format.ONNX, Format.COREML), True),
        (optimize(Format.ONNX, Format.ONNX), False),
        (optimize(Format.ONNX, Format.TFLITE), False),
        (optimize(Format.TFLITE, Format.TFLITE), False),
        (optimize(Format.GGUF, Format.ONNX), False),
        (AnalyzeSpec(model_path="model", format=Format.KERAS), False),
        (BenchmarkSpec(model_path="model", format=Format.SAVED_MODEL), False),
    ],
    ids=lambda value: (
        "-".join(str(part) for part in spec_to_json(value).values())[:50] if hasattr(value, "kind") else ""
    ),
)
def test_conversions_with_tensorflow_are_warm_and_measurements_are_not(spec: Spec, expected: bool) -> None:
    assert needs_tensorflow(spec) is expected


def test_the_warm_process_serves_one_job_after_another(warmth: warm.Warmth, tmp_path: Path) -> None:
    (tmp_path / warm_work.CODE).write_text("import sys; print(len(sys.stdin.read()) > 50)")
    pids = set()
    for _ in range(3):
        given = warm.children(work_of(optimize(Format.KERAS, Format.TFLITE)), tmp_path, first_attempt=True)
        child = next(given)
        assert isinstance(child, WarmChild)
        assert finish(child) == [("out", "True")]
        assert warmth.process is not None
        pids.add(warmth.process.pid)
    assert len(pids) == 1


@pytest.mark.usefixtures("warmth")
@pytest.mark.parametrize(
    ("spec", "first_attempt", "switched_on"),
    [
        (optimize(Format.ONNX, Format.ONNX), True, True),
        (optimize(Format.KERAS, Format.TFLITE), False, True),
        (optimize(Format.KERAS, Format.TFLITE), True, False),
    ],
    ids=["without TensorFlow", "second attempt", "switched off"],
)
def test_these_run_cold(spec: Spec, first_attempt: bool, switched_on: bool, tmp_path: Path, settings: Any) -> None:
    settings.ENGINE_WARM = switched_on
    children = list(warm.children(work_of(spec), tmp_path, first_attempt=first_attempt))
    assert [type(child) for child in children] == [Child]
    children[0].close()


def test_a_job_that_never_began_is_done_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = warm.Warmth("tests.no_such_module")
    monkeypatch.setattr(warm, "warmth", made)
    kinds: list[list[type[WatchedChild]]] = []
    for _ in range(warm.MAX_FAILURES + 1):
        tried = []
        for child in warm.children(work_of(optimize(Format.KERAS, Format.TFLITE)), tmp_path, first_attempt=True):
            tried.append(type(child))
            if isinstance(child, WarmChild):
                finish(child)
            child.close()
        kinds.append(tried)
    assert all(tried[-1] is Child for tried in kinds), "every job has been begun"
    assert kinds[0] == [WarmChild, Child]
    assert kinds[-1] == [Child], "what fails again and again is left alone"


def test_a_dead_process_is_replaced(warmth: warm.Warmth, tmp_path: Path) -> None:
    (tmp_path / warm_work.CODE).write_text("import time; print('done'); time.sleep(0.1)")
    work = work_of(optimize(Format.KERAS, Format.TFLITE))
    finish(next(warm.children(work, tmp_path, first_attempt=True)))
    assert warmth.process is not None
    killed = warmth.process.pid
    os.kill(killed, signal.SIGKILL)
    await_gone(killed)
    child = next(warm.children(work, tmp_path, first_attempt=True))
    assert finish(child) == [("out", "done")]
    assert pid_of(child) > 0 and warmth.process.pid != killed


MAKE_MODEL = """
import keras
steps = keras.Input((16, 16, 3), name="image")
x = keras.layers.Conv2D(8, 3, activation="relu")(steps)
x = keras.layers.GlobalAveragePooling2D()(x)
keras.Model(steps, keras.layers.Dense(4, name="classes")(x)).save("model.keras")
"""


def test_fork_after_fork_converts_with_tensorflow(tmp_path: Path) -> None:
    made = warm.Warmth(warm_tensorflow.__name__)
    work = Work(spec=optimize(Format.KERAS, Format.TFLITE, Precision.FP16), limits=LIMITS)
    model = tmp_path / "made" / "model.keras"
    model.parent.mkdir()
    (model.parent / warm_work.CODE).write_text(MAKE_MODEL)
    try:
        maker = made.child(folder=model.parent, stdin=b"", work=work)
        assert maker is not None
        said = finish(maker, seconds=120)
        assert maker.returncode == 0, said
        variants = set()
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            shutil.copy(model, folder / "model")
            child = made.child(folder=folder, stdin=json.dumps(spec_to_json(work.spec)).encode(), work=work)
            assert child is not None
            lines = finish(child, seconds=120)
            assert child.returncode == 0, lines
            answer = json.loads(lines[-1][1])
            assert answer["type"] == "result"
            assert answer["result"]["parity"]["sqnr_db"] > 40
            variants.add((folder / answer["files"][0]["path"]).read_bytes())
        assert len(variants) == 1, "a fork makes what another fork makes"
    finally:
        if made.process is not None:
            made.process.stop()
