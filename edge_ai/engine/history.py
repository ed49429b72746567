"""Where the latencies of one model changed for good, from run to run. Standard library only.

Runs are compared with the level before them, one by one: the median of the runs since the last change. How far two runs of
the same model lie apart anyway (:mod:`edge_ai.engine.spread`) is part of the interval, so that a run counts as slower or
faster only where that cannot be chance. One run alone may be a disturbance: a change is confirmed by the next run, and a
run that the next one does not bear out is an outlier, which does not count for the level.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge_ai.engine.spread import BETWEEN_NOISY_RUNS_SD, BETWEEN_RUNS_SD, Verdict, judge

MARGIN: Final = 0.02
"""The largest relative difference that does not matter."""

WINDOW: Final = 20
"""How many of the latest runs of a level count: what was long ago says less of the machine."""

ENOUGH_FOR_SPREAD: Final = 5
"""So many runs at one level tell themselves how far runs lie apart here, where that is more than was assumed."""

_Z95: Final = 1.96
_MAD_TO_SD: Final = 1.4826
#: A median of many values varies more than their mean.
_OF_MEDIAN: Final = math.sqrt(math.pi / 2)


class Mark(StrEnum):
    """What a run is in the course of its series."""

    CHANGE = "change"
    UNCONFIRMED = "unconfirmed"
    OUTLIER = "outlier"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured run.

    Parameters
    ----------
    key
        Which run it is.
    version
        Which model was measured.
    p50_ms
        Its median latency.
    ci95
        The interval of that median within the run; ``None`` where that is not known.
    noisy
        Whether the machine was.
    """

    key: str
    version: str
    p50_ms: float
    ci95: tuple[float, float] | None = None
    noisy: bool = False

    @property
    def log_sd(self) -> float:
        """How far its median may be off, relatively: within the run, and from run to run."""
        within = math.log(self.ci95[1] / self.ci95[0]) / (2 * _Z95) if self.ci95 and self.ci95[0] > 0 else 0.0
        return math.hypot(within, BETWEEN_NOISY_RUNS_SD if self.noisy else BETWEEN_RUNS_SD)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A run against the level before it: its latency over that, the 95 % interval of the ratio, and the verdict.

    ``runs`` is how many runs the level rests on, and ``level_ms`` is it.
    """

    level_ms: float
    runs: int
    ratio_p50: float
    ci95: tuple[float, float]
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A run in its series: at which level it is, counted from 0, what it is against the one before, and its mark."""

    point: Point
    level: int
    change: Change | None
    mark: Mark | None


def compare_with_level(point: Point, level: Sequence[Point]) -> Change:
    """Compare a run with the runs of a level, one at least."""
    level = level[-WINDOW:]
    logs = [math.log(each.p50_ms) for each in level]
    centre = statistics.median(logs)
    assumed = math.sqrt(statistics.fmean(each.log_sd**2 for each in level))
    seen = 0.0
    if len(logs) >= ENOUGH_FOR_SPREAD:
        seen = _MAD_TO_SD * statistics.median(abs(each - centre) for each in logs)
    spread = max(assumed, seen)
    of_level = spread / math.sqrt(len(logs)) * (1.0 if len(logs) <= 2 else _OF_MEDIAN)
    off = _Z95 * math.hypot(max(point.log_sd, seen), of_level)
    log_ratio = math.log(point.p50_ms) - centre
    ci95 = (math.exp(log_ratio - off), math.exp(log_ratio + off))
    return Change(
        level_ms=math.exp(centre),
        runs=len(level),
        ratio_p50=math.exp(log_ratio),
        ci95=ci95,
        verdict=judge(ci95, MARGIN),
    )


def judge_series(points: Sequence[Point]) -> list[Judged]:
    """Find the changes of a series.

    Parameters
    ----------
    points
        The runs of one series, the earliest first.

    Returns
    -------
    list of Judged
        One for each run, in their order. A change is marked at its first run.
    """
    judged: list[Judged] = []
    level: list[Point] = []
    number = 0
    for place, point in enumerate(points):
        if not level:
            judged.append(Judged(point=point, level=number, change=None, mark=None))
            level = [point]
            continue
        change = compare_with_level(point, level)
        mark = None
        if change.verdict in {Verdict.FASTER, Verdict.SLOWER}:
            following = points[place + 1] if place + 1 < len(points) else None
            if following is None:
                mark = Mark.UNCONFIRMED
            elif compare_with_level(following, level).verdict == change.verdict:
                mark = Mark.CHANGE
                number += 1
                level = []
            else:
                mark = Mark.OUTLIER
        if mark in {None, Mark.CHANGE}:
            level.append(point)
        judged.append(Judged(point=point, level=number, change=change, mark=mark))
    return judged


def regression_of(points: Sequence[Point]) -> Change | None:
    """Return by how much the latest run is slower than the level before it, where that cannot be chance; else ``None``.

    A run that only bears out what the one before it, of the same model, was told for is not told again.
    """
    if len(points) < 2:
        return None
    latest, before = points[-1], judge_series(points[:-1])
    last = before[-1]
    level = [each.point for each in before if each.level == last.level and each.mark in {None, Mark.CHANGE}]
    change = compare_with_level(latest, level)
    if change.verdict != Verdict.SLOWER:
        return None
    told = last.mark is Mark.UNCONFIRMED and last.change is not None and last.change.verdict == Verdict.SLOWER
    return None if told and last.point.version == latest.version else change
