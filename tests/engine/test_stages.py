"""Stages that are taken over from an earlier attempt give the very result that doing them again gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ai import sample
from edge_ai.engine import identity, optimize, stages
from edge_ai.engine.evaluate.distance import OutputParity
from edge_ai.engine.evaluate.kept import parity_from_json, parity_to_json, tensors_from_json, tensors_to_json
from edge_ai.engine.evaluate.parity import MetricChange, Parity
from edge_ai.engine.evaluate.significance import PairedChange
from edge_ai.engine.pipeline import run
from edge_ai.engine.quantize import tflite
from edge_ai.engine.runtime.base import Tensor
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeSpec, Precision
from edge_ai.engine.stages import EARLIER, FINISHED, Stages
from edge_ai.engine.verdict import Latency

from . import graphs


class Listener(graphs.Told):
    """Keeps what it is told, and the keys of finished stages."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def stage_done(self, key: str) -> None:
        self.keys.append(key)


@dataclass(kw_only=True)
class Attempt:
    """One attempt at an optimization."""

    folder: Path
    result: dict[str, Any]
    variant: bytes
    recipe: bytes
    told: Listener = field(default_factory=Listener)

    @property
    def finished(self) -> Path:
        return self.folder / FINISHED

    @property
    def reused(self) -> list[str]:
        return [item["name"] for item in self.result["passes"] if item.get("reused")]


def attempt(folder: Path, earlier: Path | None, *, model: Path, data: Path | None = None, **asked: Any) -> Attempt:
    folder.mkdir()
    shutil.copy(model, folder / "model")
    if data is not None:
        shutil.copy(data, folder / "dataset.npz")
    if earlier is not None:
        shutil.copytree(earlier, folder / EARLIER)
    usual: dict[str, Any] = {"source_format": Format.ONNX, "target_format": Format.ONNX, "keep_stages": True}
    spec = OptimizeSpec(model_path="model", dataset_path=None if data is None else "dataset.npz", **usual | asked)
    told = Listener()
    made = run(spec, folder, told)
    files = {file.role: folder / file.path for file in made.files}
    return Attempt(
        folder=folder,
        result=made.result,
        variant=files["model"].read_bytes(),
        recipe=files["recipe"].read_bytes(),
        told=told,
    )


def same(one: Attempt, other: Attempt) -> bool:
    """Whether two attempts made the same, to the last bit, but for the times that things took."""
    names = ("parity", "steps", "warnings", "recipe", "analysis", "route", "size_bytes")
    untimed = [
        [{name: value for name, value in trial.items() if name != "seconds"} for trial in each.result["trials"]]
        for each in (one, other)
    ]
    return (
        (one.variant, one.recipe) == (other.variant, other.recipe)
        and all(one.result[name] == other.result[name] for name in names)
        and untimed[0] == untimed[1]
    )


@pytest.fixture(autouse=True, scope="module")
def _no_clock_decides() -> Iterator[None]:
    """Which of several variants is kept hangs on measured times, which differ from run to run; here they do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimize, "judge_latency", lambda *_, **__: Latency(reason="not measured"))
        yield


INT8: dict[str, Any] = {
    "model": sample.ONNX_MODEL,
    "data": sample.CALIBRATION_DATA,
    "precision": Precision.INT8,
    "options": {"deduplicate": True, "prune": "unstructured", "sparsity": 0.5},
}


def test_what_is_taken_over_changes_nothing(tmp_path: Path) -> None:
    # 90 % of the weights are gone, so that no way is close and the search goes through all of them.
    plain = attempt(tmp_path / "plain", None, **INT8 | {"keep_stages": False})
    first = attempt(tmp_path / "first", None, **INT8)
    second = attempt(tmp_path / "second", first.finished, **INT8)
    assert not plain.finished.exists() and plain.reused == []
    assert sorted(first.told.keys) == sorted(path.name for path in first.finished.iterdir())
    assert first.reused == [] and first.result["reused_seconds"] == 0
    assert {"answers of the original", "compress", "quantize: MinMax", "parity: MinMax"} <= set(second.reused)
    assert second.result["reused_seconds"] > 0
    assert second.told.keys == [], "nothing was left to do"
    assert any("taken from an earlier attempt" in text for _, text in second.told.logs)
    assert same(plain, first) and same(first, second)


def keep(*wanted: str) -> Callable[[dict[str, Any]], bool]:
    """Say which stages survive, by a pass that they hold."""
    return lambda value: any(item["name"] in wanted for item in value.get("passes", ()))


def test_a_search_that_was_cut_short_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Later ways need what earlier ways measured: the ranges of activations, by minmax before percentile."""
    first = attempt(tmp_path / "first", None, **INT8)
    survives = keep("compress", "quantize: MinMax", "quantize: MinMax, only Conv, MatMul and Gemm")
    for folder in first.finished.iterdir():
        if not survives(json.loads((folder / stages.DESCRIPTION).read_text())["value"]):
            shutil.rmtree(folder)
    second = attempt(tmp_path / "second", first.finished, **INT8)
    names = [item["name"] for item in second.result["passes"]]
    assert "quantize: MinMax" in second.reused
    assert "quantize: Percentile 99.99" in names and "quantize: Percentile 99.99" not in second.reused
    assert same(first, second)


