"""What every kind of task answers: figures with their intervals, and which samples were right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


class NotJudgedError(Exception):
    """The labels and the answers do not belong together; its text says why, as a part of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure with its 95 % interval; ``None`` where too few samples leave none."""

    value: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How right a model was.

    Parameters
    ----------
    scores
        By name, the one that decides first.
    correct
        For each sample whether the answer was right, bool of shape (n,); ``None`` for tasks where an answer is more or
        less right.
    detail
        What else there is to show, as JSON.
    """

    scores: Mapping[str, Score]
    correct: Bools | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """Takes the answers as they come, so that nothing has to hold them all."""

    def add(self, outputs: Sequence[Any], places: Sequence[int]) -> None:
        """Take what the model answered to the samples at some places of the data set: one row a sample, or more."""

    def finish(self) -> Scores:
        """Return the figures over all that was added."""
