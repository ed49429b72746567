"""A whole benchmark of the bundled sample, and what is refused."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge_ai import sample
from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.evaluate.accuracy import wilson_interval
from edge_ai.engine.measure.benchmark import run_benchmark
from edge_ai.engine.progress import OutputFile
from edge_ai.engine.spec import BenchmarkSpec, Format


@dataclass
class Told:
    """Keeps what it is told."""

    stages: list[tuple[str, int, str]] = field(default_factory=list)

    def stage(self, name: str, progress: int, message: str = "") -> None:
        self.stages.append((name, progress, message))

    def log(self, level: str, message: str) -> None:
        raise AssertionError(f"{level}: {message}")


@dataclass(frozen=True)
class Run:
    """A finished benchmark."""

    result: dict[str, Any]
    files: list[OutputFile]
    folder: Path
    told: Told


def benchmark(folder: Path, model: Path = sample.ONNX_MODEL, data: Path | None = None, **fields: Any) -> Run:
    shutil.copy(model, folder / "model.onnx")
    if data is not None:
        shutil.copy(data, folder / "dataset.npz")
    settings: dict[str, Any] = {"threads": 1, "min_seconds": 0.2, "max_seconds": 1.0} | fields
    spec = BenchmarkSpec(
        model_path="model.onnx",
        format=settings.pop("format", Format.ONNX),
        dataset_path=None if data is None else "dataset.npz",
        **settings,
    )
    told = Told()
    result, files = run_benchmark(spec, folder, told)
    return Run(result=result, files=files, folder=folder, told=told)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    cpu = min(os.sched_getaffinity(0))
    yield benchmark(tmp_path_factory.mktemp("benchmark"), data=sample.EVALUATION_DATA, cpus=(cpu,), warmup=20)


def test_latency_is_ordered_and_its_interval_holds_the_median(measured: Run) -> None:
    latency = measured.result["latency_ms"]
    ladder = [latency[name] for name in ("min", "p50", "p90", "p95", "p99", "max")]
    assert ladder[0] > 0
    assert ladder == sorted(ladder)
    assert latency["min"] <= latency["mean"] <= latency["max"]
    assert latency["ci95"][0] <= latency["p50"] <= latency["ci95"][1]


def test_every_sample_is_in_the_file(measured: Run) -> None:
    (file,) = measured.files
    assert (file.role, file.mime_type) == ("samples", "application/x-npz")
    with np.load(measured.folder / file.path, allow_pickle=False) as stored:
        latency_ns, started_ns = stored["latency_ns"], stored["started_ns"]
    assert latency_ns.dtype == started_ns.dtype == np.int64
    assert len(latency_ns) == len(started_ns) == measured.result["latency_ms"]["samples"] > 20
    assert np.median(latency_ns) / 1e6 == pytest.approx(measured.result["latency_ms"]["p50"])
    assert (np.diff(started_ns) > 0).all()


def test_accuracy_is_what_numpy_finds_in_the_outputs(measured: Run) -> None:
    session = onnxruntime.InferenceSession(sample.ONNX_MODEL, providers=["CPUExecutionProvider"])
    with np.load(sample.EVALUATION_DATA) as data:
        images, labels = data["image"], data["labels"]
    order = np.argsort(-session.run(None, {"image": images})[0], axis=1)
    right = int(np.sum(order[:, 0] == labels))
    near = int(np.sum((order[:, :5] == labels[:, np.newaxis]).any(axis=1)))
    accuracy = measured.result["accuracy"]
    assert list(accuracy) == ["top1", "top5", "macro_f1", "roc_auc"]
    assert (accuracy["top1"], accuracy["top5"]) == (right / 500, near / 500)
    assert measured.result["accuracy_ci95"]["top1"] == list(wilson_interval(right, 500))
    assert measured.result["accuracy_samples"] == 500
    assert measured.result["accuracy_task"] == {"task": "classification", "source": "inferred", "output": "logits"}
    confusion = measured.result["accuracy_detail"]["confusion"]
    assert np.trace(confusion["matrix"]) == right
    assert np.sum(confusion["matrix"]) == 500
    with np.load(measured.folder / "samples.npz", allow_pickle=False) as stored:
        kept = np.zeros(500, bool)
        kept[stored["correct_places"]] = stored["correct"]
    assert kept.tolist() == (order[:, 0] == labels).tolist()


def test_operators_share_out_the_whole_time(measured: Run) -> None:
    operators = measured.result["operators"]
    assert sum(row["share"] for row in operators) == pytest.approx(1.0)
    assert {"Conv", "MaxPool"} <= {row["type"] for row in operators}
    assert all(row["count"] == measured.result["operators_runs"] for row in operators)
    assert [row["total_ms"] for row in operators] == sorted((row["total_ms"] for row in operators), reverse=True)


def test_the_other_numbers_are_there_and_believable(measured: Run) -> None:
    result = measured.result
    assert result["kind"] == "measured"
    assert result["throughput_per_s"] > 0
    assert result["throughput"]["runs"] > 0
    assert result["load_ms"]["cold"] > 0
    assert result["load_ms"]["warm"] > 0
    assert result["first_inference_ms"] > 0
    assert result["memory_mb"]["baseline"] > 0
    assert 0 < result["memory_mb"]["loaded"] <= result["memory_mb"]["peak"]
    assert result["cpu_percent"] > 0
    assert (result["energy_mj"] is None) == (result["energy_reason"] is not None)
    assert result["noise"]["verdict"] in ("quiet", "noisy")
    assert result["stop"]["reason"] in ("ci", "budget")
    assert result["warmup"]["runs"] == 20
    assert result["comparison"] is None


def test_the_environment_says_how_it_was_measured(measured: Run) -> None:
    environment = measured.result["environment"]
    assert environment["cpus"] == [min(os.sched_getaffinity(0))]
    assert environment["pinned"] is True
    assert (environment["threads"], environment["batch_size"]) == (1, 1)
    assert environment["input"] == "dataset"
    assert environment["onnxruntime"] == onnxruntime.__version__
    assert environment["provider"] == "CPUExecutionProvider"


def test_progress_only_rises_and_nothing_is_left_behind(measured: Run) -> None:
    percents = [percent for _, percent, _ in measured.told.stages]
    assert percents == sorted(percents)
    assert 0 <= percents[0] <= percents[-1] <= 100
    assert len(measured.told.stages) == len(set(measured.told.stages))
    assert {path.name for path in measured.folder.iterdir()} == {"model.onnx", "dataset.npz", "samples.npz"}


def test_without_data_inputs_are_made_up_and_accuracy_is_null_with_a_reason(tmp_path: Path) -> None:
    result = benchmark(tmp_path, profile_operators=False, batch_size=4).result
    assert result["environment"]["input"] == "random"
    assert result["environment"]["batch_size"] == 4
    assert result["accuracy"] is None
    assert result["accuracy_reason"] == "no dataset was given"
    assert result["operators"] is None


def test_data_without_labels_gives_no_accuracy(tmp_path: Path) -> None:
    result = benchmark(tmp_path, data=sample.CALIBRATION_DATA, profile_operators=False).result
    assert (result["accuracy"], result["accuracy_reason"]) == (None, "the dataset has no labels")


def test_an_earlier_run_is_compared_with_when_its_samples_are_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "earlier.npz", latency_ns=np.full(500, 10**12, dtype=np.int64))
    result = benchmark(tmp_path, profile_operators=False, baseline_samples_path="earlier.npz").result
    assert result["comparison"]["verdict"] == "faster"
    assert result["comparison"]["ratio_p50"] == pytest.approx(result["latency_ms"]["p50"] / 1e6)


def test_a_batch_that_the_model_cannot_take_is_refused_with_the_reason(tmp_path: Path) -> None:
    import onnx

    model = onnx.load(sample.ONNX_MODEL)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(UnsupportedError, match="exactly 1 in the first dimension of its input 'image'") as caught:
        benchmark(tmp_path, tmp_path / "fixed.onnx", batch_size=2)
    assert caught.value.field == "batch_size"


def test_data_for_another_model_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", bytes=np.zeros((3, 8, 8, 1), dtype=np.float32))
    with pytest.raises(EngineError, match="image") as caught:
        benchmark(tmp_path, data=tmp_path / "other.npz")
    assert caught.value.code == "dataset_mismatch"


def test_data_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", image=np.zeros((3, 9, 9, 1), dtype=np.float32))
    with pytest.raises(EngineError) as caught:
        benchmark(tmp_path, data=tmp_path / "other.npz")
    assert caught.value.code == "dataset_mismatch"


def test_a_format_without_a_runtime_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="coreml") as caught:
        benchmark(tmp_path, format=Format.COREML)
    assert caught.value.code == "unsupported_conversion"
    assert "ONNX" in caught.value.fix
