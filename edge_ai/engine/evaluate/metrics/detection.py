"""Boxes: mean average precision (mAP) as COCO counts it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine import shallow
from edge_ai.engine.evaluate.metrics.base import NotJudgedError, Score, Scores
from edge_ai.engine.evaluate.metrics.intervals import Weights, bootstrap_interval

IOUS: Final = np.linspace(0.5, 0.95, 10)
RECALLS: Final = np.linspace(0.0, 1.0, 101)
MAX_BOXES: Final = 100
"""Of a class in a sample, the likeliest first."""

RESAMPLES: Final = 200
SHOWN_CLASSES: Final = 50

Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The right boxes of a sample, corners [n, 4] as left, top, right, bottom; a crowd's box takes any number, for nothing."""

    boxes: Boxes
    classes: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The boxes that a model answers for a sample, corners [n, 4] as left, top, right, bottom."""

    boxes: Boxes
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


def read_truth(text: str, categories: Sequence[int]) -> Truth:
    """Read the boxes of a sample: a JSON list of ``{"category_id", "bbox": [left, top, width, height], "iscrowd"}``.

    Parameters
    ----------
    categories
        The ids in the order of the model's classes; empty where the ids are the classes themselves.

    Raises
    ------
    NotJudgedError
        When it is something else.
    """
    places = {number: place for place, number in enumerate(categories)}
    try:
        items = shallow.loads(text)
        corners, classes, crowd = [], [], []
        for item in items:
            left, top, width, height = (float(value) for value in item["bbox"])
            if not all(map(math.isfinite, (left, top, width, height))) or width < 0 or height < 0:
                raise ValueError("a box has no size")
            corners.append((left, top, left + width, top + height))
            number = int(item["category_id"])
            classes.append(places[number] if categories else number)
            crowd.append(bool(item.get("iscrowd", 0)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise NotJudgedError(f"the labels are no boxes in COCO's form ({type(error).__name__}: {error})") from None
    return Truth(
        boxes=np.array(corners, np.float64).reshape(-1, 4),
        classes=np.array(classes, np.int64),
        crowd=np.array(crowd, bool),
    )


def to_corners(boxes: Boxes, form: str) -> Boxes:
    """Return boxes [n, 4] as left, top, right, bottom; ``form`` is "xyxy", "yxyx", "xywh" or "cxcywh"."""
    first, second, third, fourth = boxes.T
    if form == "yxyx":
        return np.stack([second, first, fourth, third], axis=1)
    if form == "xywh":
        return np.stack([first, second, first + third, second + fourth], axis=1)
    if form == "cxcywh":
        return np.stack([first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2], axis=1)
    return boxes


def overlaps(found: Boxes, truth: Boxes, crowd: npt.NDArray[np.bool_]) -> Boxes:
    """Return the IoU of each found box with each right one, [found, truth]; a crowd's by the found box alone."""
    left_top = np.maximum(found[:, np.newaxis, :2], truth[np.newaxis, :, :2])
    right_bottom = np.minimum(found[:, np.newaxis, 2:], truth[np.newaxis, :, 2:])
    shared = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    area = np.clip(found[:, 2:] - found[:, :2], 0, None).prod(axis=1)[:, np.newaxis]
    union = np.where(crowd, area, area + (truth[:, 2:] - truth[:, :2]).prod(axis=1)[np.newaxis] - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def match(found: Found, truth: Truth, number: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Hold a sample's found boxes of one class against the right ones.

    Returns
    -------
    tuple
        The scores, falling, and for each IoU threshold and box 1: right, 0: wrong, -1: does not count; [10, boxes].
    """
    mine = np.flatnonzero(found.classes == number)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")][:MAX_BOXES]
    there = np.flatnonzero(truth.classes == number)
    # Crowds come last: a box that could be an object's is that.
    there = there[np.argsort(truth.crowd[there], kind="stable")]
    crowd = truth.crowd[there]
    iou = overlaps(found.boxes[mine], truth.boxes[there], crowd)
    told = np.zeros((len(IOUS), len(mine)), np.int8)
    for step, threshold in enumerate(IOUS):
        taken = np.zeros(len(there), bool)
        for place in range(len(mine)):
            open_ = np.where(taken & ~crowd, -1.0, iou[place])
            objects, crowds = np.where(crowd, -1.0, open_), np.where(crowd, open_, -1.0)
            best = objects if (objects >= threshold).any() else crowds
            if not best.size or best.max() < threshold:
                continue
            chosen = int(best.argmax())
            taken[chosen] = True
            told[step, place] = -1 if crowd[chosen] else 1
    return found.scores[mine], told


class AveragePrecision:
    """The average precision of one class, for samples that may be there several times.

    Parameters
    ----------
    matches
        For each sample what :func:`match` returned.
    objects
        How many right boxes each sample has, crowds left out.
    """

    def __init__(
        self, matches: Mapping[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]], objects: Boxes
    ) -> None:
        scores = np.concatenate([np.zeros(0), *(found for found, _ in matches.values())])
        order = np.argsort(-scores, kind="stable")
        samples = [np.full(len(found), sample) for sample, (found, _) in matches.items()]
        self._samples = np.concatenate([np.zeros(0, np.int64), *samples])[order].astype(np.int64)
        none = np.zeros((len(IOUS), 0), np.int8)
        self._told = np.concatenate([none, *(told for _, told in matches.values())], axis=1)[:, order]
        self._objects = objects

    def __call__(self, weights: Weights) -> npt.NDArray[np.float64]:
        """Return it at each IoU threshold, [10]; NaN without a right box."""
        total = float(weights @ self._objects)
        if total == 0:
            return np.full(len(IOUS), math.nan)
        counts = weights[self._samples]
        right = np.cumsum(np.where(self._told == 1, counts, 0.0), axis=1)
        wrong = np.cumsum(np.where(self._told == 0, counts, 0.0), axis=1)
        found = np.zeros(len(IOUS))
        if right.shape[1] == 0:
            return found
        precision = right / np.maximum(right + wrong, np.finfo(float).eps)
        # From the right: the best precision at this recall or a higher one.
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for step in range(len(IOUS)):
            places = np.searchsorted(right[step] / total, RECALLS, side="left")
            inside = places[places < precision.shape[1]]
            found[step] = precision[step, inside].sum() / len(RECALLS)
        return found


class DetectionScorer:
    """Compares boxes.

    Parameters
    ----------
    labels
        The right boxes, one JSON text a sample, shape (n,); see :func:`read_truth`.
    categories
        See :func:`read_truth`.
    boxes, scores, classes
        The places of the outputs with the boxes [n, boxes, 4], scores and classes [n, boxes]; ``scores`` and ``classes``
        are ``None`` where one output [n, boxes, 6] has all: four of the box, the score, the class.
    form
        Of the boxes; see :func:`to_corners`.
    size
        Width and height by which boxes are given as shares; ``None`` where they are given in pixels.
    """

    def __init__(
        self,
        labels: npt.NDArray[Any],
        *,
        categories: Sequence[int],
        boxes: int,
        scores: int | None,
        classes: int | None,
        form: str,
        size: tuple[int, int] | None,
    ) -> None:
        self._truth = [read_truth(str(text), categories) for text in labels]
        self._outputs = boxes, scores, classes
        self._form = form
        self._scale = np.array([1.0] * 4) if size is None else np.array([size[0], size[1]] * 2, dtype=np.float64)
        self._found: list[Found] = []
        self._places: list[int] = []

    def add(self, outputs: Sequence[Any], places: Sequence[int]) -> None:
        """Take the answers to some samples."""
        boxes, scores, classes = self._outputs
        for row, place in enumerate(places):
            first = _row(outputs[boxes], row, len(places))
            if scores is None or classes is None:
                first = first.reshape(-1, first.shape[-1])
                if first.shape[1] != 6:
                    raise NotJudgedError("the output has no six numbers a box: the box, its score, its class")
                corners, likely, numbers = first[:, :4], first[:, 4], first[:, 5]
            else:
                likely = _row(outputs[scores], row, len(places)).reshape(-1)
                numbers = _row(outputs[classes], row, len(places)).reshape(-1)
                if first.size != 4 * likely.size or likely.size != numbers.size:
                    raise NotJudgedError("the outputs do not have four numbers, a score and a class for each box")
                corners = first.reshape(-1, 4)
            sound = np.isfinite(corners).all(axis=1) & np.isfinite(likely) & np.isfinite(numbers) & (likely > 0)
            self._found.append(
                Found(
                    boxes=to_corners(corners[sound], self._form) * self._scale,
                    classes=np.round(numbers[sound]).astype(np.int64),
                    scores=likely[sound],
                )
            )
            self._places.append(place)

    def finish(self) -> Scores:
        """Return mAP over IoU 0.50 to 0.95, and at 0.50; ``detail`` has each class."""
        truths = [self._truth[place] for place in self._places]
        count = len(truths)
        objects: dict[int, Boxes] = defaultdict(lambda: np.zeros(count))
        for sample, truth in enumerate(truths):
            for number in truth.classes[~truth.crowd].tolist():
                objects[number][sample] += 1
        if not objects:
            raise NotJudgedError("no sample has a box to find")
        curves = {}
        held = 0
        for number in sorted(objects):
            matches = {
                sample: match(found, truth, number)
                for sample, (found, truth) in enumerate(zip(self._found, truths, strict=True))
                if (found.classes == number).any()
            }
            held += sum(len(scores) for scores, _ in matches.values())
            curves[number] = AveragePrecision(matches, objects[number])

        def table(weights: Weights) -> Boxes:
            return np.array([curve(weights) for curve in curves.values()])

        def over_all(weights: Weights) -> float:
            found = table(weights)
            return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan

        def at_half(weights: Weights) -> float:
            found = table(weights)[:, 0]
            return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan

        ones = np.ones(count)
        # Fewer draws where there are very many boxes, to bound the time.
        draws = max(50, min(RESAMPLES, 20_000_000 // max(1, held + 1000 * len(curves))))
        by_class = table(ones)
        return Scores(
            scores={
                "map": Score(value=over_all(ones), ci95=bootstrap_interval(over_all, count, resamples=draws)),
                "map50": Score(value=at_half(ones), ci95=bootstrap_interval(at_half, count, resamples=draws)),
            },
            detail={
                "ap": [
                    {
                        "class": number,
                        "ap": float(by_class[place].mean()),
                        "ap50": float(by_class[place, 0]),
                        "boxes": int(objects[number].sum()),
                    }
                    for place, number in list(enumerate(curves))[:SHOWN_CLASSES]
                ]
            },
        )


def _row(output: object, row: int, rows: int) -> Boxes:
    """Return a sample's part of an output, which has no axis of samples where a model takes one at a time only."""
    array = np.asarray(output, dtype=np.float64)
    return np.asarray(array[row] if array.ndim > 1 and len(array) == rows else array)
