"""Closed forms for the statistics of latency samples."""

import math

import numpy as np
import pytest

from edge_ai.engine.measure.statistics import (
    Z_95,
    chart_points,
    correlation_time,
    count_outliers,
    half_drift,
    median_interval,
    relative_half_width,
    robust_cv,
    summarize_latency,
)


def test_percentiles_of_one_to_hundred_and_one_are_known() -> None:
    latency_ns = np.arange(1, 102, dtype=np.int64) * 1_000_000
    summary = summarize_latency(latency_ns)
    assert (summary.min, summary.p50, summary.p90, summary.p95, summary.p99, summary.max) == (1, 51, 91, 96, 100, 101)
    assert summary.mean == 51
    assert summary.std == pytest.approx(math.sqrt(101 * 102 / 12))
    assert summary.samples == 101


def test_order_statistics_interval_of_the_median_matches_the_normal_ranks() -> None:
    # For n = 100 the ranks are 50 -+ 1.96 * 5: the 40th and the 61st of the samples (Conover).
    assert median_interval(np.arange(1, 101, dtype=np.int64)) == (40.0, 61.0)


def test_interval_is_the_range_when_there_are_too_few_samples() -> None:
    assert median_interval(np.array([3, 1, 2], dtype=np.int64)) == (1.0, 3.0)
    assert median_interval(np.array([7], dtype=np.int64)) == (7.0, 7.0)


def test_interval_covers_the_true_median_in_about_95_of_100_runs() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        low, high = median_interval(random.lognormal(0.0, 0.5, 200))
        covered += low <= 1.0 <= high
    assert 935 <= covered <= 985


def test_independent_samples_have_a_correlation_time_near_one_and_repeated_ones_more() -> None:
    random = np.random.default_rng(2)
    independent = random.normal(100.0, 1.0, 10_000)
    assert correlation_time(independent) < 1.6
    # Every value ten times in a row: ten samples carry the information of one.
    assert correlation_time(np.repeat(independent[:4000], 10)) == pytest.approx(10.0, rel=0.35)


def test_correlation_widens_the_interval_as_fewer_samples_would() -> None:
    samples = np.arange(1, 401, dtype=np.int64)
    low, high = median_interval(samples, correlation=4.0)
    half = Z_95 * math.sqrt(400 * 4) / 2
    assert (low, high) == (math.floor(200 - half), math.ceil(200 + half) + 1)


def test_constant_samples_have_no_spread_at_all() -> None:
    summary = summarize_latency(np.full(500, 2_000_000, dtype=np.int64))
    assert summary.std == 0
    assert summary.ci95 == (2.0, 2.0)
    assert robust_cv(np.full(500, 2, dtype=np.int64)) == 0


def test_a_single_sample_is_described_without_a_spread() -> None:
    summary = summarize_latency(np.array([5_000_000], dtype=np.int64))
    assert (summary.min, summary.p50, summary.p99, summary.max, summary.std) == (5, 5, 5, 5, 0)
    assert summary.ci95 == (5, 5)


def test_robust_cv_is_the_standard_deviation_of_a_normal_and_ignores_outliers() -> None:
    samples = np.random.default_rng(3).normal(100.0, 5.0, 50_000)
    assert robust_cv(samples) == pytest.approx(0.05, rel=0.03)
    samples[:500] *= 50
    assert robust_cv(samples) == pytest.approx(0.05, rel=0.05)


def test_drift_is_the_second_half_over_the_first() -> None:
    samples = np.concatenate([np.full(50, 100), np.full(50, 108)]).astype(np.int64)
    assert half_drift(samples) == pytest.approx(0.08)
    assert half_drift(np.array([1, 2, 3], dtype=np.int64)) == 0


def test_summary_is_monotonic_and_its_interval_holds_the_median_for_any_samples() -> None:
    random = np.random.default_rng(4)
    for count in (1, 2, 3, 5, 64, 65, 1000):
        summary = summarize_latency((random.pareto(1.5, count) * 1e6).astype(np.int64) + 1)
        ladder = [summary.min, summary.p50, summary.p90, summary.p95, summary.p99, summary.max]
        assert ladder == sorted(ladder)
        assert summary.ci95[0] <= summary.p50 <= summary.ci95[1]


def test_relative_half_width() -> None:
    assert relative_half_width((9.0, 11.0), 10.0) == pytest.approx(0.1)
    assert relative_half_width((0.0, 1.0), 0.0) == math.inf


def test_chart_points_count_every_sample_once_and_thin_the_course_by_medians() -> None:
    latency_ns = np.arange(1, 6001, dtype=np.int64) * 1000
    chart = chart_points(latency_ns)
    assert sum(chart["histogram"]["counts"]) == 6000
    assert len(chart["histogram"]["edges_ms"]) == len(chart["histogram"]["counts"]) + 1
    assert chart["series_stride"] == 4
    assert len(chart["series_ms"]) == 1500
    assert chart["series_ms"][0] == pytest.approx(0.0025), "the median of 1, 2, 3 and 4 microseconds"


def test_chart_points_of_equal_samples() -> None:
    chart = chart_points(np.full(10, 5_000, dtype=np.int64))
    assert sum(chart["histogram"]["counts"]) == 10
    assert chart["series_ms"] == [0.005] * 10


def test_outliers_are_counted_beyond_three_and_a_half_robust_deviations() -> None:
    # 1 to 9: the median is 5, the median absolute deviation 2, so the limit lies 3.5 × 1.4826 × 2 = 10.38 from 5.
    ladder = np.arange(1, 10)
    assert count_outliers(ladder) == 0
    assert count_outliers(np.append(ladder, [14, 15, 40])[:-1]) == 0
    assert count_outliers(np.append(np.tile(ladder, 20), [100, 200])) == 2


def test_equal_samples_leave_room_of_three_and_a_half_percent() -> None:
    equal = np.full(100, 1000)
    assert count_outliers(np.append(equal, [1034, 966])) == 0
    assert count_outliers(np.append(equal, [1036, 964])) == 2
