"""Classes: top-1, top-5, macro F1, ROC AUC, and which classes are taken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.accuracy import Labels, evaluate_classification
from edge_ai.engine.evaluate.metrics.base import NotJudgedError, Score, Scores
from edge_ai.engine.evaluate.metrics.intervals import Weights, bootstrap_interval
from edge_ai.engine.evaluate.metrics.ranking import RocAuc, shares

MAX_MATRIX_CLASSES: Final = 50
WORST_CONFUSIONS: Final = 20
MAX_COUNTED_CLASSES: Final = 100_000
RANKED_RESAMPLES: Final = 200
"""Of the area under several curves, which takes longer."""

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]


class ClassificationScorer:
    """Compares classes.

    Parameters
    ----------
    labels
        The right classes of the whole data set, integers of shape (n,).
    output
        The place of the output with the classes, or their scores; of one score a sample that is class 1's, the other class
        being 0.
    """

    def __init__(self, labels: Labels, *, output: int) -> None:
        self._labels = labels
        self._output = output
        self._answers: list[Array] = []
        self._places: list[int] = []

    def add(self, outputs: Sequence[Any], places: Sequence[int]) -> None:
        """Take the answers to some samples."""
        rows = np.asarray(outputs[self._output])
        if len(rows) < len(places):
            raise NotJudgedError(f"the model answers {len(rows)} rows to {len(places)} samples")
        self._answers.append(rows[: len(places)])
        self._places += places

    def finish(self) -> Scores:
        """Return the figures; ``detail`` has the confusions."""
        answers = np.concatenate(self._answers)
        labels = self._labels[self._places]
        if answers.size == len(answers):
            answers = answers.reshape(-1)
            if answers.dtype.kind == "f":
                answers = two_scores(answers)
        try:
            accuracy = evaluate_classification(answers, labels)
        except ValueError as error:
            raise NotJudgedError(str(error)) from None
        rows = answers if answers.ndim == 1 else answers.reshape(len(answers), -1)
        predicted = predicted_classes(rows)
        scores = {"top1": Score(value=accuracy.top1, ci95=accuracy.top1_ci95)}
        if accuracy.top5 is not None:
            scores["top5"] = Score(value=accuracy.top5, ci95=accuracy.top5_ci95)
        classes = 1 + int(max(labels.max(), predicted.max()))
        if rows.ndim == 2:
            classes = max(classes, rows.shape[1])
        detail: dict[str, Any] = {}
        if classes <= MAX_COUNTED_CLASSES:
            f1 = macro_f1(labels, predicted, classes)
            ones = np.ones(len(labels))
            scores["macro_f1"] = Score(value=f1(ones), ci95=bootstrap_interval(f1, len(labels)))
            detail["confusion"] = confusion(labels, predicted, classes)
        area = roc_auc(rows, labels)
        if area is not None:
            scores["roc_auc"] = area
        return Scores(scores=scores, correct=accuracy.correct, detail=detail)


def two_scores(scores: Array) -> Array:
    """Return one score of class 1 a sample as two columns: it is taken from 0.5 on where all lie in [0, 1], else above 0."""
    known = scores[np.isfinite(scores)].astype(np.float64)
    threshold = 0.5 if known.size and known.min() >= 0 and known.max() <= 1 else 0.0
    wide = scores.astype(np.float64)
    return np.stack([2 * threshold - wide, wide], axis=1)


def predicted_classes(answers: Array) -> Places:
    """Return the class that each answer says; -1 where it has a NaN in it."""
    if answers.ndim == 1:
        return answers.astype(np.int64)
    broken = np.isnan(answers.astype(np.float64)).any(axis=1)
    return np.asarray(np.where(broken, -1, answers.argmax(axis=1)), dtype=np.int64)


class macro_f1:  # noqa: N801  # called like the function that it is
    """The mean F1 over the classes that are meant or said; a class that is never right has an F1 of 0.

    Parameters
    ----------
    labels, predicted
        Classes, integers of shape (n,); a predicted one below 0 is none.
    classes
        How many there are.
    """

    def __init__(self, labels: Labels, predicted: Places, classes: int) -> None:
        self._labels = labels
        self._said = np.where(predicted < 0, classes, predicted)
        self._right = labels == predicted
        self._classes = classes

    def __call__(self, weights: Weights) -> float:
        """Return it, for samples that may be there several times."""
        size = self._classes + 1
        meant = np.bincount(self._labels, weights, minlength=size)[: self._classes]
        said = np.bincount(self._said, weights, minlength=size)[: self._classes]
        right = np.bincount(self._labels[self._right], weights[self._right], minlength=size)[: self._classes]
        seen = (meant + said) > 0
        return float((2 * right[seen] / (meant + said)[seen]).mean()) if seen.any() else math.nan


def confusion(labels: Labels, predicted: Places, classes: int) -> dict[str, Any]:
    """Say which classes are taken for which.

    Returns
    -------
    dict
        ``classes``; ``matrix``, rows the right classes and columns the predicted ones, ``None`` beyond 50 classes;
        ``worst``, the most frequent confusions; and ``unanswered``, how many answers had no class.
    """
    known = predicted >= 0
    pairs, counts = np.unique(labels[known] * classes + predicted[known], return_counts=True)
    meant, said = pairs // classes, pairs % classes
    matrix = None
    if classes <= MAX_MATRIX_CLASSES:
        square = np.zeros((classes, classes), np.int64)
        square[meant, said] = counts
        matrix = square.tolist()
    wrong = np.flatnonzero(meant != said)
    worst = wrong[np.argsort(-counts[wrong], kind="stable")][:WORST_CONFUSIONS]
    return {
        "classes": classes,
        "matrix": matrix,
        "worst": [
            {"label": int(meant[place]), "predicted": int(said[place]), "count": int(counts[place])} for place in worst
        ],
        "unanswered": int(np.count_nonzero(~known)),
    }


def roc_auc(rows: Array, labels: Labels) -> Score | None:
    """Return the area under the ROC curve: of two classes that of class 1, of more the mean of one against the rest.

    ``None`` for answers that are no scores or not finite, beyond 50 classes, or when only one class is there.
    """
    if rows.ndim != 2 or not 2 <= rows.shape[1] <= MAX_MATRIX_CLASSES or int(labels.max()) >= rows.shape[1]:
        return None
    if not np.isfinite(rows.astype(np.float64)).all():
        return None
    if rows.shape[1] == 2:
        wide = rows.astype(np.float64)
        curves = [RocAuc(wide[:, 1] - wide[:, 0], labels == 1)]
    else:
        columns = shares(rows)
        there = np.unique(labels)
        curves = [RocAuc(columns[:, place], labels == place) for place in there] if len(there) > 1 else []

    def mean(weights: Weights) -> float:
        found = [value for value in (curve(weights) for curve in curves) if math.isfinite(value)]
        return sum(found) / len(found) if found else math.nan

    value = mean(np.ones(len(labels)))
    if not math.isfinite(value):
        return None
    return Score(value=value, ci95=bootstrap_interval(mean, len(labels), resamples=RANKED_RESAMPLES))
