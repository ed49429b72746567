"""Whole models over labelled data sets: the task is found, the output is found, and two runs are compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edge_ai.engine.dataset_task import TaskSpec
from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.evaluation import evaluate_session
from edge_ai.engine.evaluate.metrics.base import NotJudgedError
from edge_ai.engine.evaluate.samples import sample_hashes
from edge_ai.engine.measure.judged import compare_accuracy, judge, keep_correct
from edge_ai.engine.runtime.onnx import OnnxSession, open_session
from edge_ai.engine.spec import Format

from . import graphs

RANDOM = np.random.default_rng(2)


def echo(*shape: int | str) -> OnnxSession:
    """A model that answers what it is asked, so that every answer is known."""
    model = graphs.model_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        [graphs.value("x", list(shape), TensorProto.FLOAT)],
        [graphs.value("y", list(shape), TensorProto.FLOAT)],
    )
    return open_session(model.SerializeToString(), Format.ONNX, threads=1)


def data(x: Any, labels: Any, **task: Any) -> Dataset:
    return Dataset(
        inputs={"x": np.asarray(x, np.float32)},
        labels=None if labels is None else np.asarray(labels),
        task=TaskSpec(**task) if task else None,
    )


@pytest.mark.parametrize(
    ("x", "labels", "task", "first"),
    [
        (np.eye(3), np.arange(3), "classification", ("top1", 1.0)),
        ([[0.2], [0.9], [0.7]], [0, 1, 0], "classification", ("top1", 2 / 3)),
        ([[20.0], [31.0], [40.0]], [20, 30, 42], "regression", ("mae", 1.0)),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [3.0, 4.5]], "regression", ("mae", 0.25)),
        (np.eye(2)[[[[0, 1], [1, 1]]]].transpose(0, 3, 1, 2), [[[0, 1], [1, 0]]], "segmentation", ("miou", 7 / 12)),
    ],
    ids=["scores", "one score", "a quantity", "numbers", "masks"],
)
def test_the_task_is_inferred_from_labels_and_answers(x: Any, labels: Any, task: str, first: tuple[str, float]) -> None:
    given = data(x, labels)
    found = evaluate_session(echo("n", *given.inputs["x"].shape[1:]), given)
    assert (found.task, found.source, found.output) == (task, "inferred", "y")
    name, score = next(iter(found.scores.scores.items()))
    assert name == first[0]
    assert score.value == pytest.approx(first[1])


def test_names_of_classes_and_texts_are_judged_when_the_data_set_says_how() -> None:
    named = data(np.eye(2), ["dog", "cat"], task="classification", classes=("dog", "cat"))
    assert evaluate_session(echo("n", 2), named).scores.scores["top1"].value == 1.0
    path = np.eye(3)[[1, 1, 0, 2]][np.newaxis]
    read = data(path, ["ab"], task="ctc", charset=("a", "b"))
    found = evaluate_session(echo("n", 4, 3), read)
    assert (found.task, found.source, found.scores.scores["cer"].value) == ("ctc", "given", 0.0)


def test_boxes_are_judged_from_one_output() -> None:
    labels = np.array(['[{"category_id": 4, "bbox": [1, 1, 2, 2]}]'])
    given = data([[[1, 1, 3, 3, 0.9, 0]]], labels, task="detection", categories=(4,))
    assert evaluate_session(echo("n", 1, 6), given).scores.scores["map"].value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (data(np.eye(3), None), "no labels"),
        (data(np.eye(3), ["a", "b", "c"]), "no task.json"),
        (data(np.eye(3), [0, 1, 9]), "no output of the model looks like classes"),
        (data(np.eye(3), np.zeros((3, 7))), "no output of the model has the shape"),
        (data(np.eye(3), ["a", "b", "z"], task="classification", classes=("a", "b")), "'z'"),
        (data(np.eye(3), ["a", "b", "a"], task="ctc", charset=("a",)), "has 2 symbols"),
        (data(np.eye(3), [0, 1, 2], task="classification", output="logits"), "names the output 'logits'"),
        (data(np.eye(3), ["x"] * 3, task="detection"), "none has six numbers a box"),
    ],
)
def test_what_cannot_be_judged_says_why(given: Dataset, says: str) -> None:
    with pytest.raises(NotJudgedError, match=says):
        evaluate_session(echo("n", 3), given)


def kept(folder: Path, name: str, given: Dataset, mark: str = "data") -> Path:
    """The samples of a benchmark that judged a data set."""
    path = folder / name
    np.savez(path, latency_ns=np.arange(3))
    keep_correct(path, judge(echo("n", given.inputs["x"].shape[1]), given, max_seconds=60).evaluation, mark)
    return path


def test_two_benchmarks_are_compared_answer_by_answer(tmp_path: Path) -> None:
    labels = RANDOM.integers(0, 4, 100)
    before, after = np.eye(4)[labels], np.eye(4)[labels]
    after[:12] = np.roll(after[:12], 1, axis=1)
    before[90:93] = np.roll(before[90:93], 1, axis=1)
    earlier, now = kept(tmp_path, "a.npz", data(before, labels)), kept(tmp_path, "b.npz", data(after, labels))
    found = compare_accuracy(earlier, now)["accuracy"]
    assert (found["only_baseline"], found["only_this"], found["n"]) == (12, 3, 100)
    assert found["sentence"] == "9.0 points lower, significant at n = 100"
    with np.load(now, allow_pickle=False) as stored:
        assert stored["latency_ns"].tolist() == [0, 1, 2]
    # A baseline that was judged on a part of them is compared on that part.
    with np.load(earlier, allow_pickle=False) as stored:
        part = {
            name: stored[name][:50] if name.startswith("correct") and stored[name].ndim else stored[name]
            for name in stored
        }
    np.savez(tmp_path / "part.npz", **part)
    assert compare_accuracy(tmp_path / "part.npz", now)["accuracy"]["n"] == 50


def test_other_data_or_other_tasks_are_not_compared(tmp_path: Path) -> None:
    labels = np.arange(4)
    one = kept(tmp_path, "a.npz", data(np.eye(4), labels))
    other = kept(tmp_path, "b.npz", data(np.eye(4), labels), mark="other")
    numbers = kept(tmp_path, "c.npz", data(np.eye(4), np.eye(4) + 0.5))
    for earlier, now, says in (
        (other, one, "another data set"),
        (numbers, one, "the baseline"),
        (one, numbers, "this benchmark"),
    ):
        found = compare_accuracy(earlier, now)
        assert found["accuracy"] is None
        assert says in found["accuracy_reason"]


def test_samples_that_calibrated_the_model_are_counted() -> None:
    given = data(np.eye(4), np.arange(4))
    hashes = sample_hashes(given.inputs)
    found = judge(echo("n", 4), given, max_seconds=60, hashes=hashes, calibrated_on=[*hashes[:3], "else"])
    assert found.to_json()["accuracy_detail"]["calibrated_samples"] == 3
