"""Accuracy of classifiers against hand counts, and the Wilson interval against published values."""

import numpy as np
import pytest

from edge_ai.engine.evaluate.accuracy import (
    class_labels,
    classifying_output,
    evaluate_classification,
    wilson_interval,
)
from edge_ai.engine.evaluate.task import feed_sample, required_batch
from edge_ai.engine.runtime.base import Tensor


def floats(name: str, *shape: int | str | None) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=shape)


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_matches_newcombe(right: int, samples: int, low: float, high: float) -> None:
    assert wilson_interval(right, samples) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_is_symmetric_and_holds_the_share() -> None:
    low, high = wilson_interval(3, 40)
    assert wilson_interval(37, 40) == pytest.approx((1 - high, 1 - low))
    assert wilson_interval(40, 40)[1] == 1.0
    assert low < 3 / 40 < high


def test_top1_and_top5_by_hand() -> None:
    scores = np.tile(np.arange(12, dtype=np.float32), (4, 1))
    # The scores rise with the class: 11 is first, 7 is fifth, 6 is sixth.
    accuracy = evaluate_classification(scores, np.array([11, 7, 6, 0]))
    assert accuracy.top1 == 0.25
    assert accuracy.top5 == 0.5
    assert accuracy.metrics() == {"top1": 0.25, "top5": 0.5}
    assert accuracy.intervals() == {"top1": list(wilson_interval(1, 4)), "top5": list(wilson_interval(2, 4))}
    assert (accuracy.samples, accuracy.classes) == (4, 12)


def test_few_classes_have_no_top5() -> None:
    accuracy = evaluate_classification(np.eye(3), np.array([0, 1, 1]))
    assert accuracy.metrics() == {"top1": pytest.approx(2 / 3)}
    assert list(accuracy.intervals()) == ["top1"]


def test_ties_go_to_the_lower_class_as_with_argmax() -> None:
    scores = np.zeros((10, 10), dtype=np.int8)
    labels = np.arange(10)
    accuracy = evaluate_classification(scores, labels)
    assert accuracy.top1 == float(np.mean(scores.argmax(axis=1) == labels))
    assert accuracy.top5 == 0.5


def test_a_row_with_nan_and_a_label_out_of_range_are_wrong() -> None:
    scores = np.array([[np.nan, 0.0], [np.nan, np.nan], [0.0, 1.0], [0.0, 1.0]])
    assert evaluate_classification(scores, np.array([1, 0, 2, 1])).top1 == 0.25


def test_integers_can_be_quantized_scores_or_the_classes_themselves() -> None:
    labels = np.array([2, 0])
    assert evaluate_classification(np.array([[0, 1, 255], [200, 3, 4]], dtype=np.uint8), labels).top1 == 1.0
    classes = evaluate_classification(np.array([2, 1]), labels)
    assert (classes.top1, classes.top5, classes.classes) == (0.5, None, None)


def test_middle_dimensions_of_one_are_ignored_and_others_refused() -> None:
    assert evaluate_classification(np.eye(3).reshape(3, 1, 1, 3), np.arange(3)).top1 == 1.0
    with pytest.raises(ValueError, match="not one row of scores"):
        evaluate_classification(np.zeros((3, 2, 3)), np.arange(3))
    with pytest.raises(ValueError, match="do not belong"):
        evaluate_classification(np.zeros((4, 3)), np.arange(3))


def test_the_output_that_looks_like_classes_is_found() -> None:
    feature_map, embedding, one, scores = (np.zeros(shape) for shape in ((3, 7, 7, 8), (3, 64), (3, 1), (3, 4)))
    assert classifying_output([feature_map, embedding, one, scores], samples=3, highest_label=3) == 3
    assert classifying_output([one, scores], samples=3, highest_label=4) is None
    classes, maps = np.array([1, 3, 0]), [{0: 0.5, 1: 0.5}] * 3
    assert classifying_output([classes, maps], samples=3, highest_label=3) == 0
    assert classifying_output([np.array(["a", "b", "c"]), maps], samples=3, highest_label=3) is None


def test_only_integers_one_a_sample_are_labels_of_classes() -> None:
    labels = class_labels(np.array([[3], [1]], dtype=np.int16))
    assert labels is not None
    assert labels.tolist() == [3, 1]
    for other in (None, np.array([0.5, 1.0]), np.array([[1, 0], [0, 1]]), np.array([-1, 2]), np.array([], dtype=int)):
        assert class_labels(other) is None


def test_samples_are_fed_one_by_one_unless_the_model_demands_more() -> None:
    dynamic, fixed, scalar = floats("x", "batch", 4), floats("x", 4, 4), floats("s")
    arrays = {"x": np.arange(40.0).reshape(10, 4), "s": np.arange(10.0)}
    assert required_batch([dynamic, scalar], arrays) == 1
    assert required_batch([fixed, scalar], arrays) == 4
    feed = feed_sample([dynamic, scalar], arrays, [2])
    assert feed["x"].tolist() == [[8, 9, 10, 11]]
    assert (feed["s"].shape, feed["s"].item()) == ((), 2)
    assert feed_sample([fixed], arrays, [0, 2, 4, 6])["x"].shape == (4, 4)


def test_a_sample_that_has_the_rank_of_the_input_is_fed_as_it_is() -> None:
    arrays = {"audio": np.zeros((5, 1, 160)), "state": np.zeros((5, 2, 1, 8))}
    inputs = [floats("audio", 1, "samples"), floats("state", 2, None, 8)]
    assert {name: array.shape for name, array in feed_sample(inputs, arrays, [3]).items()} == {
        "audio": (1, 160),
        "state": (2, 1, 8),
    }
    assert required_batch(inputs, arrays) == 1
