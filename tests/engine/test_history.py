"""Changes in a series of runs."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ai.engine.history import Mark, Point, compare_with_level, judge_series, regression_of
from edge_ai.engine.spread import BETWEEN_NOISY_RUNS_SD, BETWEEN_RUNS_SD, Verdict


def series(*values: float, noisy: bool = False, version: str = "v") -> list[Point]:
    return [
        Point(key=str(place), version=version, p50_ms=value, ci95=(value * 0.995, value * 1.005), noisy=noisy)
        for place, value in enumerate(values)
    ]


def marks(points: list[Point]) -> list[str | None]:
    return [each.mark.value if each.mark else None for each in judge_series(points)]


def test_a_change_is_marked_where_it_began_and_begins_a_level() -> None:
    judged = judge_series(series(10, 10.1, 9.9, 12.5, 12.4, 12.6, 10.0, 10.1))
    assert [each.level for each in judged] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [each.mark for each in judged] == [None, None, None, Mark.CHANGE, None, None, Mark.CHANGE, None]
    slower, faster = (each.change for each in judged if each.mark is Mark.CHANGE)
    assert slower is not None and faster is not None
    assert (slower.verdict, faster.verdict) == (Verdict.SLOWER, Verdict.FASTER)
    assert slower.ratio_p50 == pytest.approx(1.25) and slower.level_ms == pytest.approx(10.0)
    assert slower.ci95[0] > 1.02 and slower.runs == 3


def test_one_disturbed_run_is_an_outlier_and_the_latest_is_not_confirmed_yet() -> None:
    assert marks(series(10, 10, 15, 10, 10)) == [None, None, "outlier", None, None]
    assert marks(series(10, 10, 15)) == [None, None, "unconfirmed"]
    judged = judge_series(series(10, 10, 15, 10))
    assert judged[3].change is not None and judged[3].change.level_ms == pytest.approx(10.0), "it does not count"
    assert marks([]) == [] and marks(series(3)) == [None]


def test_a_noisy_machine_proves_less() -> None:
    assert marks(series(10, 10, 10, 11.3, 11.3))[3] == "change"
    assert marks(series(10, 10, 10, 11.3, 11.3, noisy=True)) == [None] * 5
    wild = series(10, 11.5, 9, 11, 8.8, 10.2, 11.8)
    change = compare_with_level(series(12.5)[0], wild)
    assert change.verdict is Verdict.INCONCLUSIVE, "runs that lie far apart here tell so themselves"
    assert compare_with_level(series(12.5)[0], series(*[10.0] * 7)).verdict is Verdict.SLOWER


def test_only_the_window_of_a_level_counts() -> None:
    change = compare_with_level(series(10)[0], series(*[5.0] * 30, *[10.0] * 20))
    assert change.runs == 20 and change.ratio_p50 == pytest.approx(1.0)


def test_a_regression_is_told_once_and_again_for_another_version() -> None:
    level = series(10, 10.1, 9.9)
    (slow,) = series(13)
    found = regression_of([*level, slow])
    assert found is not None and found.ratio_p50 == pytest.approx(1.3) and found.runs == 3
    assert regression_of([*level, slow, slow]) is None, "the second bears out what was told"
    other = Point(key="n", version="new", p50_ms=13.0)
    assert regression_of([*level, slow, other]) is not None
    assert regression_of([*level, slow, slow, slow]) is None, "that is the level now"
    assert regression_of([*level, *series(8)]) is None
    assert regression_of(series(10)) is None and regression_of(series(10, 10.2)) is None
    after_outlier = series(10, 10, 15, 10, 13)
    again = regression_of(after_outlier)
    assert again is not None and again.level_ms == pytest.approx(10.0)


@pytest.mark.parametrize(("sd", "noisy"), [(BETWEEN_RUNS_SD, False), (BETWEEN_NOISY_RUNS_SD, True)])
def test_false_alarms_are_rare_and_real_changes_are_found(sd: float, noisy: bool) -> None:
    random = np.random.default_rng(0)
    alarms = runs = found = 0
    for _ in range(100):
        values = 10 * np.exp(random.normal(0, sd, 20))
        points = series(*values.tolist(), noisy=noisy)
        alarms += sum(regression_of(points[:end]) is not None for end in range(2, 21))
        runs += 19
        slower = series(*values.tolist(), *(values[:3] * (1 + 8 * sd)).tolist(), noisy=noisy)
        found += any(each.mark is Mark.CHANGE for each in judge_series(slower)[18:])
    assert alarms / runs <= 0.025, "a one-sided 2.5 % at most, less the margin"
    assert found >= 90
