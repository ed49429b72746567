"""Statistics of latency samples: pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.measure.bootstrap import PERCENTILES, Interval, percentile_intervals

Z_95: Final = 1.959963984540054
"""The 97.5 % point of the standard normal distribution: half of a two-sided 95 % interval."""

MAX_SCORE: Final = 3.5
"""A sample is an outlier when it lies further from the median than so many robust standard deviations."""

_MIN_SPREAD: Final = 0.01
_MAD_TO_SD: Final = 1.482602218505602
"""The standard deviation of a normal distribution, divided by its median absolute deviation."""

CHART_BINS: Final = 60
CHART_POINTS: Final = 1500

Samples = npt.NDArray[np.integer[Any] | np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """A latency distribution in milliseconds.

    ``intervals`` are the 95 % confidence intervals of the percentiles within the run that was measured, None where there
    are too few samples for one; ``ci95`` is that of the median, or, where there is none, the range of the samples around
    it. They say nothing about how another run, in another process, would differ.
    """

    mean: float
    std: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    ci95: tuple[float, float]
    intervals: Mapping[int, Interval | None]
    samples: int

    def to_json(self) -> dict[str, object]:
        """Return the summary with the names of the API."""
        return {
            "mean": self.mean,
            "std": self.std,
            "min": self.min,
            "p50": self.p50,
            "p90": self.p90,
            "p95": self.p95,
            "p99": self.p99,
            "max": self.max,
            "ci95": list(self.ci95),
            "intervals": {
                f"p{percent}": None if interval is None else list(interval)
                for percent, interval in self.intervals.items()
            },
            "samples": self.samples,
        }


def correlation_time(samples: Samples) -> float:
    """Estimate how many consecutive samples carry the information of one independent sample.

    Latencies of one run are correlated: whatever disturbs one inference often disturbs the next. The estimate
    compares the variance of batch means of the indicator "at or below the median" with that of independent samples.

    Parameters
    ----------
    samples
        Latencies in the order in which they were taken, shape (n,).

    Returns
    -------
    float
        At least 1; 1 for independent samples and when there are too few samples (under 64) to tell.

    References
    ----------
    Flegal and Jones, "Batch means and spectral variance estimators in Markov chain Monte Carlo", 2010.
    """
    count = len(samples)
    if count < 64:
        return 1.0
    below = (samples <= np.median(samples)).astype(np.float64)
    variance = float(np.var(below))
    if variance == 0.0:
        return 1.0
    length = math.isqrt(count)
    batches = count // length
    means = below[: batches * length].reshape(batches, length).mean(axis=1)
    return max(1.0, length * float(np.var(means, ddof=1)) / variance)


def median_interval(samples: Samples, *, correlation: float = 1.0) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median from order statistics.

    It assumes nothing about the shape of the distribution. The interval contains the median of the samples.

    Parameters
    ----------
    samples
        Shape (n,), n at least 1, in any order.
    correlation
        As `correlation_time` answers: the interval is that of n / correlation independent samples.

    Returns
    -------
    tuple of float
        Low and high in the unit of the samples. With fewer than six independent samples no such interval exists;
        the range of the samples is returned then.

    References
    ----------
    Conover, "Practical Nonparametric Statistics", 3rd edition, section 3.2.
    """
    ordered = np.sort(samples)
    count = len(ordered)
    half = Z_95 * math.sqrt(count * correlation) / 2.0
    low = max(0, math.floor(count / 2.0 - half) - 1)
    high = min(count - 1, math.ceil(count / 2.0 + half))
    return float(ordered[low]), float(ordered[high])


def relative_half_width(interval: tuple[float, float], centre: float) -> float:
    """Return half the width of an interval as a fraction of its centre; infinite for a centre of zero."""
    return (interval[1] - interval[0]) / (2.0 * centre) if centre > 0 else math.inf


def robust_cv(samples: Samples) -> float:
    """Return the spread relative to the median, from the median absolute deviation; outliers do not move it."""
    median = float(np.median(samples))
    if median <= 0:
        return 0.0
    return _MAD_TO_SD * float(np.median(np.abs(samples - median))) / median


