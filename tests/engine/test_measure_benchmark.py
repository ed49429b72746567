"""A whole benchmark of the bundled sample, and what is refused."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edge_ai import sample
from edge_ai.engine.errors import EngineError, ResourceError, UnsupportedError
from edge_ai.engine.evaluate.accuracy import wilson_interval
from edge_ai.engine.measure import planned
from edge_ai.engine.measure.benchmark import run_benchmark
from edge_ai.engine.measure.layers import names_of_onnx
from edge_ai.engine.progress import OutputFile
from edge_ai.engine.spec import BenchmarkSpec, Format
from tests.engine.graphs import Axes, endless_loop, model_of, value


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
    assert {(row["dtype"], row["provider"], row["transition"]) for row in operators if row["type"] == "Conv"} == {
        ("float32", "CPUExecutionProvider", None)
    }
    layers = names_of_onnx(sample.ONNX_MODEL).types
    assert {layers[row["layer"]] for row in operators if row["type"] == "Conv" and row["layer"]} == {"Conv"}
    assert all(0 < row["median_ms"] * row["count"] < 3 * row["total_ms"] + 0.1 for row in operators if row["median_ms"])
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
    # Where others that share the runtime's libraries come and go meanwhile, it is not told, and that is.
    baseline = result["memory_mb"]["baseline"]
    assert baseline > 0 if baseline is not None else "Baseline: not told, since" in result["memory_detail"]
    assert 0 < result["memory_mb"]["loaded"] <= result["memory_mb"]["peak"]
    assert result["memory_mb"]["high_water"] >= result["memory_mb"]["peak"]
    assert result["cpu_percent"] > 0
    spent = result["cpu_time"]
    assert result["cpu_percent"] == pytest.approx(100 * (spent["user_s"] + spent["system_s"]) / spent["wall_s"])
    # One thread: an inference takes no more processor time than time, but for the looks at the clock and the machine.
    assert 0 < spent["ms_per_inference"] < 1.5 * result["latency_ms"]["mean"]
    assert (result["energy_mj"] is None) == (result["energy_reason"] is not None)
    assert result["noise"]["verdict"] in ("quiet", "noisy")
    assert result["stop"]["reason"] in ("ci", "budget")
    assert result["warmup"]["runs"] == 20
    assert result["comparison"] is None


def test_a_noisy_measurement_was_made_twice_and_both_are_told(measured: Run) -> None:
    noise = measured.result["noise"]
    attempts = noise["attempts"]
    (chosen,) = (one for one in attempts if one["chosen"])
    assert chosen["verdict"] == noise["verdict"]
    assert chosen["p50_ms"] == pytest.approx(measured.result["latency_ms"]["p50"])
    assert chosen["samples"] == measured.result["latency_ms"]["samples"]
    assert [one["verdict"] for one in attempts[:-1]] == ["noisy"] * (len(attempts) - 1)
    assert len(attempts) == 2 or noise["verdict"] == "quiet"
    assert noise["outliers"]["share"] == pytest.approx(noise["signals"]["outliers"])
    assert noise["outliers"]["slowest_ms"] == measured.result["latency_ms"]["max"]
    with np.load(measured.folder / "samples.npz", allow_pickle=False) as stored:
        other = [one for one in attempts if not one["chosen"]]
        assert [one["samples"] for one in other] == [
            len(stored[name]) for name in stored.files if name == "other_latency_ns"
        ]


def test_every_shape_of_streams_and_threads_that_was_tried_is_told(measured: Run) -> None:
    throughput = measured.result["throughput"]
    assert [(one["streams"], one["threads"]) for one in throughput["tried"]] == [(1, 1)]
    assert throughput["per_s"] == max(one["per_s"] for one in throughput["tried"])


def test_the_environment_says_how_it_was_measured(measured: Run) -> None:
    environment = measured.result["environment"]
    assert environment["cpus"] == [min(os.sched_getaffinity(0))]
    assert environment["pinned"] is True
    assert (environment["threads"], environment["batch_size"]) == (1, 1)
    assert environment["input"] == "dataset"
    assert environment["onnxruntime"] == onnxruntime.__version__
    assert environment["provider"] == "CPUExecutionProvider"
    assert environment["libraries"]["onnxruntime"] == onnxruntime.__version__
    assert environment["libraries"]["numpy"] == np.__version__


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
    assert result["accuracy_reason"] == "no data set was given"
    assert result["operators"] is None


def test_data_without_labels_gives_no_accuracy(tmp_path: Path) -> None:
    result = benchmark(tmp_path, data=sample.CALIBRATION_DATA, profile_operators=False).result
    assert (result["accuracy"], result["accuracy_reason"]) == (None, "the data set has no labels")


def test_an_earlier_run_is_compared_with_when_its_samples_are_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "earlier.npz", latency_ns=np.full(500, 10**12, dtype=np.int64))
    result = benchmark(tmp_path, profile_operators=False, baseline_samples_path="earlier.npz").result
    assert result["comparison"]["verdict"] == "faster"
    assert result["comparison"]["ratio_p50"] == pytest.approx(result["latency_ms"]["p50"] / 1e6)


def test_a_batch_that_the_model_cannot_take_is_refused_with_the_reason(tmp_path: Path) -> None:
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


def test_a_model_that_never_ends_is_stopped_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "INFERENCE_SECONDS", 1.0)
    onnx.save(endless_loop(), tmp_path / "endless.onnx")
    begun = time.monotonic()
    with pytest.raises(ResourceError, match="far longer than its time budget") as caught:
        benchmark(tmp_path, tmp_path / "endless.onnx", min_seconds=0.1, max_seconds=0.1)
    assert caught.value.code == "resource_limit"
    assert caught.value.details == {"phase": "warmup"}
    # Loading may take long on a busy machine, but five minutes are what it may take at most.
    assert time.monotonic() - begun < 60


def test_a_batch_whose_inputs_need_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    shape: Axes = ["batch", 3, 16384, 16384]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(model_of([node], [value("x", shape)], [value("y", shape)]), tmp_path / "large.onnx")
    with pytest.raises(ResourceError, match=r"with a batch of 1024 take 3298\.5 GB") as caught:
        benchmark(tmp_path, tmp_path / "large.onnx", batch_size=1024)
    assert (caught.value.code, caught.value.field) == ("resource_limit", "batch_size")


def test_a_batch_that_the_model_makes_too_large_is_told_as_a_lack_of_memory(tmp_path: Path) -> None:
    # [batch, 1] becomes [batch, 10^11], of four bytes each.
    width = onnx.numpy_helper.from_array(np.array([1, 10**11]), "width")
    node = onnx.helper.make_node("Expand", ["x", "width"], ["y"])
    made = model_of([node], [value("x", ["batch", 1])], [value("y", ["batch", None])], [width])
    onnx.save(made, tmp_path / "wide.onnx")
    with pytest.raises(ResourceError, match="more memory") as caught:
        benchmark(tmp_path, tmp_path / "wide.onnx", batch_size=64)
    assert caught.value.code == "resource_limit"


@pytest.mark.parametrize("fields", [{"max_seconds": 0.0}, {"min_seconds": 0.0}, {"max_seconds": -1.0}])
def test_a_budget_of_nothing_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(EngineError) as caught:
        benchmark(tmp_path, **fields)
    assert (caught.value.code, caught.value.field) == ("invalid_request", next(iter(fields)))
