"""Numbers: mean absolute error (MAE) and root mean square error (RMSE), in the units of the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.metrics.base import NotJudgedError, Score, Scores
from edge_ai.engine.evaluate.metrics.intervals import bootstrap_interval, ratio_statistic

Array = npt.NDArray[Any]


class RegressionScorer:
    """Compares numbers.

    Parameters
    ----------
    labels
        The right numbers, shape (n, ...): a row has as many as the model answers to a sample.
    output
        The place of the output with them.
    """

    def __init__(self, labels: Array, *, output: int) -> None:
        self._labels = labels.reshape(len(labels), -1).astype(np.float64)
        self._output = output
        self._absolute: list[float] = []
        self._squared: list[float] = []

    def add(self, outputs: Sequence[Any], places: Sequence[int]) -> None:
        """Take the answers to some samples."""
        rows = np.asarray(outputs[self._output], dtype=np.float64)
        wanted = self._labels[list(places)]
        if len(places) and rows.size < wanted.size:
            raise NotJudgedError(
                f"the model answers {rows.size // len(places)} numbers a sample where the labels have {wanted.shape[1]}"
            )
        errors = rows.reshape(-1, wanted.shape[1])[: len(places)] - wanted
        if not np.isfinite(errors).all():
            raise NotJudgedError("the model answers numbers that are not finite, or the labels hold such")
        self._absolute += np.abs(errors).mean(axis=1).tolist()
        self._squared += np.square(errors).mean(axis=1).tolist()

    def finish(self) -> Scores:
        """Return MAE and RMSE."""
        absolute, squared = np.array(self._absolute), np.array(self._squared)
        count = len(absolute)
        ones = np.ones(count)
        mean, mean_squared = ratio_statistic(absolute, ones), ratio_statistic(squared, ones)

        def root(weights: npt.NDArray[np.float64]) -> float:
            return math.sqrt(mean_squared(weights))

        return Scores(
            scores={
                "mae": Score(value=mean(ones), ci95=bootstrap_interval(mean, count)),
                "rmse": Score(value=root(ones), ci95=bootstrap_interval(root, count)),
            }
        )
