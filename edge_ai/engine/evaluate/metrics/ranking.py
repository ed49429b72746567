"""The area under the ROC curve: how often a sample of a class is ranked before one that is not of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.metrics.intervals import Weights

Array = npt.NDArray[Any]


class RocAuc:
    """The area under one ROC curve, for samples that may be there several times. Equal scores count half.

    Parameters
    ----------
    scores
        Shape (n,), finite.
    positive
        Which samples are of the class, bool of shape (n,).

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", 1982.
    """

    def __init__(self, scores: Array, positive: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ranked = scores[self._order]
        self._positive = positive[self._order]
        changes = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
        self._starts = np.concatenate([[0], changes])

    def __call__(self, weights: Weights) -> float:
        """Return the area; NaN where one of the two kinds is not there."""
        counts = weights[self._order]
        inside = np.add.reduceat(np.where(self._positive, counts, 0.0), self._starts)
        outside = np.add.reduceat(np.where(self._positive, 0.0, counts), self._starts)
        pairs = inside.sum() * outside.sum()
        if pairs == 0:
            return math.nan
        below = np.cumsum(outside) - outside
        return float((inside * (below + outside / 2)).sum() / pairs)


def shares(scores: Array) -> npt.NDArray[np.float64]:
    """Return rows of scores as rows that sum to 1: as they are where they do already, else their softmax."""
    rows = scores.astype(np.float64)
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1.0, atol=0.02):
        return rows
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