def test_layers_are_looked_at_all_the_same_where_ways_were_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow Lite's layers are found by what the first way observed."""
    monkeypatch.setattr(tflite, "GOOD_DB", 1000.0)
    asked: dict[str, Any] = {
        "model": sample.TFLITE_MODEL,
        "data": sample.CALIBRATION_DATA,
        "source_format": Format.TFLITE,
        "target_format": Format.TFLITE,
        "precision": Precision.INT8,
        "optimization_level": OptimizationLevel.SIZE,
    }
    first = attempt(tmp_path / "first", None, **asked)
    assert any("worst layers" in trial["name"] for trial in first.result["trials"])
    second = attempt(tmp_path / "second", first.finished, **asked)
    assert len([name for name in second.reused if name.startswith("quantize")]) == len(first.result["trials"]) > 4
    assert same(first, second)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """From ONNX to TensorFlow Lite in fp16."""
    folder = tmp_path_factory.mktemp("converted")
    return attempt(
        folder / "first",
        None,
        model=sample.ONNX_MODEL,
        data=sample.CALIBRATION_DATA,
        target_format=Format.TFLITE,
        precision=Precision.FP16,
    )


def test_another_precision_has_the_same_conversion(converted: Attempt, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "model": sample.ONNX_MODEL,
        "data": sample.CALIBRATION_DATA,
        "target_format": Format.TFLITE,
        "precision": Precision.INT8,
        "options": {"search": False},
    }
    taken = attempt(tmp_path / "taken", converted.finished, **asked)
    anew = attempt(tmp_path / "anew", None, **asked)
    assert taken.reused == ["convert onnx to tflite"], "the calibration draws other samples to judge on"
    assert same(taken, anew)
    assert anew.reused == []


def test_a_damaged_stage_is_done_again(converted: Attempt, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(converted.finished, kept)
    for folder in kept.iterdir():
        for path in (folder / "files").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-1] + b"!")
    stage = next(kept.iterdir())
    (stage / stages.DESCRIPTION).write_text("[]")
    again = attempt(
        tmp_path / "again",
        kept,
        model=sample.ONNX_MODEL,
        data=sample.CALIBRATION_DATA,
        target_format=Format.TFLITE,
        precision=Precision.FP16,
    )
    assert again.reused == []
    assert same(again, converted)


def test_what_decides_an_outcome_decides_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(source: str = "a", **facts: Any) -> str:
        made = Stages(tmp_path, active=True, facts={"source": source}, progress=Listener())
        return made.key("convert", **{"edge": "x"} | facts)

    usual = key()
    assert stages.KEY.fullmatch(usual) and key() == usual
    assert len({usual, key("b"), key(edge="y"), key(more=1)}) == 4
    versions = identity.library_versions()
    assert {"numpy", "onnx", "onnxruntime"} <= set(versions)
    monkeypatch.setattr(stages, "library_versions", lambda: versions | {"onnx": "0.0.1"})
    assert key() != usual, "another version of a library"
    monkeypatch.undo()
    monkeypatch.setattr(stages, "code_sha256", lambda: "0" * 64)
    assert key() != usual, "another engine"


def test_a_stage_that_has_no_plain_form_or_no_room_is_not_left(tmp_path: Path) -> None:
    told = Listener()
    made = Stages(tmp_path, active=True, facts={}, progress=told)
    made.keep("a" * 64, value={"array": np.zeros(2)}, seconds=1, files={})
    made.keep("b" * 64, value={}, seconds=1, files={"gone": tmp_path / "gone"})
    assert list((tmp_path / FINISHED).iterdir()) == [] and told.keys == []
    (tmp_path / "large").write_bytes(bytes(stages.COPIED_PER_SECOND // 1000))
    made.keep("d" * 64, value={}, seconds=0.0005, files={"large": tmp_path / "large"})
    assert not (tmp_path / FINISHED / ("d" * 64)).exists(), "sooner done again than copied"
    made.keep("c" * 64, value={}, seconds=1, files={})
    assert told.keys == ["c" * 64]
    assert made.take("c" * 64, "of this very attempt") is None, "only what was laid out is taken over"


def test_figures_come_back_to_the_last_bit() -> None:
    parity = Parity(
        outputs=(
            OutputParity(name="y", sqnr_db=31.123456789012345, cosine=1 / 3, max_abs_error=float("inf")),
            OutputParity(name="z", sqnr_db=None, cosine=None, max_abs_error=None, agreement=0.1, same_shape=False),
        ),
        samples=7,
        data="dataset",
        metric=MetricChange(name="top1", reference=2 / 3, variant=0.1, samples=7),
        notes=("a note",),
        informative=False,
    )
    change = PairedChange(
        samples=7, only_first=3, only_second=1, difference=-100 * 2 / 7, ci95=(-70.5, 1 / 3), p_value=0.625
    )
    judged = replace(parity, metric=MetricChange(name="top1", reference=2 / 3, variant=0.1, samples=7, change=change))
    for each in (parity, judged):
        again = parity_from_json(json.loads(json.dumps(parity_to_json(each))))
        assert again == each and again.to_json() == each.to_json()
    tensors = (
        Tensor(name="x", dtype="int8", shape=(None, "n", 3), scale=float(np.float32(0.1)), zero_point=-3),
        Tensor(name="s", dtype="string", shape=None),
    )
    assert tensors_from_json(json.loads(json.dumps(tensors_to_json(tensors)))) == tensors
