"""What two runs of one model differ by, and when a difference counts. Standard library only."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

BETWEEN_RUNS_SD: Final = 0.03
"""Relative standard deviation of the median between two runs of one model on a quiet machine, one after the other."""

BETWEEN_NOISY_RUNS_SD: Final = 0.10
"""The same on a noisy machine: 0.11 over ten runs of the bundled sample on a shared virtual machine of two cores."""


class Verdict(StrEnum):
    """How *b* stands against *a*."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


def judge(ci95: tuple[float, float], margin: float) -> Verdict:
    """Turn the interval of a ratio into a verdict.

    A difference counts only when the whole interval lies beyond the margin, and equality only when it lies wholly
    within; an interval that straddles an edge of the margin decides nothing.
    """
    low, high = ci95
    if high < 1.0 - margin:
        return Verdict.FASTER
    if low > 1.0 + margin:
        return Verdict.SLOWER
    if low >= 1.0 - margin and high <= 1.0 + margin:
        return Verdict.SAME
    return Verdict.INCONCLUSIVE
