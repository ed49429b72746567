"""Model files compared by turns; ratios only, since times depend on the machine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.measure.compare_models import compare_models
from edge_ai.engine.spec import Format
from tests.engine.graphs import Told, model_of, samples, save, save_data, value, weight


def dense(path: Path, layers: int, *, name: str = "x") -> Path:
    """Return a chain of dense layers, 256 → 256."""
    names = [name, *(f"h{n}" for n in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(layers)]
    weights = [weight(f"w{n}", 256, 256, seed=n, scale=0.05) for n in range(layers)]
    return save(model_of(nodes, [value(name, ["batch", 256])], [value("y", ["batch", 256])], weights), path)


def compare(folder: Path, *paths: Path, **fields: Any) -> dict[str, Any]:
    work = folder / "work"
    work.mkdir()
    settings: dict[str, Any] = {"dataset": None, "threads": 1, "max_seconds": 3.0} | fields
    return compare_models([(path, Format.ONNX) for path in paths], workdir=work, **settings)


def test_the_longer_one_is_slower_and_everything_is_told(tmp_path: Path) -> None:
    told = Told()
    result = compare(
        tmp_path,
        dense(tmp_path / "a.onnx", 4),
        dense(tmp_path / "b.onnx", 16, name="x:0"),
        progress=told,
        max_seconds=8.0,
    )
    assert [run["model"] for run in result["runs"]] == ["a.onnx", "b.onnx"]
    assert all(run["runtime"] == "onnxruntime" and run["latency_ms"]["samples"] > 0 for run in result["runs"])
    (pair,) = result["pairs"]
    assert (pair["a"], pair["b"], pair["verdict"]) == ("a.onnx", "b.onnx", "slower")
    assert 1.5 < pair["ci95"][0] <= pair["ratio_p50"] <= pair["ci95"][1]
    assert result["environment"]["threads"] == 1
    assert result["environment"]["input"] == "random"
    assert result["environment"]["starts"] >= 1
    assert result["noise"]["verdict"] in ("quiet", "noisy")
    assert [percent for _, percent, _ in told.stages] == sorted(percent for _, percent, _ in told.stages)


def test_samples_are_fed_to_all(tmp_path: Path) -> None:
    data = save_data(tmp_path / "data.npz", x=samples(5, 256), labels=np.zeros(5, dtype=np.int64))
    path = dense(tmp_path / "a.onnx", 2)
    result = compare(tmp_path, path, path, dataset=data, max_seconds=0.5)
    assert result["environment"]["input"] == "dataset"
    assert result["environment"]["input_samples"] == 5
    assert result["pairs"][0]["ci95"][0] <= result["pairs"][0]["ratio_p50"] <= result["pairs"][0]["ci95"][1]


def test_samples_for_another_model_are_refused(tmp_path: Path) -> None:
    data = save_data(tmp_path / "data.npz", other=samples(5, 3))
    path = dense(tmp_path / "a.onnx", 2)
    with pytest.raises(EngineError) as caught:
        compare(tmp_path, path, path, dataset=data)
    assert caught.value.code == "dataset_mismatch"


def test_a_format_that_does_not_run_is_refused(tmp_path: Path) -> None:
    path = dense(tmp_path / "a.onnx", 2)
    with pytest.raises(UnsupportedError, match="coreml"):
        compare_models(
            [(path, Format.ONNX), (path, Format.COREML)], dataset=None, threads=1, max_seconds=1.0, workdir=tmp_path
        )
