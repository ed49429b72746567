"""Whether one model is right more often than another on the same samples: McNemar's exact test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.evaluate.metrics.intervals import Z_95

ALPHA: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class PairedChange:
    """How a second model's accuracy differs from a first one's, on the same samples.

    Parameters
    ----------
    samples
        How many both answered.
    only_first, only_second
        How many only the first, and only the second, had right; the others say nothing.
    difference
        Of the second from the first, in points: 100 times the difference of their shares.
    ci95
        Its interval, in points.
    p_value
        Of McNemar's exact test, two-sided.
    """

    samples: int
    only_first: int
    only_second: int
    difference: float
    ci95: tuple[float, float]
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether chance alone would make such a difference in fewer than 5 of 100 cases."""
        return self.p_value < ALPHA

    @property
    def sentence(self) -> str:
        """The outcome in words: ``0.4 points lower, not significant at n = 600``."""
        if self.only_first == self.only_second == 0:
            return f"the same samples right, at n = {self.samples:,}"
        points = f"{abs(self.difference):.1f}"
        if points == "0.0" and self.difference:
            points = f"{abs(self.difference):.2g}"
        verdict = "significant" if self.significant else "not significant"
        if self.difference == 0:
            return f"as often right, on other samples; {verdict} at n = {self.samples:,}"
        return f"{points} points {'higher' if self.difference > 0 else 'lower'}, {verdict} at n = {self.samples:,}"

    def to_json(self) -> dict[str, Any]:
        """Return the ``comparison.accuracy`` of the API."""
        return {
            "difference": round(self.difference, 4),
            "ci95": [round(end, 4) for end in self.ci95],
            "p_value": self.p_value,
            "significant": self.significant,
            "n": self.samples,
            "only_baseline": self.only_first,
            "only_this": self.only_second,
            "sentence": self.sentence,
        }


def mcnemar(correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]) -> PairedChange:
    """Compare how often two models are right.

    Parameters
    ----------
    correct_a, correct_b
        Whether each model was right, bool of shape (n,), sample by sample the same in both; n at least 1.

    Raises
    ------
    ValueError
        When they are not of one length, or empty.

    Notes
    -----
    The test is the binomial test of the samples that only one of them has right. The interval is Bonett and Price's: Wald's
    with one sample added on either side, which keeps its coverage for small n and for models that hardly differ.

    References
    ----------
    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947.
    Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
    2012.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1 or not len(correct_a):
        raise ValueError(f"{correct_a.shape} and {correct_b.shape} are not the same samples")
    count = len(correct_a)
    first = int(np.count_nonzero(correct_a & ~correct_b))
    second = int(np.count_nonzero(correct_b & ~correct_a))
    lost, gained = (first + 1) / (count + 2), (second + 1) / (count + 2)
    half = Z_95 * math.sqrt(max(0.0, lost + gained - (gained - lost) ** 2) / (count + 2))
    middle = gained - lost
    return PairedChange(
        samples=count,
        only_first=first,
        only_second=second,
        difference=100 * (second - first) / count,
        ci95=(100 * max(-1.0, middle - half), 100 * min(1.0, middle + half)),
        p_value=two_sided_binomial(first, second),
    )


def two_sided_binomial(first: int, second: int) -> float:
    """Return how likely two counts are at least as unequal as these when both are equally likely; exact."""
    whole, term, total = first + second, 1, 0
    for place in range(min(first, second) + 1):
        total += term
        term = term * (whole - place) // (place + 1)
    return min(1.0, 2 * total / (1 << whole))
