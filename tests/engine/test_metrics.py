"""Metrics against scikit-learn, published examples and cases counted by hand."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, mean_absolute_error, roc_auc_score

from edge_ai.engine.evaluate.metrics.base import NotJudgedError
from edge_ai.engine.evaluate.metrics.classification import ClassificationScorer
from edge_ai.engine.evaluate.metrics.detection import DetectionScorer, to_corners
from edge_ai.engine.evaluate.metrics.intervals import bootstrap_interval, ratio_statistic, wilson_interval
from edge_ai.engine.evaluate.metrics.regression import RegressionScorer
from edge_ai.engine.evaluate.metrics.segmentation import SegmentationScorer, predicted_mask
from edge_ai.engine.evaluate.metrics.sequence import CtcScorer, edit_distance, greedy_ctc

RANDOM = np.random.default_rng(5)


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = RANDOM.normal(3.0, 2.0, 400)
    found = bootstrap_interval(ratio_statistic(values, np.ones(400)), 400)
    assert found is not None
    half = 1.96 * values.std() / math.sqrt(400)
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.2 * half)


def test_the_bootstrap_of_a_share_agrees_with_wilson_and_repeats_itself() -> None:
    right = np.arange(500) < 450
    share = ratio_statistic(right.astype(float), np.ones(500))
    found = bootstrap_interval(share, 500)
    assert found == pytest.approx(wilson_interval(450, 500), abs=0.004)
    assert found == bootstrap_interval(share, 500)


def test_one_sample_and_figures_that_are_not_there_leave_no_interval() -> None:
    assert bootstrap_interval(lambda weights: 1.0, 1) is None
    assert bootstrap_interval(lambda weights: math.nan, 10) is None


def test_a_model_that_is_always_right_has_no_interval_but_of_shares() -> None:
    scorer = ClassificationScorer(np.arange(3), output=0)
    scorer.add([np.eye(3)], [0, 1, 2])
    scores = scorer.finish().scores
    assert scores["macro_f1"].value == 1.0
    assert scores["macro_f1"].ci95 is None
    assert scores["top1"].ci95 == wilson_interval(3, 3)


def test_classes_agree_with_scikit_learn() -> None:
    labels = RANDOM.integers(0, 6, 300)
    scores = RANDOM.normal(size=(300, 6)) + 1.5 * np.eye(6)[labels]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    for given in (scores, shares):
        scorer = ClassificationScorer(labels, output=0)
        for place in range(300):
            scorer.add([given[place : place + 1]], [place])
        found = scorer.finish()
        predicted = scores.argmax(axis=1)
        assert found.scores["macro_f1"].value == pytest.approx(f1_score(labels, predicted, average="macro"))
        area = roc_auc_score(labels, shares, multi_class="ovr")
        assert found.scores["roc_auc"].value == pytest.approx(area)
        assert found.detail["confusion"]["matrix"] == confusion_matrix(labels, predicted).tolist()
        assert found.correct is not None and found.correct.tolist() == (predicted == labels).tolist()
        for score in found.scores.values():
            assert score.ci95 is not None and score.ci95[0] < score.value < score.ci95[1]


def test_f1_of_classes_that_are_said_but_never_meant_counts_as_nothing() -> None:
    labels, answers = np.array([0, 0, 1, 1]), np.eye(3)[[0, 2, 1, 1]]
    scorer = ClassificationScorer(labels, output=0)
    scorer.add([answers], [0, 1, 2, 3])
    assert scorer.finish().scores["macro_f1"].value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_one_score_a_sample_is_that_of_class_one() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0])
    scores = np.array([[0.1], [0.4], [0.35], [0.8], [0.9], [0.6]], np.float32)
    scorer = ClassificationScorer(labels, output=0)
    scorer.add([scores], list(range(6)))
    found = scorer.finish()
    assert found.scores["top1"].value == pytest.approx(4 / 6)
    assert found.scores["roc_auc"].value == pytest.approx(roc_auc_score(labels, scores[:, 0]))
    # Scores that are no shares are divided at 0.
    scorer = ClassificationScorer(labels, output=0)
    scorer.add([scores * 10 - 5], list(range(6)))
    assert scorer.finish().scores["top1"].value == pytest.approx(4 / 6)


def test_equal_scores_count_half_in_the_area_under_the_curve() -> None:
    labels = np.array([0, 1, 0, 1])
    scorer = ClassificationScorer(labels, output=0)
    scorer.add([np.array([[0.5], [0.5], [0.5], [0.5]], np.float32)], [0, 1, 2, 3])
    assert scorer.finish().scores["roc_auc"].value == 0.5


def test_beyond_fifty_classes_the_worst_confusions_stand_for_the_matrix() -> None:
    labels = np.array([3, 3, 3, 7, 59])
    answers = np.eye(60)[[4, 4, 3, 8, 59]]
    answers[4] = np.nan
    scorer = ClassificationScorer(labels, output=0)
    scorer.add([answers], list(range(5)))
    told = scorer.finish().detail["confusion"]
    assert told["matrix"] is None
    assert told["worst"] == [{"label": 3, "predicted": 4, "count": 2}, {"label": 7, "predicted": 8, "count": 1}]
    assert (told["classes"], told["unanswered"]) == (60, 1)


def test_numbers_agree_with_scikit_learn_and_a_hand() -> None:
    labels, answers = RANDOM.normal(size=(50, 3)), RANDOM.normal(size=(50, 3))
    scorer = RegressionScorer(labels, output=0)
    for place in range(50):
        scorer.add([answers[place : place + 1]], [place])
    found = scorer.finish().scores
    assert found["mae"].value == pytest.approx(mean_absolute_error(labels, answers))
    assert found["rmse"].value == pytest.approx(math.sqrt(np.square(labels - answers).mean()))
    assert found["rmse"].ci95 is not None and found["rmse"].ci95[0] < found["rmse"].value < found["rmse"].ci95[1]
    by_hand = RegressionScorer(np.array([1.0, 2.0]), output=0)
    by_hand.add([np.array([[2.0], [5.0]])], [0, 1])
    assert by_hand.finish().scores["mae"].value == 2.0
    with pytest.raises(NotJudgedError, match="not finite"):
        by_hand.add([np.array([[math.nan]])], [0])


def test_masks_agree_with_scikit_learn() -> None:
    labels = RANDOM.integers(0, 4, (6, 8, 9))
    scores = RANDOM.normal(size=(6, 8, 9, 4)) + 2 * np.eye(4)[labels]
    wanted = jaccard_score(labels.ravel(), scores.argmax(axis=3).ravel(), average="macro")
    for given in (scores, scores.transpose(0, 3, 1, 2), scores.argmax(axis=3)):
        scorer = SegmentationScorer(labels, output=0, ignore=255)
        for place in range(6):
            scorer.add([given[place : place + 1]], [place])
        found = scorer.finish()
        assert found.scores["miou"].value == pytest.approx(wanted)
        assert found.scores["pixel_accuracy"].value == pytest.approx((scores.argmax(axis=3) == labels).mean())
        assert [row["pixels"] for row in found.detail["iou"]] == np.bincount(labels.ravel()).tolist()


def test_pixels_that_do_not_count_do_not_and_classes_that_no_mask_has_are_wrong() -> None:
    labels = np.array([[[0, 1], [255, 1]]])
    scorer = SegmentationScorer(labels, output=0, ignore=255)
    scorer.add([np.array([[[0, 1], [0, 9]]])], [0])
    found = scorer.finish()
    # Class 0: 1 of 1; class 1: 1 of 2.
    assert found.scores["miou"].value == pytest.approx(0.75)
    assert found.scores["pixel_accuracy"].value == pytest.approx(2 / 3)


def test_a_plane_of_shares_is_divided_at_a_half_and_other_sizes_are_no_masks() -> None:
    plane = np.array([[0.2, 0.5], [0.9, 0.1]], np.float32)
    for shape in ((2, 2), (1, 2, 2), (2, 2, 1), (1, 1, 2, 2)):
        found = predicted_mask(plane.reshape(shape), 2, 2)
        assert found is not None and found.tolist() == [[0, 1], [1, 0]]
    assert predicted_mask(plane, 3, 2) is None


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [("kitten", "sitting", 3), ("saturday", "sunday", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0)],
)
def test_edit_distances_of_textbooks(left: str, right: str, distance: int) -> None:
    assert edit_distance(left, right) == distance
    assert edit_distance(right, left) == distance


def test_greedy_ctc_joins_repetitions_and_drops_blanks() -> None:
    # "-" is the blank: a a - a b b - becomes "aab".
    path = [1, 1, 0, 1, 2, 2, 0]
    assert greedy_ctc(np.eye(3)[path], "ab", blank=0) == "aab"
    assert greedy_ctc(np.eye(3)[[0, 0, 2, 0, 1, 1, 2]], "ab", blank=2) == "aab"


def test_error_rates_are_all_errors_by_all_that_was_meant() -> None:
    charset = "abcd "
    meant, read = ["ab cd", "abcd"], ["ab dd", "abcd"]
    scorer = CtcScorer(np.array(meant), output=0, charset=charset, blank=-1)
    for place, text in enumerate(read):
        path: list[int] = []
        for symbol in text:
            path += [charset.index(symbol), len(charset)]
        steps = np.eye(6)[path]
        scorer.add([steps[np.newaxis] if place else steps[:, np.newaxis]], [place])
    found = scorer.finish()
    assert found.scores["cer"].value == pytest.approx(1 / 9)
    assert found.scores["wer"].value == pytest.approx(1 / 3)
    assert found.scores["exact"].value == 0.5
    assert found.correct is not None and found.correct.tolist() == [False, True]
    assert found.detail["misread"] == [{"label": "ab cd", "read": "ab dd"}]
    with pytest.raises(NotJudgedError, match="has 6 symbols"):
        scorer.add([np.zeros((1, 4, 5))], [0])


def coco(*boxes: tuple[int, float, float, float, float], crowd: int = 0) -> str:
    return json.dumps([{"category_id": box[0], "bbox": box[1:], "iscrowd": crowd} for box in boxes])


def detection(
    labels: list[str], answers: list[list[list[float]]], categories: tuple[int, ...] = ()
) -> dict[str, float]:
    scorer = DetectionScorer(
        np.array(labels), categories=categories, boxes=0, scores=None, classes=None, form="xyxy", size=None
    )
    for place, answer in enumerate(answers):
        scorer.add([np.array([answer], np.float32).reshape(1, -1, 6)], [place])
    return {name: score.value for name, score in scorer.finish().scores.items()}


def test_boxes_that_are_all_right_have_a_precision_of_one() -> None:
    found = detection(
        [coco((7, 0, 0, 10, 10), (9, 20, 20, 5, 5))], [[[0, 0, 10, 10, 0.9, 0], [20, 20, 25, 25, 0.8, 1]]], (7, 9)
    )
    assert found == {"map": pytest.approx(1.0), "map50": pytest.approx(1.0)}


def test_a_wrong_box_before_the_right_one_halves_the_precision() -> None:
    found = detection([coco((0, 0, 0, 10, 10))], [[[50, 50, 60, 60, 0.9, 0], [0, 0, 10, 10, 0.5, 0]]])
    assert found["map50"] == pytest.approx(0.5)


def test_a_box_counts_up_to_the_overlap_that_it_has() -> None:
    # 10 × 8 of 10 × 10: an IoU of 0.8, which passes the thresholds 0.50 to 0.80, seven of ten.
    found = detection([coco((0, 0, 0, 10, 10))], [[[0, 0, 10, 8.001, 0.9, 0]]])
    assert found == {"map": pytest.approx(0.7), "map50": pytest.approx(1.0)}


def test_half_of_the_objects_found_is_half_of_the_recalls() -> None:
    # Recall 0.5 covers 51 of the 101 points.
    found = detection([coco((0, 0, 0, 10, 10)), coco((0, 0, 0, 10, 10))], [[[0, 0, 10, 10, 0.9, 0]], []])
    assert found["map50"] == pytest.approx(51 / 101)


def test_a_second_box_on_one_object_is_wrong_and_one_on_a_crowd_does_not_count() -> None:
    twice = [[0, 0, 10, 10, 0.9, 0], [0, 0, 10, 10, 0.8, 0], [30, 30, 40, 40, 0.7, 0]]
    labels = coco((0, 0, 0, 10, 10), (0, 30, 30, 10, 10))
    # Precision 1 up to recall 1/2, then 2/3.
    assert detection([labels], [twice])["map50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    crowd = json.loads(coco((0, 0, 0, 10, 10))) + json.loads(coco((0, 28, 28, 20, 20), crowd=1))
    found = detection([json.dumps(crowd)], [[[30, 30, 40, 40, 0.95, 0], [0, 0, 10, 10, 0.9, 0]]])
    assert found["map50"] == pytest.approx(1.0)


def test_boxes_are_read_in_every_form_and_as_shares() -> None:
    corners = np.array([[2.0, 4.0, 6.0, 10.0]])
    assert to_corners(np.array([[4.0, 2.0, 10.0, 6.0]]), "yxyx").tolist() == corners.tolist()
    assert to_corners(np.array([[2.0, 4.0, 4.0, 6.0]]), "xywh").tolist() == corners.tolist()
    assert to_corners(np.array([[4.0, 7.0, 4.0, 6.0]]), "cxcywh").tolist() == corners.tolist()
    scorer = DetectionScorer(
        np.array([coco((0, 2, 4, 4, 6))]), categories=(), boxes=0, scores=1, classes=2, form="yxyx", size=(20, 40)
    )
    scorer.add([np.array([[[0.1, 0.1, 0.25, 0.3]]]), np.array([[0.9]]), np.array([[0.0]])], [0])
    assert scorer.finish().scores["map"].value == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["", "{}x", '[{"bbox": [1, 2]}]', '[{"category_id": 1, "bbox": [0, 0, -1, 2]}]', "[1]"]
)
def test_labels_that_are_no_boxes_are_not_judged(text: str) -> None:
    with pytest.raises(NotJudgedError, match="no boxes in COCO"):
        detection([text], [[]])
