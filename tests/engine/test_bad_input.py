"""Damaged and impossible input in every format: each ends with its code, soon, and leaves nothing behind."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edge_ai import sample
from edge_ai.engine.errors import EngineError
from edge_ai.engine.pipeline import run
from edge_ai.engine.sniff import sniff_model
from edge_ai.engine.spec import AnalyzeSpec, BenchmarkSpec, Format, OptimizeSpec, Precision

from . import graphs
from .test_engine_process import engine

DAMAGED = {"model_unreadable", "model_unsafe", "external_data_missing", "unsupported_operator"}
#: A minute is the promise; this machine may be busy.
SECONDS = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Format, Path]]:
    """The sample in every format that can be made of it here."""
    folder = tmp_path_factory.mktemp("models")
    made = {Format.ONNX: sample.ONNX_MODEL, Format.TFLITE: sample.TFLITE_MODEL, Format.KERAS: sample.KERAS_MODEL}
    for format, source in (
        (Format.SAVED_MODEL, Format.KERAS),
        (Format.ORT, Format.ONNX),
        (Format.OPENVINO, Format.ONNX),
        (Format.NCNN, Format.ONNX),
        (Format.COREML, Format.KERAS),
    ):
        work = folder / format
        work.mkdir()
        shutil.copy(made[source], work / "model")
        precision = Precision.FP32
        spec = OptimizeSpec(model_path="model", source_format=source, target_format=format, precision=precision)
        done = run(spec, work, graphs.Told())
        made[format] = work / done.files[0].path
    yield made


def analysis_of(folder: Path, content: bytes) -> tuple[str, str]:
    """Sniff and analyse in a process of its own; returns "" or the error's code, and its detail."""
    path = folder / "model"
    path.write_bytes(content)
    try:
        format = sniff_model(path).format
    except EngineError as error:
        return error.code, error.message
    spec = json.dumps({"kind": "analyze", "model_path": "model", "format": format.value})
    began = time.monotonic()
    answer = engine("run", folder=folder, stdin=spec)
    assert time.monotonic() - began < SECONDS
    assert answer.returncode in (0, 1), f"died with {answer.returncode}: {answer.stderr[-500:]}"
    last = json.loads(answer.stdout.splitlines()[-1])
    assert "Traceback" not in answer.stderr, answer.stderr[-2000:]
    return ("", "") if last["type"] == "result" else (last["code"], last["message"])


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("format", [f for f in Format if f not in {Format.GGUF, Format.TENSORRT, Format.OTHER}])
def test_a_file_that_was_cut_short_is_told_so(
    tmp_path: Path, models: dict[Format, Path], format: Format, share: float
) -> None:
    content = models[format].read_bytes()
    code, detail = analysis_of(tmp_path, content[: int(len(content) * share)])
    assert code in DAMAGED, (code, detail)
    assert detail and str(tmp_path) not in detail


@pytest.mark.parametrize("format", [Format.ONNX, Format.TFLITE, Format.KERAS, Format.ORT, Format.OPENVINO])
def test_a_file_with_broken_bytes_never_takes_the_engine_down(
    tmp_path: Path, models: dict[Format, Path], format: Format
) -> None:
    content = bytearray(models[format].read_bytes())
    random = np.random.default_rng(0)
    for place in random.integers(0, min(len(content), 4096), 40):
        content[place] ^= int(random.integers(1, 256))
    code, _ = analysis_of(tmp_path, bytes(content))
    assert code == "" or code in DAMAGED


def refused(folder: Path, spec: Any) -> EngineError:
    """Run a spec that must be refused; nothing but its input may be left."""
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(EngineError) as caught:
        run(spec, folder, graphs.Told())
    assert {path.name for path in folder.iterdir()} == before
    assert caught.value.fix
    return caught.value


