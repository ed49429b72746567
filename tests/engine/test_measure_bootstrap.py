"""Intervals of percentiles: how often they hold the truth, and when there are none."""

import numpy as np
import pytest

from edge_ai.engine.measure.bootstrap import MIN_INDEPENDENT, PERCENTILES, percentile_intervals
from edge_ai.engine.measure.statistics import correlation_time, summarize_latency

TRUTH = {percent: -np.log(1 - percent / 100) for percent in PERCENTILES}
"""The percentiles of the exponential distribution."""


def test_so_few_samples_hold_no_interval() -> None:
    assert MIN_INDEPENDENT == {50: 6, 90: 36, 95: 72, 99: 368}
    for percent, least in MIN_INDEPENDENT.items():
        # All of them lie below the percentile in more than 1 of 40 runs with one fewer.
        assert (percent / 100) ** least <= 0.025 < (percent / 100) ** (least - 1)
        assert percentile_intervals(np.arange(least))[percent] is not None
        assert percentile_intervals(np.arange(least - 1))[percent] is None


def test_correlated_samples_count_as_fewer() -> None:
    samples = np.random.default_rng(0).exponential(size=400)
    assert percentile_intervals(samples)[99] is not None
    assert percentile_intervals(samples, correlation=2.0)[99] is None


def test_the_truth_is_held_in_about_95_of_100_runs() -> None:
    random = np.random.default_rng(1)
    runs = 40
    held = dict.fromkeys(PERCENTILES, 0)
    for _ in range(runs):
        for percent, interval in percentile_intervals(random.exponential(size=600)).items():
            assert interval is not None
            held[percent] += interval[0] <= TRUTH[percent] <= interval[1]
    # Fewer than 34 of 40 happen to hold it in 1 of 300 times.
    assert all(hits >= 34 for hits in held.values()), held


def test_the_median_agrees_with_order_statistics() -> None:
    samples = np.random.default_rng(2).normal(100.0, 5.0, 5000)
    interval = percentile_intervals(samples)[50]
    assert interval is not None
    # The standard error of a median of normal samples is 1.2533 σ / √n.
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 * 1.2533 * 5.0 / np.sqrt(5000), rel=0.25)


def test_a_disturbance_that_lasts_widens_the_interval() -> None:
    random = np.random.default_rng(3)
    scattered = random.exponential(size=4000) + 5.0 * (random.random(4000) < 0.1)
    lasting = random.exponential(size=4000) + 5.0 * (np.arange(4000) // 400 == 7)
    widths = []
    for samples in (scattered, lasting):
        interval = percentile_intervals(samples, correlation=correlation_time(samples))[95]
        assert interval is not None
        widths.append(interval[1] - interval[0])
    assert widths[1] > 1.5 * widths[0]


def test_a_million_samples_are_told_by_their_distribution() -> None:
    samples = np.random.default_rng(4).exponential(size=300_000)
    for percent, interval in percentile_intervals(samples).items():
        assert interval is not None
        assert interval == pytest.approx((TRUTH[percent],) * 2, rel=0.03)


def test_every_interval_holds_its_percentile() -> None:
    random = np.random.default_rng(5)
    for count in (1, 5, 6, 40, 80, 400, 2000):
        summary = summarize_latency((random.pareto(1.5, count) * 1e6).astype(np.int64) + 1)
        told = summary.to_json()
        for name, interval in told["intervals"].items():  # type: ignore[attr-defined]
            if interval is not None:
                assert interval[0] <= told[name] <= interval[1]
        assert summary.ci95[0] <= summary.p50 <= summary.ci95[1]
        if summary.intervals[50] is not None:
            assert summary.ci95 == summary.intervals[50]
