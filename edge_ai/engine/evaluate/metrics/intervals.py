"""Intervals of 95 %: Wilson's for shares of samples, the bootstrap for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Z_95: Final = 1.959963984540054
RESAMPLES: Final = 1000
SEED: Final = 0
LEAST_WIDTH: Final = 1e-12

Weights = npt.NDArray[np.float64]


def wilson_interval(right: int, samples: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion.

    Unlike the normal approximation it stays within [0, 1] and keeps its width when everything was right.

    Parameters
    ----------
    right
        How many of the samples were right, 0 to ``samples``.
    samples
        At least 1.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    z2 = Z_95 * Z_95
    share = right / samples
    centre = (share + z2 / (2 * samples)) / (1 + z2 / samples)
    half = Z_95 / (1 + z2 / samples) * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples * samples))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def bootstrap_interval(
    statistic: Callable[[Weights], float], samples: int, *, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of a figure over samples drawn again, with replacement.

    Parameters
    ----------
    statistic
        The figure when sample *i* is there ``weights[i]`` times; NaN where there is none.
    samples
        How many there are.
    resamples
        How often they are drawn, from a fixed seed.

    Returns
    -------
    tuple or None
        ``None`` for fewer than two samples, when most draws have no figure, or when all have the same one: a model that
        is right on every sample is not known to be right on every other.

    References
    ----------
    Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    """
    if samples < 2:
        return None
    random = np.random.default_rng(SEED)
    drawn = [
        statistic(np.bincount(random.integers(samples, size=samples), minlength=samples).astype(np.float64))
        for _ in range(resamples)
    ]
    finite = np.array([value for value in drawn if math.isfinite(value)])
    if 2 * len(finite) < resamples or finite.max() - finite.min() < LEAST_WIDTH:
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def ratio_statistic(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> Callable[[Weights], float]:
    """Return the figure that is one sum over samples by another."""

    def statistic(weights: Weights) -> float:
        whole = float(weights @ below)
        return float(weights @ above) / whole if whole else math.nan

    return statistic
