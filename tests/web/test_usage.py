"""The code that artifacts' pages show does what it says, on real files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.spec import Format
from edge_ai.models import Artifact, ArtifactType, Model
from edge_ai.sample import ONNX_MODEL, TFLITE_MODEL
from edge_ai.web.usage import quoted, usage_of


def run(artifact: Artifact, folder: Path) -> str:
    """Run what the page of an artifact shows, beside its file."""
    usage = usage_of(artifact, runs_here=True)
    assert usage is not None
    done = subprocess.run(
        [sys.executable, "-c", usage.code], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("format_", "file"), [(Format.ONNX, ONNX_MODEL), (Format.TFLITE, TFLITE_MODEL)], ids=["onnx", "tflite"]
)
def test_the_code_runs_the_model(format_: Format, file: Path, tmp_path: Path) -> None:
    analysis = handler_of(format_).inspect(file, tmp_path)
    name = f"it's {file.name}"
    (tmp_path / name).write_bytes(file.read_bytes())
    model = Model(format=format_.value, analysis=analysis, file_name=name)
    artifact = Artifact(artifact_type=ArtifactType.OPTIMIZED_MODEL, file_name=name, model=model)
    assert "(1, 10)" in run(artifact, tmp_path)


def test_the_code_reads_samples(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "samples.npz", latency_ms=np.zeros(7))
    artifact = Artifact(
        artifact_type=ArtifactType.BENCHMARK_SAMPLES, file_name="samples.npz", model=Model(format="onnx")
    )
    assert run(artifact, tmp_path).strip() == "latency_ms (7,) float64"


def test_names_are_safe_in_a_shell() -> None:
    nasty = "a'; echo broken; '$(echo b)"
    said = subprocess.run(["/bin/sh", "-c", f"printf %s {quoted(nasty)}"], capture_output=True, text=True, check=True)
    assert said.stdout == nasty
