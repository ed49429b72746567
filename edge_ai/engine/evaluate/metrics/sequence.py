"""Sequences: character and word error rates (CER, WER) of what greedy CTC reads."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.metrics.base import NotJudgedError, Score, Scores
from edge_ai.engine.evaluate.metrics.intervals import bootstrap_interval, ratio_statistic, wilson_interval

SHOWN_ERRORS: Final = 10
MAX_SHOWN_TEXT: Final = 200

Array = npt.NDArray[Any]


def greedy_ctc(scores: Array, charset: Sequence[str], *, blank: int) -> str:
    """Return the text of the likeliest path: the best symbol of each step, repetitions joined, blanks left out.

    Parameters
    ----------
    scores
        Shape [steps, symbols], a larger one meaning a likelier symbol.
    charset
        The symbols but the blank, in the order of the scores.
    blank
        The blank's place among the symbols.
    """
    best = scores.argmax(axis=1)
    first = np.ones(len(best), dtype=bool)
    first[1:] = best[1:] != best[:-1]
    return "".join(charset[place - (place > blank)] for place in best[first & (best != blank)].tolist())


def edit_distance(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Return the least number of insertions, deletions and substitutions from one sequence to the other (Levenshtein)."""
    if not left or not right:
        return len(left) + len(right)
    numbers: dict[Hashable, int] = {}
    wide = np.array([numbers.setdefault(item, len(numbers)) for item in right])
    steps = np.arange(len(right) + 1)
    row = steps.copy()
    for done, item in enumerate(left, start=1):
        number = numbers.get(item, -1)
        changed = np.empty_like(row)
        changed[0] = done
        changed[1:] = np.minimum(row[:-1] + (wide != number), row[1:] + 1)
        # Insertions: the least of all to the left, one more for each step.
        row = np.minimum.accumulate(changed - steps) + steps
    return int(row[-1])


class CtcScorer:
    """Compares texts.

    Parameters
    ----------
    labels
        The right texts, shape (n,).
    output
        The place of the output with the scores: [samples, steps, symbols], or without the first axis, or with the first two
        changed over, where one sample is fed at a time.
    charset, blank
        As for :func:`greedy_ctc`; a blank of -1 is the last symbol.
    """

    def __init__(self, labels: Array, *, output: int, charset: Sequence[str], blank: int) -> None:
        self._labels = labels
        self._output = output
        self._charset = charset
        self._blank = len(charset) if blank < 0 else blank
        self._read: list[str] = []
        self._meant: list[str] = []

    def add(self, outputs: Sequence[Any], places: Sequence[int]) -> None:
        """Take the answers to some samples."""
        scores = np.asarray(outputs[self._output])
        symbols = len(self._charset) + 1
        if scores.ndim < 2 or scores.shape[-1] != symbols:
            raise NotJudgedError(
                f"the model answers {list(scores.shape)}, and the charset with its blank has {symbols} symbols"
            )
        rows = scores.reshape(1, -1, symbols) if len(places) == 1 and 1 in scores.shape[:-1] else scores
        rows = rows[np.newaxis] if rows.ndim == 2 else rows
        if rows.ndim != 3 or len(rows) < len(places):
            raise NotJudgedError(f"the model answers {list(scores.shape)}, which is not one row of symbols a step")
        for row, place in zip(rows, places, strict=False):
            self._read.append(greedy_ctc(row, self._charset, blank=self._blank))
            self._meant.append(str(self._labels[place]))

    def finish(self) -> Scores:
        """Return CER, WER and the share of texts without an error; ``detail`` has the worst readings."""
        pairs = list(zip(self._read, self._meant, strict=True))
        wrong = np.array([edit_distance(read, meant) for read, meant in pairs], dtype=np.float64)
        wrong_words = np.array([edit_distance(read.split(), meant.split()) for read, meant in pairs], dtype=np.float64)
        length = np.array([len(meant) for meant in self._meant], dtype=np.float64)
        words = np.array([len(meant.split()) for meant in self._meant], dtype=np.float64)
        if not length.any() or not words.any():
            raise NotJudgedError("every label is an empty text")
        count = len(pairs)
        ones = np.ones(count)
        rates = {"cer": ratio_statistic(wrong, length), "wer": ratio_statistic(wrong_words, words)}
        correct = wrong == 0
        right = int(correct.sum())
        worst = [int(place) for place in np.argsort(-wrong, kind="stable")[:SHOWN_ERRORS] if wrong[place]]
        return Scores(
            scores={name: Score(value=rate(ones), ci95=bootstrap_interval(rate, count)) for name, rate in rates.items()}
            | {"exact": Score(value=right / count, ci95=wilson_interval(right, count))},
            correct=correct,
            detail={
                "misread": [
                    {"label": self._meant[place][:MAX_SHOWN_TEXT], "read": self._read[place][:MAX_SHOWN_TEXT]}
                    for place in worst
                ]
            },
        )
