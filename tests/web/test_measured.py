"""A measurement in words and in tables."""

from __future__ import annotations

from typing import Any

import pytest

from edge_ai.web.measured import chart_tables, compared, disturbance, times, times_interval
from tests.web.results import MEASURED


@pytest.mark.parametrize(
    ("verdict", "ratio", "ci95", "sentence"),
    [
        ("faster", 0.5, [0.4, 0.625], "2.00× faster than “original” (95 % interval 1.60 to 2.50×)."),
        ("slower", 1.5, [1.2, 1.8], "1.50× the latency of “original”: slower (95 % interval 1.20 to 1.80×)."),
        (
            "same",
            1.0,
            [0.99, 1.01],
            "The same latency as “original”, within what can be told apart (0.990 to 1.01× of it).",
        ),
        (
            "inconclusive",
            0.97,
            [0.9, 1.1],
            "No clear difference from “original”: between 0.900× and 1.10× of its latency.",
        ),
    ],
)
def test_the_verdict_says_against_what_and_how_surely(
    verdict: str, ratio: float, ci95: list[float], sentence: str
) -> None:
    comparison: dict[str, Any] = {"verdict": verdict, "ratio_p50": ratio, "ci95": ci95}
    assert compared(comparison, against="original") == sentence


@pytest.mark.parametrize(
    ("verdict", "ratio", "ci95", "said", "interval"),
    [
        ("faster", 0.5, [0.4, 0.625], "2.00", "1.60 to 2.50×"),
        ("slower", 1.5, [1.2, 1.8], "1.50", "1.20 to 1.80×"),
        ("inconclusive", 0.97, [0.9, 1.1], "0.970", "0.900 to 1.10×"),
    ],
)
def test_what_is_faster_is_so_many_times_faster(
    verdict: str, ratio: float, ci95: list[float], said: str, interval: str
) -> None:
    comparison: dict[str, Any] = {"verdict": verdict, "ratio_p50": ratio, "ci95": ci95}
    assert (times(comparison), times_interval(comparison)) == (said, interval)


@pytest.mark.parametrize(
    ("verdict", "attempts", "sentence"),
    [
        ("quiet", 1, ""),
        ("quiet", 0, ""),
        ("quiet", 2, "A first attempt was noisy; this one was not."),
        ("noisy", 0, "The machine was noisy meanwhile."),
        ("noisy", 2, "The machine was noisy meanwhile, and when it was measured once more."),
    ],
)
def test_noise_is_told_with_the_verdict(verdict: str, attempts: int, sentence: str) -> None:
    noise: dict[str, Any] = {"verdict": verdict, "attempts": [{}] * attempts}
    assert disturbance(noise) == sentence


def test_the_tables_have_every_number_of_the_charts() -> None:
    tables = chart_tables(MEASURED["chart"])
    assert [row["count"] for row in tables["bins"]] == [1308, 10674, 22296]
    assert [row["last"] for row in tables["bins"]] == [False, False, True]
    assert tables["bins"][1]["low"] == 0.061
    assert [value for row in tables["series"] for value in row["values"]] == MEASURED["chart"]["series_ms"]
    assert (tables["series"][0]["first"], tables["series"][0]["last"]) == (1, 69)


def test_a_result_without_charts_has_empty_tables() -> None:
    assert chart_tables({}) == {"bins": [], "series": [], "stride": 1}