def test_an_operator_that_no_runtime_has_is_named(tmp_path: Path) -> None:
    node = helper.make_node("Teleport", ["x"], ["y"], domain="com.example")
    model = graphs.model_of([node], [graphs.value("x", [1, 4])], [graphs.value("y", [1, 4])], [])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    graphs.save_raw(model, tmp_path / "model.onnx")
    analysis = run(AnalyzeSpec(model_path="model.onnx", format=Format.ONNX), tmp_path, graphs.Told()).result
    assert any("Teleport" in warning["detail"] for warning in analysis["warnings"])
    spec = OptimizeSpec(
        model_path="model.onnx", source_format=Format.ONNX, target_format=Format.TFLITE, precision=Precision.FP32
    )
    assert refused(tmp_path, spec).code == "unsupported_operator"


@pytest.mark.parametrize("target", [Format.ONNX, Format.TFLITE, Format.OPENVINO])
def test_data_that_fits_another_model_is_refused(tmp_path: Path, target: Format) -> None:
    shutil.copy(sample.ONNX_MODEL, tmp_path / "model.onnx")
    graphs.save_data(tmp_path / "d.npz", image=np.zeros((60, 3, 7, 7), np.float32))
    spec = OptimizeSpec(
        model_path="model.onnx",
        source_format=Format.ONNX,
        target_format=target,
        precision=Precision.INT8,
        dataset_path="d.npz",
    )
    assert refused(tmp_path, spec).code == "dataset_mismatch"


@pytest.mark.parametrize("target", [Format.ONNX, Format.TFLITE, Format.OPENVINO])
def test_int8_without_data_is_refused(tmp_path: Path, target: Format) -> None:
    shutil.copy(sample.ONNX_MODEL, tmp_path / "model.onnx")
    spec = OptimizeSpec(
        model_path="model.onnx", source_format=Format.ONNX, target_format=target, precision=Precision.INT8
    )
    error = refused(tmp_path, spec)
    assert error.code == "dataset_required"
    assert error.details is not None and error.details["nearest"]["precision"] == "fp16"


def test_a_network_that_decides_while_it_runs_has_no_way_to_tflite(tmp_path: Path) -> None:
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "then", [], [graphs.value("b", [1, 4])])
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["c"])], "else", [], [graphs.value("c", [1, 4])])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["cond"], to=9),
        helper.make_node("If", ["cond"], ["y"], then_branch=branch, else_branch=other),
    ]
    model = graphs.model_of(nodes, [graphs.value("x", [1, 4])], [graphs.value("y", [1, 4])], [])
    graphs.save(model, tmp_path / "model.onnx")
    spec = OptimizeSpec(
        model_path="model.onnx", source_format=Format.ONNX, target_format=Format.TFLITE, precision=Precision.FP32
    )
    error = refused(tmp_path, spec)
    assert error.code == "unsupported_operator" and "If" in error.message


@pytest.mark.parametrize("format", [Format.GGUF, Format.COREML, Format.NCNN, Format.TENSORRT])
def test_what_cannot_run_here_is_not_measured(tmp_path: Path, format: Format) -> None:
    (tmp_path / "model").write_bytes(b"GGUF")
    error = refused(tmp_path, BenchmarkSpec(model_path="model", format=format))
    assert error.code == "unsupported_conversion"


def test_more_memory_than_is_allowed_is_a_resource_limit(tmp_path: Path) -> None:
    # A few bytes that unfold to 16 GB when the graph runs.
    shape = graphs.weight("unused", 1)
    nodes = [
        helper.make_node("Constant", [], ["shape"], value_ints=[65536, 65536]),
        helper.make_node("Expand", ["x", "shape"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["y"], keepdims=0),
    ]
    model = graphs.model_of(nodes, [graphs.value("x", [1, 1])], [graphs.value("y", [])], [shape])
    graphs.save(model, tmp_path / "model.onnx")
    spec = {"kind": "benchmark", "model_path": "model.onnx", "format": "onnx", "min_seconds": 0.1, "max_seconds": 1}
    answer = engine("run", folder=tmp_path, stdin=json.dumps(spec), memory_bytes=6 << 30)
    last = json.loads(answer.stdout.splitlines()[-1])
    assert (answer.returncode, last["code"]) == (1, "resource_limit")
