"""How well a run knows its percentiles: intervals by a block bootstrap."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

PERCENTILES: Final = (50, 90, 95, 99)

MIN_INDEPENDENT: Final = {percent: math.ceil(math.log(0.025) / math.log(percent / 100)) for percent in PERCENTILES}
"""Below so many independent samples, even the largest of them lies below the percentile in more than 1 of 40 runs.

No interval of samples can hold the percentile with 95 % then: 6, 36, 72 and 368.
"""

_RESAMPLES: Final = 1000
_MIN_BLOCKS: Final = 10
_MAX_BLOCKS: Final = 500
_TIMES_OF_CORRELATION: Final = 4
_EVENLY: Final = 512
_TAILS: Final = (0.1, 0.02)
_SEED: Final = 0

_Z_SQUARED: Final = NormalDist().inv_cdf(0.975) ** 2

Interval = tuple[float, float]


def percentile_intervals(
    samples: npt.NDArray[np.integer[Any] | np.floating[Any]], *, correlation: float = 1.0
) -> dict[int, Interval | None]:
    """Return the 95 % intervals of `PERCENTILES`, by drawing blocks of consecutive samples.

    A disturbance lasts longer than one inference, so samples are no independent draws; whole blocks of them are nearly.
    The run is cut into blocks of n^(1/3) samples, or of four times what samples beyond the first it takes to carry the
    information of one, where that is more; into no fewer than 10 and no more than 500. A thousand times, as many blocks as
    there are are drawn with replacement; the interval reaches from the 2.5th to the 97.5th percentile of the percentile in
    these, widened in ranks as few blocks demand (`_widening`).

    In simulations of 200 runs each it held the truth in 95 to 98 % of runs of independent samples (100 to 5000 of them),
    in 90 to 94 % of 5000 correlated with 0.8 from one to the next, and in 87 to 91 % of 5000 with 0.97.

    Parameters
    ----------
    samples
        Latencies in the order in which they were taken, shape (n,), n at least 1.
    correlation
        How many consecutive samples carry the information of one, as `statistics.correlation_time` answers.

    Returns
    -------
    dict
        Low and high by percentile, in the unit of the samples; None where n / ``correlation`` is under
        `MIN_INDEPENDENT`.

    References
    ----------
    Carlstein, "The use of subseries values for estimating the variance of a general statistic from a stationary
    sequence", Annals of Statistics 14, 1986. Lahiri, "Resampling Methods for Dependent Data", 2003, sections 2.5 and 7.
    """
    count = len(samples)
    known = [percent for percent in PERCENTILES if count / correlation >= MIN_INDEPENDENT[percent]]
    intervals: dict[int, Interval | None] = dict.fromkeys(PERCENTILES)
    if not known:
        return intervals
    order = np.argsort(samples, kind="stable")
    ends = _rank_ends(count)
    blocks = _block_count(count, correlation)
    drawn = _drawn_distributions(order, ends, blocks)
    values = np.asarray(samples)[order][ends]
    widening = _widening(blocks)
    for percent in known:
        # What a resample's percentile is: the smallest of the looked-at samples that so many lie at or below.
        places = np.sum(drawn < percent / 100 - 1e-9, axis=1)
        low, high = np.quantile(places, [0.025, 0.975])
        here = int(np.searchsorted(ends, percent / 100 * (count - 1)))
        first = math.floor(here - (here - low) * widening)
        last = math.ceil(here + (high - here) * widening)
        intervals[percent] = float(values[max(0, first)]), float(values[min(len(values) - 1, last)])
    return intervals


def _widening(blocks: int) -> float:
    """Return how much further from the estimate the truth may be than draws of so few blocks show.

    Student's 97.5 % point for ``blocks`` - 1 degrees of freedom over the normal one (the first terms of its expansion,
    Abramowitz and Stegun 26.7.5), and the bias of a variance that is divided by the count.
    """
    free = blocks - 1
    terms = (_Z_SQUARED + 1.0) / 4.0, (5.0 * _Z_SQUARED**2 + 16.0 * _Z_SQUARED + 3.0) / 96.0
    student = 1.0 + terms[0] / free + terms[1] / free**2
    return student * math.sqrt(blocks / free)


def _block_count(count: int, correlation: float) -> int:
    length = math.ceil(max(math.cbrt(count), _TIMES_OF_CORRELATION * (correlation - 1.0)))
    return min(count, max(_MIN_BLOCKS, min(_MAX_BLOCKS, count // length)))


def _rank_ends(count: int) -> npt.NDArray[np.intp]:
    """Return the places among the sorted samples that are looked at: all of few, of many more towards the slow end."""
    fractions = [np.linspace(0.0, 1.0, _EVENLY)]
    fractions += [np.linspace(1.0 - tail, 1.0, _EVENLY // 2) for tail in _TAILS]
    return np.unique((np.concatenate(fractions) * (count - 1)).round().astype(np.intp))


def _drawn_distributions(
    order: npt.NDArray[np.intp], ends: npt.NDArray[np.intp], blocks: int
) -> npt.NDArray[np.float32]:
    """Return, for each resample, which fraction of it lies at or below each looked-at sample, (resamples, places)."""
    count = len(order)
    block_of_sorted = order * blocks // count
    place_of_sorted = np.searchsorted(ends, np.arange(count))
    counts = np.bincount(block_of_sorted * len(ends) + place_of_sorted, minlength=blocks * len(ends))
    # Counts below 2^24 are exact in float32.
    below = np.cumsum(counts.reshape(blocks, len(ends)), axis=1).astype(np.float32)
    random = np.random.default_rng(_SEED)
    times_drawn = random.multinomial(blocks, np.full(blocks, 1.0 / blocks), _RESAMPLES).astype(np.float32)
    drawn: npt.NDArray[np.float32] = times_drawn @ below
    return drawn / drawn[:, -1:]