def count_outliers(samples: Samples) -> int:
    """Count the samples that lie further than `MAX_SCORE` robust standard deviations from the median, on either side.

    A spread of less than 1 % of the median counts as 1 %: where nearly all samples are equal, any other is no outlier yet.
    They are counted, and stay among the samples.

    References
    ----------
    Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993: the modified z-score and its limit of 3.5.
    """
    median = float(np.median(samples))
    spread = max(robust_cv(samples), _MIN_SPREAD) * median
    return int(np.count_nonzero(np.abs(samples - median) > MAX_SCORE * spread))


def half_drift(samples: Samples) -> float:
    """Return by how much the median of the second half exceeds that of the first, as a fraction (0 under 4 samples)."""
    middle = len(samples) // 2
    if middle < 2:
        return 0.0
    first, second = float(np.median(samples[:middle])), float(np.median(samples[middle:]))
    return second / first - 1.0 if first > 0 else 0.0


def summarize_latency(latency_ns: npt.NDArray[np.int64]) -> LatencySummary:
    """Describe the latencies of one run; no sample is left out.

    Parameters
    ----------
    latency_ns
        Latencies in nanoseconds in the order in which they were taken, shape (n,), n at least 1.

    Returns
    -------
    LatencySummary
        In milliseconds. ``std`` is the sample standard deviation (0 for a single sample); percentiles are linearly
        interpolated between order statistics.
    """
    latency_ms = latency_ns.astype(np.float64) / 1e6
    found = dict(zip(PERCENTILES, map(float, np.percentile(latency_ms, PERCENTILES)), strict=True))
    correlation = correlation_time(latency_ns)
    intervals = {
        percent: None if interval is None else (min(interval[0], found[percent]), max(interval[1], found[percent]))
        for percent, interval in percentile_intervals(latency_ms, correlation=correlation).items()
    }
    low, high = intervals[50] or median_interval(latency_ms, correlation=correlation)
    return LatencySummary(
        mean=float(latency_ms.mean()),
        std=float(latency_ms.std(ddof=1)) if len(latency_ms) > 1 else 0.0,
        min=float(latency_ms.min()),
        p50=found[50],
        p90=found[90],
        p95=found[95],
        p99=found[99],
        max=float(latency_ms.max()),
        ci95=(min(low, found[50]), max(high, found[50])),
        intervals=intervals,
        samples=len(latency_ms),
    )


def chart_points(latency_ns: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return what a page draws of the samples: a histogram, and the course over time thinned to what a screen can show.

    Parameters
    ----------
    latency_ns
        Every sample in the order of measuring, shape (samples,), in nanoseconds.

    Returns
    -------
    dict
        ``histogram`` with ``edges_ms`` (one more than ``counts``), whose last bin holds everything beyond the 99.5th
        percentile, or beyond four medians, too; ``series_ms``, the median of each ``series_stride`` samples in a row; at
        most `CHART_POINTS`.
    """
    latency_ms = latency_ns / 1e6
    low = float(latency_ms.min())
    # On a noisy machine the tail reaches a hundred times as far as everything else: it would leave that one bar.
    high = min(float(np.percentile(latency_ms, 99.5)), 4 * float(np.median(latency_ms)))
    edges = np.linspace(low, max(high, low * 1.001 + 1e-9), CHART_BINS + 1)
    counts, _ = np.histogram(np.minimum(latency_ms, edges[-1]), bins=edges)
    stride = -(-len(latency_ms) // CHART_POINTS)
    whole = len(latency_ms) // stride * stride
    series = np.median(latency_ms[:whole].reshape(-1, stride), axis=1)
    return {
        "histogram": {
            "edges_ms": [round(float(edge), 6) for edge in edges],
            "counts": [int(count) for count in counts],
        },
        "series_ms": [round(float(value), 6) for value in series],
        "series_stride": stride,
    }
