"""From a model to a variant that is proven still right, on the bundled sample and on small graphs."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from edge_ai import sample
from edge_ai.engine.choose import SAME_SPEED
from edge_ai.engine.errors import EngineError, ParityError, UnsupportedError
from edge_ai.engine.formats.onnx import read_model
from edge_ai.engine.pipeline import run
from edge_ai.engine.progress import OutputFile
from edge_ai.engine.recipe import read_recipe
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeSpec, Precision

from . import graphs


@dataclass(frozen=True)
class Made:
    """A finished optimization."""

    result: dict[str, Any]
    files: dict[str, OutputFile]
    folder: Path
    told: graphs.Told

    def read(self, role: str) -> bytes:
        return (self.folder / self.files[role].path).read_bytes()


def optimize(folder: Path, precision: Precision, *, model: Path, data: Path | None = None, **fields: Any) -> Made:
    folder.mkdir(exist_ok=True)
    shutil.copy(model, folder / "model.onnx")
    if data is not None:
        shutil.copy(data, folder / "dataset.npz")
    asked: dict[str, Any] = {"source_format": Format.ONNX, "target_format": Format.ONNX}
    spec = OptimizeSpec(
        model_path="model.onnx",
        precision=precision,
        dataset_path=None if data is None else "dataset.npz",
        **(asked | fields),
    )
    told = graphs.Told()
    made = run(spec, folder, told)
    return Made(result=made.result, files={file.role: file for file in made.files}, folder=folder, told=told)


def top1(model: Path) -> float:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with np.load(sample.EVALUATION_DATA) as data:
        (logits,) = session.run(None, {"image": data["image"]})
        return float(np.mean(logits.argmax(axis=1) == data["labels"]))


@pytest.mark.parametrize(
    ("precision", "data", "least_ratio", "least_db", "kind"),
    [
        (Precision.INT8, sample.CALIBRATION_DATA, 3.0, 25.0, "qdq-int8"),
        (Precision.INT8_DYNAMIC, sample.EVALUATION_DATA, 1.8, 40.0, "dynamic-int8"),
        (Precision.FP16, sample.EVALUATION_DATA, 1.9, 55.0, "fp16"),
        (Precision.FP16, None, 1.9, 55.0, "fp16"),
    ],
)
def test_the_sample_gets_smaller_and_stays_right(
    tmp_path: Path, precision: Precision, data: Path | None, least_ratio: float, least_db: float, kind: str
) -> None:
    made = optimize(tmp_path, precision, model=sample.ONNX_MODEL, data=data)
    result, parity = made.result, made.result["parity"]
    variant = made.folder / made.files["model"].path
    assert result["size_bytes"] == variant.stat().st_size
    assert result["compression_ratio"] == pytest.approx(
        sample.ONNX_MODEL.stat().st_size / variant.stat().st_size, rel=1e-4
    )
    assert result["compression_ratio"] >= least_ratio
    assert parity["sqnr_db"] >= least_db
    assert parity["data"] == ("random" if data is None else "dataset")
    assert 0.99 <= parity["cosine"] <= 1.0 and parity["top1_agreement"] >= 0.98
    assert result["analysis"]["precision"] == kind
    assert top1(sample.ONNX_MODEL) - top1(variant) <= 0.01
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_recipe_says_what_was_done_with_what(tmp_path: Path) -> None:
    made = optimize(tmp_path, Precision.INT8, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA)
    recipe = json.loads(made.read("recipe"))
    assert recipe == made.result["recipe"]
    assert recipe["hashes"] == {
        "source_sha256": hashlib.sha256(sample.ONNX_MODEL.read_bytes()).hexdigest(),
        "dataset_sha256": hashlib.sha256(sample.CALIBRATION_DATA.read_bytes()).hexdigest(),
        "variant_sha256": hashlib.sha256(made.read("model")).hexdigest(),
    }
    assert recipe["options"]["calibration_samples"] == 100
    assert [step["step"] for step in recipe["steps"]] == ["prepare", "quantize"]
    assert recipe["versions"]["onnxruntime"] == onnxruntime.__version__
    assert {item["name"] for item in made.result["passes"]} >= {"load", "prepare", "calibrate minmax"}
    assert all(item["seconds"] >= 0 and item["size_bytes"] > 0 for item in made.result["passes"])


def test_the_same_request_makes_the_same_file(tmp_path: Path) -> None:
    first, second = (
        optimize(tmp_path / name, Precision.INT8, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA).read("model")
        for name in ("a", "b")
    )
    assert first == second


def test_progress_only_grows_and_nothing_is_left_over(tmp_path: Path) -> None:
    made = optimize(tmp_path, Precision.INT8, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA)
    percents = [percent for _, percent, _ in made.told.stages]
    assert percents == sorted(percents) and percents[0] >= 0 and percents[-1] <= 100
    assert {name for name, _, _ in made.told.stages} == {
        "load",
        "prepare",
        "calibrate",
        "quantize",
        "parity",
        "measure",
        "finish",
    }
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.onnx", "dataset.npz", "variant.onnx", "recipe.json", "recipe.yaml"}


def test_labels_decide_and_are_reported(tmp_path: Path) -> None:
    made = optimize(tmp_path, Precision.INT8, model=sample.ONNX_MODEL, data=sample.EVALUATION_DATA)
    metric = made.result["parity"]["metric"]
    # 200 of the 500 samples calibrate, the other 300 judge.
    assert (metric["name"], metric["samples"], made.result["parity"]["samples"]) == ("top1", 300, 300)
    assert metric["drop"] <= 0.02
    assert "same_samples" not in {warning["code"] for warning in made.result["warnings"]}


def test_every_way_that_was_tried_is_told(tmp_path: Path) -> None:
    made = optimize(tmp_path, Precision.INT8, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA)
    trials = made.result["trials"]
    assert [trial["chosen"] for trial in trials].count(True) == 1
    chosen = next(trial for trial in trials if trial["chosen"])
    assert chosen["sqnr_db"] == made.result["parity"]["sqnr_db"]
    assert chosen["size_bytes"] == made.result["size_bytes"]
    assert chosen["settings"]["activations"] == "uint8"


def outlier_data(folder: Path) -> Path:
    x = graphs.samples(240, 2, 6, 6)
    x[::40, 0, 0, 0] = 100.0
    return graphs.save_data(folder / "d.npz", x=x)


def test_a_first_way_that_is_not_good_is_not_the_last(tmp_path: Path) -> None:
    model = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    made = optimize(tmp_path / "work", Precision.INT8, model=model, data=outlier_data(tmp_path))
    trials = made.result["trials"]
    assert len(trials) >= 4
    assert trials[0]["sqnr_db"] < 30
    assert made.result["parity"]["sqnr_db"] == max(trial["sqnr_db"] for trial in trials)
    percents = [percent for _, percent, _ in made.told.stages]
    assert percents == sorted(percents) and "Looking for the layers that lose most" in str(made.told.stages)


def test_without_a_search_the_first_way_is_the_only_one(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"data": sample.CALIBRATION_DATA, "optimization_level": OptimizationLevel.SIZE}
    made = optimize(tmp_path / "one", Precision.INT8, model=sample.ONNX_MODEL, options={"search": False}, **asked)
    (only,) = made.result["trials"]
    assert only["chosen"]
    several = optimize(tmp_path / "all", Precision.INT8, model=sample.ONNX_MODEL, **asked).result["trials"]
    assert len(several) > 1
    assert several[0]["name"] == only["name"]


def test_a_variant_that_is_too_far_off_is_never_completed(tmp_path: Path) -> None:
    model, x, labels = graphs.sharp_net()
    path = graphs.save(model, tmp_path / "m.onnx")
    with pytest.raises(ParityError) as caught:
        optimize(
            tmp_path / "work",
            Precision.INT8,
            model=path,
            data=graphs.save_data(tmp_path / "d.npz", x=x, labels=labels),
            options={"accuracy_budget": 0.0},
        )
    assert caught.value.code == "parity_failed"
    assert caught.value.fix
    details = caught.value.details or {}
    assert len(details["trials"]) >= 4
    assert details["worst_layers"][0]["layer"] in caught.value.message


def test_a_small_set_is_used_twice_with_a_warning(tmp_path: Path) -> None:
    model = graphs.save(graphs.conv_net(), tmp_path / "m.onnx")
    data = graphs.save_data(tmp_path / "d.npz", x=graphs.samples(30, 2, 6, 6))
    made = optimize(tmp_path / "work", Precision.INT8, model=model, data=data)
    codes = {warning["code"] for warning in made.result["warnings"]}
    assert "same_samples" in codes
    assert made.result["parity"]["samples"] == 30


def test_a_variant_that_is_larger_completes_with_a_warning(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    inputs, outputs = [graphs.value("x", [1, 4])], [graphs.value("y", [1, 4])]
    tiny = graphs.save(graphs.model_of([node], inputs, outputs, [graphs.weight("w", 4, 4)]), tmp_path / "m.onnx")
    data = graphs.save_data(tmp_path / "d.npz", x=graphs.samples(220, 4))
    made = optimize(tmp_path / "work", Precision.INT8, model=tiny, data=data)
    # 48 bytes of weights are saved; scales, zero points and six more nodes take more than that.
    assert made.result["compression_ratio"] < 1
    assert "variant_not_smaller" in {warning["code"] for warning in made.result["warnings"]}


def test_speed_measures_every_way_and_keeps_the_fastest_that_is_close_enough(tmp_path: Path) -> None:
    made = optimize(
        tmp_path,
        Precision.INT8,
        model=sample.ONNX_MODEL,
        data=sample.CALIBRATION_DATA,
        optimization_level=OptimizationLevel.SPEED,
    )
    trials = [trial for trial in made.result["trials"] if trial["refused_because"] is None]
    assert len(trials) > 1
    assert all(trial["latency_ratio"] > 0 for trial in trials)
    chosen = next(trial for trial in trials if trial["chosen"])
    assert chosen["latency_ratio"] <= min(trial["latency_ratio"] for trial in trials) * SAME_SPEED
    latency = made.result["latency"]
    assert (latency["against"], latency["method"]) == ("original", "interleaved processes")
    low, high = latency["trials"][chosen["name"]]["ci95"]
    assert low <= latency["trials"][chosen["name"]]["ratio"] <= high


def test_size_keeps_the_smallest_that_is_close_enough(tmp_path: Path) -> None:
    made = optimize(
        tmp_path,
        Precision.INT8,
        model=sample.ONNX_MODEL,
        data=sample.CALIBRATION_DATA,
        optimization_level=OptimizationLevel.SIZE,
    )
    trials = [trial for trial in made.result["trials"] if trial["refused_because"] is None]
    assert len(trials) > 1
    assert made.result["size_bytes"] == min(trial["size_bytes"] for trial in trials)


@pytest.mark.parametrize(
    ("target", "precision", "suffix", "least_db", "least_ratio"),
    [
        (Format.TFLITE, Precision.INT8, ".tflite", 20.0, 2.5),
        (Format.TFLITE, Precision.FP16, ".tflite", 50.0, 1.5),
        (Format.ORT, Precision.FP32, ".ort", 100.0, 0.5),
        (Format.OPENVINO, Precision.FP16, ".zip", 50.0, 1.5),
        (Format.OPENVINO, Precision.INT8, ".zip", 20.0, 2.0),
        (Format.NCNN, Precision.FP32, ".zip", 60.0, 0.5),
    ],
)
def test_the_sample_becomes_another_format_and_stays_right(
    tmp_path: Path, target: Format, precision: Precision, suffix: str, least_db: float, least_ratio: float
) -> None:
    made = optimize(tmp_path, precision, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA, target_format=target)
    result = made.result
    assert made.files["model"].format == target and made.files["model"].name.endswith(suffix)
    assert result["route"] == ["onnx", target.value]
    assert result["parity"]["sqnr_db"] >= least_db
    assert result["compression_ratio"] >= least_ratio
    assert result["analysis"]["inputs"] and result["analysis"]["operators"]
    assert 0 < result["gzip_bytes"] <= result["size_bytes"] * 1.01


@pytest.mark.parametrize(
    ("source", "format", "target", "precision"),
    [
        (sample.TFLITE_MODEL, Format.TFLITE, Format.ONNX, Precision.FP32),
        (sample.TFLITE_MODEL, Format.TFLITE, Format.TFLITE, Precision.INT8_DYNAMIC),
        (sample.KERAS_MODEL, Format.KERAS, Format.ONNX, Precision.FP32),
        (sample.KERAS_MODEL, Format.KERAS, Format.TFLITE, Precision.FP16),
    ],
)
def test_the_sample_in_other_formats_is_a_source_as_well(
    tmp_path: Path, source: Path, format: Format, target: Format, precision: Precision
) -> None:
    made = optimize(tmp_path, precision, model=source, source_format=format, target_format=target)
    assert made.result["route"][0] == format.value and made.result["route"][-1] == target.value
    assert made.result["parity"]["sqnr_db"] >= {Precision.FP32: 80, Precision.FP16: 45}.get(precision, 20)


def test_what_cannot_run_here_is_made_and_called_unchecked(tmp_path: Path) -> None:
    made = optimize(tmp_path, Precision.FP16, model=sample.ONNX_MODEL, target_format=Format.COREML)
    parity = made.result["parity"]
    assert (parity["data"], parity["samples"], parity["sqnr_db"]) == ("not_checked", 0, None)
    assert "parity_not_checked" in {warning["code"] for warning in made.result["warnings"]}
    assert made.result["latency"]["reason"]


def test_compression_comes_before_precision_and_is_told_step_by_step(tmp_path: Path) -> None:
    made = optimize(
        tmp_path, Precision.FP32, model=sample.ONNX_MODEL, data=sample.EVALUATION_DATA, options={"cluster": 256}
    )
    steps = {step["step"]: step for step in made.result["steps"]}
    assert steps["cluster"]["bytes_after"] < steps["cluster"]["bytes_before"]
    assert made.result["compression_ratio"] > 3
    assert made.result["parity"]["metric"]["drop"] <= 0.01


def test_a_recipe_makes_the_same_bytes_again(tmp_path: Path) -> None:
    first = optimize(tmp_path / "a", Precision.INT8, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA)
    recipe = read_recipe(first.read("recipe_yaml").decode())
    assert recipe == read_recipe(first.read("recipe").decode())
    again = optimize(
        tmp_path / "b",
        Precision(recipe["request"]["precision"]),
        model=sample.ONNX_MODEL,
        data=sample.CALIBRATION_DATA,
        options=recipe["options"],
    )
    assert hashlib.sha256(again.read("model")).hexdigest() == recipe["hashes"]["variant_sha256"]


def test_auto_is_resolved(tmp_path: Path) -> None:
    made = optimize(tmp_path, Precision.AUTO, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA)
    assert made.result["precision"] == "int8"


def test_a_recipe_counts_samples_where_the_model_takes_batches(tmp_path: Path) -> None:
    model = graphs.save(graphs.conv_net(batch=8), tmp_path / "m.onnx")
    data = graphs.save_data(tmp_path / "d.npz", x=graphs.samples(240, 2, 6, 6))
    made = optimize(tmp_path / "work", Precision.INT8, model=model, data=data, options={"calibration_samples": 80})
    # Eighty samples are ten feeds of eight.
    assert made.result["recipe"]["options"]["calibration_samples"] == 80


@pytest.mark.parametrize(
    ("precision", "fields", "code"),
    [
        (Precision.INT8, {}, "dataset_required"),
        (Precision.INT16X8, {}, "unsupported_precision"),
        (Precision.FP16, {"target_format": Format.KERAS}, "unsupported_conversion"),
        (Precision.FP16, {"source_format": Format.GGUF}, "unsupported_conversion"),
    ],
)
def test_what_cannot_be_made_is_refused(
    tmp_path: Path, precision: Precision, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(EngineError) as caught:
        optimize(tmp_path, precision, model=sample.ONNX_MODEL, **fields)
    assert caught.value.code == code


def test_data_of_another_model_is_refused(tmp_path: Path) -> None:
    data = graphs.save_data(tmp_path / "d.npz", bytes=np.zeros((60, 2048), np.int32))
    with pytest.raises(EngineError) as caught:
        optimize(tmp_path / "work", Precision.INT8, model=sample.ONNX_MODEL, data=data)
    assert caught.value.code == "dataset_mismatch"


def test_trees_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        optimize(tmp_path / "work", Precision.FP16, model=graphs.save(graphs.trees(), tmp_path / "m.onnx"))
    assert caught.value.code == "nothing_to_quantize"


def test_inputs_and_outputs_stay_what_they_were(tmp_path: Path) -> None:
    for precision in (Precision.INT8, Precision.FP16):
        made = optimize(tmp_path / precision, precision, model=sample.ONNX_MODEL, data=sample.CALIBRATION_DATA)
        before, after = read_model(sample.ONNX_MODEL).graph, read_model(made.folder / "variant.onnx").graph
        assert [value.name for value in after.input] == [value.name for value in before.input]
        assert after.input[0].type == before.input[0].type
        assert [value.name for value in after.output] == [value.name for value in before.output]
