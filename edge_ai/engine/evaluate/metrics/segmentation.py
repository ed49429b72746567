"""Masks: mean IoU over the classes, and the share of pixels that are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.metrics.base import NotJudgedError, Score, Scores
from edge_ai.engine.evaluate.metrics.intervals import Weights, bootstrap_interval, ratio_statistic

MAX_CLASSES: Final = 1000
SHOWN_CLASSES: Final = 50

Array = npt.NDArray[Any]


def predicted_mask(answer: Array, height: int, width: int) -> npt.NDArray[np.int64] | None:
    """Return the class of each pixel.

    Parameters
    ----------
    answer
        Of one sample: scores [classes, height, width] or [height, width, classes], the likeliest class being the one with
        the largest score; or one plane, of classes as integers, or of scores of class 1 (from 0.5 on where all lie in
        [0, 1], else above 0). Axes of one are left out.

    Returns
    -------
    array or None
        Shape [height, width]; ``None`` when the answer is no mask of that size.
    """
    size = (height, width)
    if answer.ndim == 4 and len(answer) == 1:
        answer = answer[0]
    if answer.ndim == 3:
        if answer.shape[1:] == size:
            answer = answer[0] if len(answer) == 1 else answer
            axis = 0
        elif answer.shape[:2] == size:
            answer = answer[..., 0] if answer.shape[2] == 1 else answer
            axis = 2
        else:
            return None
        if answer.ndim == 3:
            return np.asarray(answer.argmax(axis=axis), dtype=np.int64)
    if answer.shape != size:
        return None
    if answer.dtype.kind in "iub":
        return answer.astype(np.int64)
    shares = bool(((answer >= 0) & (answer <= 1)).all())
    return np.asarray(answer >= 0.5 if shares else answer > 0, dtype=np.int64)


class SegmentationScorer:
    """Compares masks.

    Parameters
    ----------
    labels
        The class of each pixel, integers [n, height, width].
    output
        The place of the output with the masks.
    ignore
        The class of pixels that do not count.
    """

    def __init__(self, labels: Array, *, output: int, ignore: int) -> None:
        self._labels = labels
        self._output = output
        self._ignore = ignore
        counted = labels[labels != ignore]
        self._classes = int(counted.max()) + 1 if counted.size else 1
        if self._classes > MAX_CLASSES or (counted.size and int(counted.min()) < 0):
            raise NotJudgedError(f"the masks hold classes below 0 or beyond {MAX_CLASSES}")
        self._both: list[npt.NDArray[np.int64]] = []
        self._told: list[npt.NDArray[np.int64]] = []
        self._meant: list[npt.NDArray[np.int64]] = []

    def add(self, outputs: Sequence[Any], places: Sequence[int]) -> None:
        """Take the answers to some samples."""
        answer = np.asarray(outputs[self._output])
        for row, place in enumerate(places):
            label = self._labels[place]
            mask = predicted_mask(answer[row], *label.shape)
            if mask is None:
                raise NotJudgedError(
                    f"the model answers {list(answer[row].shape)} to a sample, which is no mask of "
                    f"{label.shape[0]} × {label.shape[1]} pixels"
                )
            counts = label != self._ignore
            meant, told = label[counts].astype(np.int64), mask[counts]
            # Classes that no label has are all of one kind: wrong. They are counted under the last place.
            told = np.where((told < 0) | (told > self._classes), self._classes, told)
            size = self._classes + 1
            self._both.append(np.bincount(meant[meant == told], minlength=size))
            self._told.append(np.bincount(told, minlength=size))
            self._meant.append(np.bincount(meant, minlength=size))

    def finish(self) -> Scores:
        """Return mean IoU and pixel accuracy; ``detail`` has the IoU of each class."""
        # Only classes of the labels: the last place is what no label has.
        both, told, meant = (
            np.array(rows, dtype=np.float64)[:, : self._classes] for rows in (self._both, self._told, self._meant)
        )
        if not meant.any():
            raise NotJudgedError("no pixel of the masks counts")
        count = len(both)

        def each(weights: Weights) -> npt.NDArray[np.float64]:
            shared = weights @ both
            union = weights @ told + weights @ meant - shared
            with np.errstate(invalid="ignore"):
                return np.asarray(np.where(union > 0, shared / union, np.nan))

        def mean(weights: Weights) -> float:
            found = each(weights)
            return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan

        ones = np.ones(count)
        pixels = ratio_statistic(both.sum(axis=1), meant.sum(axis=1))
        by_class = each(ones)
        return Scores(
            scores={
                "miou": Score(value=mean(ones), ci95=bootstrap_interval(mean, count)),
                "pixel_accuracy": Score(value=pixels(ones), ci95=bootstrap_interval(pixels, count)),
            },
            detail={
                "iou": [
                    {"class": place, "iou": float(by_class[place]), "pixels": int(meant[:, place].sum())}
                    for place in range(min(self._classes, SHOWN_CLASSES))
                    if math.isfinite(by_class[place])
                ]
            },
        )
