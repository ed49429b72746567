"""The engine as a process of its own: the protocol that workers speak, and the commands for people."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge_ai import sample
from edge_ai.engine import pipeline
from edge_ai.engine.cli import run_command
from edge_ai.engine.pipeline import PipelineResult

from . import graphs

REPOSITORY = Path(sample.__file__).resolve().parents[2]


def engine(
    *arguments: str, folder: Path, stdin: str = "", memory_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))

    return subprocess.run(
        [sys.executable, "-m", "edge_ai.engine", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        preexec_fn=limit,
        check=False,
    )


def ask(folder: Path, **spec: Any) -> tuple[int, list[dict[str, Any]]]:
    """Send a spec; every line of the answer must be a JSON object."""
    answer = engine("run", folder=folder, stdin=json.dumps(spec))
    assert "Traceback" not in answer.stderr
    return answer.returncode, [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    shutil.copy(sample.ONNX_MODEL, tmp_path / "model.onnx")
    shutil.copy(sample.CALIBRATION_DATA, tmp_path / "dataset.npz")
    return tmp_path


def test_analyze(work: Path) -> None:
    status, lines = ask(work, kind="analyze", model_path="model.onnx", format="onnx")
    assert status == 0
    assert lines[-1]["type"] == "result" and lines[-1]["files"] == []
    assert lines[-1]["result"]["inputs"][0]["name"] == "image"
    assert all(line["type"] == "stage" for line in lines[:-1])


def test_optimize(work: Path) -> None:
    status, lines = ask(
        work,
        kind="optimize",
        model_path="model.onnx",
        source_format="onnx",
        target_format="onnx",
        precision="int8",
        optimization_level="balanced",
        dataset_path="dataset.npz",
        options={},
    )
    assert status == 0
    last = lines[-1]
    assert last["type"] == "result"
    files = {file["role"]: file for file in last["files"]}
    assert files.keys() == {"model", "recipe", "recipe_yaml"}
    assert files["model"]["format"] == "onnx"
    assert (work / files["model"]["path"]).stat().st_size == last["result"]["size_bytes"]
    percents = [line["progress"] for line in lines if line["type"] == "stage"]
    assert percents == sorted(percents)
    assert any(line["type"] == "log" and line["level"] == "info" for line in lines)


def test_benchmark(work: Path) -> None:
    status, lines = ask(
        work,
        kind="benchmark",
        model_path="model.onnx",
        format="onnx",
        threads=1,
        min_seconds=0.2,
        max_seconds=1.0,
        profile_operators=False,
    )
    assert status == 0
    assert lines[-1]["result"]["kind"] == "measured"
    assert [file["role"] for file in lines[-1]["files"]] == ["samples"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (sample.ONNX_MODEL.read_bytes()[:200_000], "model_unreadable"),
        (b"Dear model, " * 80, "model_unreadable"),
    ],
    ids=["half a file", "a letter"],
)
def test_a_bad_file_ends_with_an_error_and_status_1(work: Path, content: bytes, code: str) -> None:
    (work / "model.onnx").write_bytes(content)
    status, lines = ask(work, kind="analyze", model_path="model.onnx", format="onnx")
    assert status == 1
    assert (lines[-1]["type"], lines[-1]["code"], lines[-1]["retryable"]) == ("error", code, False)
    assert lines[-1]["message"] and lines[-1]["fix"]


@pytest.mark.parametrize("stdin", ["", "not JSON", "[]", '{"kind": "dance"}', '{"kind": "analyze"}'])
def test_a_request_that_is_none_is_an_invalid_request(tmp_path: Path, stdin: str) -> None:
    answer = engine("run", folder=tmp_path, stdin=stdin)
    assert answer.returncode == 1
    assert json.loads(answer.stdout.splitlines()[-1])["code"] == "invalid_request"


def test_an_unexpected_failure_shows_its_traceback_in_the_log_alone(tmp_path: Path) -> None:
    answer = engine(
        "run",
        folder=tmp_path,
        stdin=json.dumps({"kind": "analyze", "model_path": "not-there.onnx", "format": "onnx"}),
    )
    last = json.loads(answer.stdout.splitlines()[-1])
    assert (answer.returncode, last["code"]) == (1, "internal_error")
    assert "not-there" not in last["message"] and "Traceback" not in answer.stdout
    assert "FileNotFoundError" in answer.stderr


def test_too_little_memory_is_a_resource_limit(work: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))

    model = graphs.model_of(
        [helper.make_node("ConstantOfShape", ["s"], ["y"])],
        [graphs.value("s", [1], TensorProto.INT64)],
        [graphs.value("y", ["n"])],
        [graphs.weight("w", 1000)],
    )
    graphs.save(model, work / "model.onnx")
    graphs.save_data(work / "dataset.npz", s=np.full((60, 1), 1 << 30, np.int64))
    answer = subprocess.run(
        [sys.executable, "-m", "edge_ai.engine", "run"],
        cwd=work,
        input=json.dumps(
            {
                "kind": "optimize",
                "model_path": "model.onnx",
                "source_format": "onnx",
                "target_format": "onnx",
                "precision": "fp16",
                "dataset_path": "dataset.npz",
            }
        ),
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=limit,
        check=False,
    )
    last = json.loads(answer.stdout.splitlines()[-1])
    assert (answer.returncode, last["code"]) == (1, "resource_limit"), answer.stderr[-500:]


def test_people_can_inspect_quantize_and_benchmark(work: Path) -> None:
    inspected = engine("inspect", "model.onnx", folder=work)
    assert inspected.returncode == 0
    assert "image  float32" in inspected.stdout and "Conv × 4" in inspected.stdout
    quantized = engine(
        "quantize",
        "model.onnx",
        "--precision",
        "int8",
        "--dataset",
        "dataset.npz",
        "-o",
        "out.onnx",
        "--json",
        folder=work,
    )
    assert quantized.returncode == 0
    assert (work / "out.onnx").stat().st_size == json.loads(quantized.stdout)["size_bytes"]
    measured = engine(
        "benchmark", "out.onnx", "--threads", "1", "--min-seconds", "0.2", "--max-seconds", "1", folder=work
    )
    assert measured.returncode == 0 and "p50" in measured.stdout


def test_people_can_convert_compress_compare_and_repeat(work: Path) -> None:
    converted = engine("convert", "model.onnx", "--to", "tflite", "-o", "out.tflite", folder=work)
    assert converted.returncode == 0, converted.stderr
    assert "onnx → tflite" in converted.stdout and (work / "out.tflite").read_bytes()[4:8] == b"TFL3"
    compressed = engine("compress", "model.onnx", "--cluster", "256", "-o", "small.onnx", "--keep-recipe", folder=work)
    assert compressed.returncode == 0, compressed.stderr
    assert (work / "small.onnx").stat().st_size * 3 < (work / "model.onnx").stat().st_size
    repeated = engine(
        "compress", "model.onnx", "--recipe", "small-recipe.yaml", "-o", "again.onnx", "--json", folder=work
    )
    assert repeated.returncode == 0 and "warning" not in repeated.stderr
    assert (work / "again.onnx").read_bytes() == (work / "small.onnx").read_bytes()
    compared = engine("compare", "model.onnx", "out.tflite", "--max-seconds", "3", "--json", folder=work)
    assert compared.returncode == 0, compared.stderr
    (pair,) = json.loads(compared.stdout)["pairs"]
    assert pair["ratio_p50"] > 0 and pair["verdict"] in {"faster", "slower", "same", "inconclusive"}


def test_people_can_package(work: Path) -> None:
    packed = engine("package", "model.onnx", "-o", "out.zip", "--name", "Digits", folder=work)
    assert packed.returncode == 0, packed.stderr
    assert "run.py runs it" in packed.stdout and "model.onnx" in packed.stdout
    with zipfile.ZipFile(work / "out.zip") as archive:
        assert archive.testzip() is None and archive.read("README.md").startswith(b"# Digits")


def test_people_are_told_what_is_wrong(work: Path) -> None:
    missing = engine("inspect", "nothing.onnx", folder=work)
    assert missing.returncode == 1 and "no file" in missing.stderr and "Traceback" not in missing.stderr
    refused = engine("quantize", "model.onnx", "--precision", "int8", "-o", "out.onnx", "--json", folder=work)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["code"] == "dataset_required"
    assert not (work / "out.onnx").exists()
    alone = engine("compare", "model.onnx", "--json", folder=work)
    assert (alone.returncode, json.loads(alone.stdout)["code"]) == (1, "invalid_request")


def test_a_file_that_is_no_recipe_is_told_so(work: Path) -> None:
    asked = ("compress", "model.onnx", "-o", "out.onnx", "--json", "--recipe")
    # Most models begin with bytes that no text has.
    (work / "bytes.bin").write_bytes(b"\x08\x0a\xff\xfe" * 100)
    answer = engine(*asked, "bytes.bin", folder=work)
    assert answer.returncode == 1, answer.stderr
    told = json.loads(answer.stdout)
    assert (told["code"], told["field"]) == ("invalid_request", "recipe")
    assert "not text" in told["message"] and told["fix"]


def test_a_recipe_that_names_no_model_is_followed_with_a_warning(work: Path) -> None:
    recipe = {
        "recipe_version": 1,
        "request": {
            "source_format": "onnx",
            "target_format": "onnx",
            "precision": "fp16",
            "optimization_level": "balanced",
        },
        "options": {"search": False},
    }
    (work / "recipe.json").write_text(json.dumps(recipe))
    answer = engine("convert", "model.onnx", "--recipe", "recipe.json", "-o", "out.onnx", folder=work)
    assert answer.returncode == 0, answer.stderr
    assert "does not say which model it was made for" in answer.stderr


def test_temporary_files_are_kept_in_the_work_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, work: Path
) -> None:
    """Libraries leave files behind; those of a run go with its folder, whatever was set before."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    seen: list[str] = []

    def leave(*_: object) -> PipelineResult:
        with tempfile.NamedTemporaryFile(prefix="__autograph_generated_file", delete=False) as left:
            seen.extend((left.name, os.environ["TMPDIR"]))
        return PipelineResult(result={})

    monkeypatch.setattr(pipeline, "run", leave)
    assert run_command(["inspect", str(work / "model.onnx"), "--json"]) == 0
    assert str(Path(seen[0]).parent) == seen[1]
    assert not list(tmp_path.glob("edge-ai-*"))
    assert os.environ["TMPDIR"] == str(tmp_path) and tempfile.gettempdir() == str(tmp_path)


def test_help_comes_without_heavy_libraries(tmp_path: Path) -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['engine', '--help']\n"
        "try: runpy.run_module('edge_ai.engine', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'onnx', 'onnxruntime', 'tensorflow'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=REPOSITORY, check=True
    )
    assert {"quantize", "convert", "compress", "compare"} <= set(re.findall(r"\w+", answer.stdout))
    assert answer.stdout.splitlines()[-1] == "[]"
