"""Benchmarks of models that are not ONNX: every runtime is measured in the same way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ai import sample
from edge_ai.engine.evaluate.dataset import load_dataset
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.measure.benchmark import run_benchmark
from edge_ai.engine.measure.candidates import Candidate, measure_ratios
from edge_ai.engine.measure.inputs import dataset_feeds
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import BenchmarkSpec, Format
from tests.engine.graphs import Told, conv_net, save, save_data


def benchmark(folder: Path, model: Path, format: Format, **fields: Any) -> dict[str, Any]:
    shutil.copy(model, folder / model.name)
    settings: dict[str, Any] = {"threads": 1, "min_seconds": 0.1, "max_seconds": 0.3} | fields
    result, _ = run_benchmark(BenchmarkSpec(model_path=model.name, format=format, **settings), folder, Told())
    return result


def check_whole(result: dict[str, Any]) -> None:
    """What every benchmark has, whatever the runtime."""
    latency = result["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["max"]
    assert result["import_ms"] > 0
    assert result["load_ms"]["cold"] > 0
    assert result["load_ms"]["warm"] > 0
    assert result["first_inference_ms"] > 0
    assert result["throughput_per_s"] > 0
    memory = result["memory_mb"]
    if memory["baseline"] is None:  # what other tests map of the same libraries changes the shares
        assert "came or went" in result["memory_detail"]
    else:
        assert 0 < memory["baseline"] <= memory["loaded"]
    assert 0 < memory["loaded"] <= memory["peak"]
    assert result["memory_detail"].startswith("Baseline: ")
    assert (result["operators"] is None) == (result["operators_reason"] is not None)
    environment = result["environment"]
    assert environment[environment["runtime"]][0].isdigit()
    assert environment["threads"] == 1
    assert environment["provider"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_tensorflow_lite(work: Path) -> None:
    pytest.importorskip("edge_ai.engine.formats.tflite")
    shutil.copy(sample.EVALUATION_DATA, work / "data.npz")
    result = benchmark(work, sample.TFLITE_MODEL, Format.TFLITE, dataset_path="data.npz")
    check_whole(result)
    assert result["environment"]["runtime"] == "litert"
    assert result["environment"]["input"] == "dataset"
    assert result["accuracy"]["top1"] > 0.9
    operators = result["operators"]
    assert {"Convolution", "Fully Connected"} <= {row["type"] for row in operators}
    assert sum(row["share"] for row in operators) == pytest.approx(1.0)
    assert all(row["provider"].startswith(("XNNPACK", "LiteRT")) for row in operators)
    assert "imported" in result["memory_detail"]


def test_onnx_runtime_format(tmp_path: Path, work: Path) -> None:
    pytest.importorskip("edge_ai.engine.formats.ort")
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    save(conv_net(), tmp_path / "net.onnx")
    convert_onnx_models_to_ort(tmp_path / "net.onnx", optimization_styles=[OptimizationStyle.Fixed])
    result = benchmark(work, tmp_path / "net.ort", Format.ORT, batch_size=3)
    check_whole(result)
    assert result["environment"]["runtime"] == "onnxruntime"
    assert result["environment"]["batch_size"] == 3
    assert result["operators"]


def test_openvino(tmp_path: Path, work: Path) -> None:
    pytest.importorskip("edge_ai.engine.formats.openvino")
    import openvino

    made = tmp_path / "made"
    made.mkdir()
    openvino.save_model(openvino.convert_model(save(conv_net(batch=1), tmp_path / "net.onnx")), made / "model.xml")
    stored = tmp_path / "net.zip"
    handler_of(Format.OPENVINO).save(made, stored)
    result = benchmark(work, stored, Format.OPENVINO)
    check_whole(result)
    assert result["environment"]["runtime"] == "openvino"
    assert result["environment"]["input"] == "random"
    assert "Convolution" in {row["type"] for row in result["operators"]}
    assert sum(row["share"] for row in result["operators"]) == pytest.approx(1.0)
    assert all(row["count"] == result["operators_runs"] for row in result["operators"])


def test_a_saved_model_that_takes_texts(tmp_path: Path, work: Path) -> None:
    import tensorflow as tf

    class Lengths(tf.Module):  # type: ignore[misc]
        """Scores texts by how long they are."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])  # type: ignore[untyped-decorator]
        def score(self, text: Any) -> dict[str, Any]:
            length = tf.cast(tf.strings.length(text), tf.float32)[:, tf.newaxis]
            return {"scores": tf.concat([2.5 - length, length - 2.5], axis=1)}

    module = Lengths()
    tf.saved_model.save(module, str(tmp_path / "made"), signatures={"serving_default": module.score})
    stored = tmp_path / "texts.zip"
    handler_of(Format.SAVED_MODEL).save(tmp_path / "made", stored)
    save_data(
        work / "data.npz", text=np.array(["ab", "abcd", "abcdef", "a"]), labels=np.array([0, 1, 1, 1], dtype=np.int64)
    )
    result = benchmark(work, stored, Format.SAVED_MODEL, dataset_path="data.npz")
    check_whole(result)
    assert result["environment"]["runtime"] == "tensorflow"
    assert result["accuracy"]["top1"] == 0.75
    assert "TensorFlow" in result["operators_reason"]


def test_models_of_three_runtimes_are_compared_by_turns() -> None:
    data = load_dataset(sample.EVALUATION_DATA)
    candidates = []
    for path, format in (
        (sample.ONNX_MODEL, Format.ONNX),
        (sample.TFLITE_MODEL, Format.TFLITE),
        (sample.KERAS_MODEL, Format.KERAS),
    ):
        inputs = open_model(path, format, threads=1, optimize=False).inputs
        feeds = dataset_feeds(inputs, data.matched(inputs), 1)[:4]
        candidates.append(Candidate(path=path, format=format, feeds=feeds))
    _, tflite, keras = measure_ratios(candidates, threads=1, max_seconds=1.0)
    assert tflite.verdict in ("faster", "slower", "same", "inconclusive")
    assert keras.p50_ms > 0
    assert keras.ratio > 1
