"""Numbers, times and ratios in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from edge_ai.web import wording

NOW = datetime(2026, 11, 23, 15, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (0.064644, "0.0646"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (0.09996, "0.100"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (1234567, "1,230,000"),
        (-0.01234, "-0.0123"),
        (1e-9, "0.00000000100"),
    ],
)
def test_three_significant_digits_and_never_an_exponent(value: float | None, text: str) -> None:
    assert wording.significant(value) == text


def test_so_many_significant_digits_as_asked() -> None:
    assert wording.significant(0.0639741, 4) == "0.06397"
    assert wording.significant(2.04, 2) == "2.0"


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (0, "0 bytes"), (48, "48 bytes"), (5000, "0.00500 MB"), (451_130, "0.451 MB"), (2**31, "2,150 MB")],
)
def test_sizes_are_in_millions_of_bytes(size: int | None, text: str) -> None:
    assert wording.megabytes(size) == text


def test_the_exact_size_is_there_too() -> None:
    assert wording.exact_bytes(451_130) == "451,130 bytes"
    assert wording.exact_bytes(None) == "not known"


def test_latencies_are_in_milliseconds() -> None:
    assert wording.latency(0.064644) == "0.0646 ms"
    assert wording.latency(1234.4) == "1,230 ms"
    assert wording.latency(None) == "–"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (1.0, "100.0 %"),
        (0.9996, "99.9 %"),
        (0.988, "98.8 %"),
        (0.0, "0.0 %"),
        (0.0001, "< 0.1 %"),
    ],
)
def test_what_is_not_everything_is_never_called_100_percent(share: float | None, text: str) -> None:
    assert wording.percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (14, "14"), (9999, "9,999"), (112_106, "112 k"), (4_443_072, "4.44 M"), (7.1e9, "7.10 G")],
)
def test_large_counts_have_a_prefix(number: float | None, text: str) -> None:
    assert wording.count(number) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (451_130, 128_821, "3.50× smaller"),
        (100, 110, "1.10× larger"),
        (1000, 1001, "same size"),
        (None, 5, "–"),
        (0, 5, "–"),
        (5, 0, "–"),
    ],
)
def test_sizes_are_held_against_the_original(before: float | None, after: float | None, text: str) -> None:
    assert wording.size_ratio(before, after) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(0.0875, 0.0487, "1.80× faster"), (1.0, 1.2, "1.20× slower"), (0.0875, 0.0883, "about the same"), (None, 1, "–")],
)
def test_two_runs_that_differ_by_chance_are_not_called_faster(
    before: float | None, after: float | None, text: str
) -> None:
    assert wording.speed_ratio(before, after) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=42), "42 s ago"),
        (timedelta(minutes=3, seconds=59), "3 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=12), "12 days ago"),
        (timedelta(days=40), "14 Oct 2026"),
        (-timedelta(days=90), "21 Feb 2027"),
        (-timedelta(hours=5), "in 5 h"),
        (timedelta(seconds=1) - timedelta(days=7), "in 7 days"),
        (timedelta(seconds=1) - timedelta(hours=1), "in 60 min"),
        (-timedelta(seconds=2), "now"),
    ],
)
def test_times_are_relative(ago: timedelta, text: str) -> None:
    assert wording.relative_time(NOW - ago, NOW) == text


def test_the_exact_time_is_in_utc() -> None:
    assert wording.exact_time(NOW) == "2026-11-23 15:00:00 UTC"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.42 s"), (2.34, "2.3 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


def test_shapes() -> None:
    assert wording.shape(["batch", 8, 8, 1]) == "batch × 8 × 8 × 1"
    assert wording.shape([None, 3]) == "? × 3"
    assert wording.shape([]) == "scalar"
    assert wording.shape(None) == "any shape"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (6, "6"), (102.0, "102"), (0.6528, "0.6528"), (163.2, "163.2"), (8192, "8,192"), (2.5, "2.5")],
)
def test_published_numbers_stay_as_they_are(value: float | None, text: str) -> None:
    assert wording.quantity(value) == text


def test_memory_of_devices() -> None:
    assert wording.memory(None) == "–"
    assert wording.memory(512) == "512 MiB"
    assert wording.memory(8192) == "8 GiB"
    assert wording.memory(24_104) == "23.5 GiB"


def test_precisions_are_called_what_one_asks_for() -> None:
    assert wording.precision("qdq-int8") == "int8"
    assert wording.precision("fp16") == "fp16"
    assert wording.precision("") == "–"


def test_hashes_are_cut() -> None:
    assert wording.short_hash("cc59509e01d4681d") == "cc59509e01d4"


def test_figures_of_accuracy_have_their_names() -> None:
    assert wording.metric("top1") == "top-1 accuracy"
    assert wording.metric("mean IoU") == "mean IoU"
    assert wording.metric(None) == "–"
