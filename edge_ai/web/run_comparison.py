"""Saved runs side by side: rows of a table, and points of its charts. Numbers and names only, no addresses."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from edge_ai.services.run_comparison import HeldRun, RunComparison, SavedRun
from edge_ai.web.compared import cost, pareto_front
from edge_ai.web.wording import AREAS, NUMBERS, metric

QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The shares of samples whose times the table of the distribution names."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run beside the one that it is held against; differences are relative, ``None`` where there is nothing to tell."""

    number: int
    held: HeldRun
    accuracy: float | None
    accuracy_ci95: Sequence[float] | None
    accuracy_delta: float | None
    size_delta: float | None
    memory_mb: float | None
    memory_delta: float | None
    on_front: bool
    #: Whether its accuracy can be held against the others'.
    front_known: bool

    @property
    def run(self) -> SavedRun:
        """The run itself."""
        return self.held.run

    @property
    def is_first(self) -> bool:
        """The others are held against this one."""
        return self.number == 1

    @property
    def p50_delta(self) -> float | None:
        """By how much its median differs from that of the first."""
        return self.held.change.ratio_p50 - 1 if self.held.change else None

    @property
    def ratio_ci95(self) -> tuple[float, float] | None:
        """The interval of the ratio of the medians."""
        return self.held.change.ci95 if self.held.change else None

    @property
    def verdict(self) -> str:
        """``faster``, ``slower`` or ``inconclusive``, ``other_batch`` where times are of something else; empty: the first."""
        if self.held.other_batch:
            return "other_batch"
        return str(self.held.change.verdict) if self.held.change else ""


def metric_of(comparison: RunComparison) -> str | None:
    """Return which figure of accuracy is compared: the first one of the first run that has any."""
    return next((name for run in comparison.runs for name in run.accuracy), None)


def rows_of(comparison: RunComparison) -> list[Row]:
    """Return the runs as rows, the one that the others are held against first."""
    named = metric_of(comparison)
    first = comparison.baseline
    accuracies = [run.accuracy.get(named) if named else None for run in comparison.runs]
    # Figures of different data are not held against one another.
    data = next((run.dataset_id for run in comparison.runs if named in run.accuracy), None)
    same_data = [run.dataset_id == data for run in comparison.runs]
    front = pareto_front(
        [
            # Without any accuracy, what is small and fast is on the front.
            (run.p50_ms, float(run.size_bytes) if named is None else cost(accuracy if alike else None, named))
            for run, accuracy, alike in zip(comparison.runs, accuracies, same_data, strict=True)
        ]
    )
    then = accuracies[0]
    rows = []
    for place, held in enumerate(comparison.held):
        run, now = held.run, accuracies[place]
        comparable = place and now is not None and then is not None and not held.other_data
        rows.append(
            Row(
                number=place + 1,
                held=held,
                accuracy=now,
                accuracy_ci95=run.accuracy_ci95.get(named) if named else None,
                accuracy_delta=now - then if comparable and now is not None and then is not None else None,
                size_delta=_relative(run.size_bytes, first.size_bytes) if place else None,
                memory_mb=run.memory_mb.get("peak"),
                memory_delta=_relative(run.memory_mb.get("peak"), first.memory_mb.get("peak")) if place else None,
                on_front=place in front,
                front_known=named is None or (now is not None and same_data[place]),
            )
        )
    return rows


def _relative(now: float | None, then: float | None) -> float | None:
    return now / then - 1 if now is not None and then else None


def headline(rows: Sequence[Row]) -> str:
    """Return the sentence that the page begins with, which claims no more than separate runs can carry."""
    others = [row for row in rows if not row.is_first]
    faster = sum(row.verdict == "faster" for row in others)
    slower = sum(row.verdict == "slower" for row in others)
    first = rows[0].run.model
    if not faster and not slower:
        return f"No clear difference in latency from “{first}”."
    told = [f"{number} {word}" for number, word in ((faster, "faster"), (slower, "slower")) if number]
    unsure = len(others) - faster - slower
    if unsure:
        told.append(f"{unsure} not certain")
    return f"Against “{first}”: {', '.join(told)}."


def distribution_of(histogram: Mapping[str, Sequence[float]]) -> list[tuple[float, float]]:
    """Return points of the cumulative distribution of a run's samples: latency in ms, and the share that took no longer.

    They are exact, since they lie at the edges of the stored bins. The last bin holds whatever took longer, too, and so has
    no end that could be told.
    """
    edges, counts = histogram.get("edges_ms") or [], histogram.get("counts") or []
    total = sum(counts)
    if not total or len(edges) != len(counts) + 1:
        return []
    shares = [each / total for each in accumulate(counts)]
    return [(float(edges[0]), 0.0), *zip(map(float, edges[1:-1]), shares[:-1], strict=True)]


def quantile(points: Sequence[tuple[float, float]], share: float) -> float | None:
    """Read a distribution: the latency within which ``share`` of the samples lie; ``None`` beyond its end."""
    shares = [each for _, each in points]
    place = bisect_left(shares, share)
    if not points or place == len(points):
        return None
    if place == 0:
        return points[0][0]
    (left, low), (right, high) = points[place - 1], points[place]
    return left + (right - left) * (share - low) / (high - low)


def distribution_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a row for each share of the samples: within how many ms each run did them."""
    curves = [distribution_of(row.run.histogram) for row in rows]
    return [
        {
            "share": share,
            # What was computed of every sample is told rather than what is read from the bins.
            "values": [
                row.run.latency_ms.get(f"p{round(100 * share)}") or quantile(curve, share)
                for row, curve in zip(rows, curves, strict=True)
            ],
        }
        for share in QUANTILES
    ]


def charts_of(rows: Sequence[Row], named: str | None) -> dict[str, Any]:
    """Return what the charts draw; the tables of the page have the same numbers."""
    return {
        "metric": metric(named) if named else None,
        "percent": named not in NUMBERS | AREAS,
        "points": [
            {
                "number": row.number,
                "name": row.run.model,
                "p50_ms": row.run.p50_ms,
                "size_bytes": row.run.size_bytes,
                "memory_mb": row.memory_mb,
                "accuracy": row.accuracy,
                "front": row.on_front,
            }
            for row in rows
        ],
        "curves": [distribution_of(row.run.histogram) for row in rows],
    }
