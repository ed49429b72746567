"""A comparison in words, in rows, as points of its charts and as a table for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_ai.web.measured import compared, gain_words
from edge_ai.web.wording import AREAS, LOWER_IS_BETTER, NUMBERS, metric, percent, significant

FORMULA = ("=", "+", "-", "@", "\t", "\r")
CSV_HEAD = (
    *("model", "name", "format", "size_bytes", "size_delta", "p50_ms", "p50_ci95_low", "p50_ci95_high", "p90_ms"),
    *("p95_ms", "p99_ms", "samples", "ratio_p50", "ratio_ci95_low", "ratio_ci95_high", "verdict", "metric"),
    *("accuracy", "accuracy_ci95_low", "accuracy_ci95_high", "accuracy_samples", "accuracy_delta", "on_pareto_front"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model of a comparison, beside the first. ``pair`` is ``None`` for the first one itself."""

    run: Mapping[str, Any]
    pair: Mapping[str, Any] | None
    metric: str | None
    accuracy: float | None
    accuracy_ci95: Sequence[float] | None
    on_front: bool

    @property
    def speed(self) -> str:
        """By how much it is faster than the first, as surely as that is known."""
        return gain_words(self.pair) if self.pair else "–"


def rows_of(result: Mapping[str, Any]) -> list[Row]:
    """Return the models in the order asked for."""
    runs: Sequence[Mapping[str, Any]] = result["runs"]
    named = next(iter(runs[0].get("accuracy") or {}), None)
    accuracies = [(run.get("accuracy") or {}).get(named) if named else None for run in runs]
    front = pareto_front(
        [
            # Without accuracy, what is small and fast is on the front.
            (run["latency_ms"]["p50"], float(run["size_bytes"]) if named is None else cost(accuracy, named))
            for run, accuracy in zip(runs, accuracies, strict=True)
        ]
    )
    return [
        Row(
            run=run,
            pair=result["pairs"][place - 1] if place else None,
            metric=named,
            accuracy=accuracies[place],
            accuracy_ci95=(run.get("accuracy_ci95") or {}).get(named) if named else None,
            on_front=place in front,
        )
        for place, run in enumerate(runs)
    ]


def cost(accuracy: float | None, name: str) -> float | None:
    """Return a figure of accuracy such that less is better."""
    if accuracy is None or name in LOWER_IS_BETTER:
        return accuracy
    return -accuracy


def pareto_front(points: Sequence[tuple[float, float | None]]) -> set[int]:
    """Return the places of the points that no other is at least as low in both and lower in one; ``None``: not known."""
    known = {place: (x, y) for place, (x, y) in enumerate(points) if y is not None}
    return {
        place
        for place, (x, y) in known.items()
        if not any((a <= x and b <= y) and (a < x or b < y) for a, b in known.values())
    }


def front_words(rows: Iterable[Any]) -> str:
    """Return what a scatter says of its Pareto front: a line needs two ends."""
    front = sum(row.on_front for row in rows)
    if front > 1:
        return "The line joins the Pareto front."
    return "One alone is the Pareto front: no other is better in either." if front else ""


def sentences(result: Mapping[str, Any]) -> list[str]:
    """Return what each of the others is, against the first."""
    runs = result["runs"]
    return [
        f"“{runs[place]['name']}”: {_lowered(compared(pair, against=runs[0]['name']))}"
        for place, pair in enumerate(result["pairs"], start=1)
    ]


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]


def headline(result: Mapping[str, Any]) -> str:
    """Return the sentence that the page begins with: how many are faster for sure than the first, and by how much."""
    first, pairs = result["runs"][0]["name"], result["pairs"]
    faster = [(pair["ratio_p50"], place) for place, pair in enumerate(pairs, start=1) if pair["verdict"] == "faster"]
    if len(pairs) == 1:
        return sentences(result)[0]
    if not faster:
        unsure = any(pair["verdict"] == "inconclusive" for pair in pairs)
        return f"None is shown to be faster than “{first}”{', though not all is clear' if unsure else ''}."
    ratio, place = min(faster)
    name = result["runs"][place]["name"]
    return (
        f"{len(faster)} of {len(pairs)} {'is' if len(faster) == 1 else 'are'} faster than “{first}”; "
        f"“{name}” the most, {significant(1 / ratio)}×."
    )


def chart_of(rows: Sequence[Row], *, margin: float) -> dict[str, Any]:
    """Return the points of the charts, which the page's table has as well."""
    named = rows[0].metric
    return {
        "metric": metric(named) if named else None,
        "percent": named not in NUMBERS | AREAS,
        "margin": margin,
        "points": [
            {
                "number": number,
                "name": row.run["name"],
                "p50_ms": row.run["latency_ms"]["p50"],
                "size_bytes": row.run["size_bytes"],
                "accuracy": row.accuracy,
                "accuracy_ci95": row.accuracy_ci95,
                "front": row.on_front,
            }
            for number, row in enumerate(rows, start=1)
        ],
        "ratios": [
            {
                "name": row.run["name"],
                "ratio": row.pair["ratio_p50"],
                "ci95": row.pair["ci95"],
                "verdict": row.pair["verdict"],
                "starts": row.pair.get("ratios_of_starts") or [],
            }
            for row in rows
            if row.pair is not None
        ],
    }


def matrix_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every pair as a square: of each row's model, its time by that of each column's."""
    runs = result["runs"]
    known = {(pair["a"], pair["b"]): pair for pair in result.get("every_pair") or ()}
    return [
        {"name": mine["name"], "cells": [_cell(known, mine["model"], other["model"]) for other in runs]}
        for mine in runs
    ]


def _cell(known: Mapping[tuple[str, str], Mapping[str, Any]], mine: str, other: str) -> dict[str, Any] | None:
    pair = known.get((other, mine))
    if pair is not None:
        return {"ratio": pair["ratio_p50"], "ci95": pair["ci95"], "verdict": pair["verdict"]}
    pair = known.get((mine, other))
    if pair is None:
        return None
    low, high = pair["ci95"]
    turned = {"faster": "slower", "slower": "faster"}.get(pair["verdict"], pair["verdict"])
    return {"ratio": 1 / pair["ratio_p50"], "ci95": [1 / high, 1 / low], "verdict": turned}


def points(delta: float | None, name: str = "") -> str:
    """Return a difference of accuracies with its sign: in percentage points, where the figure is told in percent."""
    if delta is None:
        return "–"
    return (f"{delta:+.4g}" if name in NUMBERS | AREAS else f"{delta * 100:+.2f} points").replace("-", "−")


def change(delta: float | None) -> str:
    """Return a relative difference, with its sign: ``−12.3 %``; what is ten times as much or more, as that: ``14.1 ×``."""
    if delta is None:
        return "–"
    if delta >= 9:
        return f"{significant(1 + delta)} ×"
    return ("+" if delta > 0 else "−" if delta < 0 else "") + percent(abs(delta))


def as_csv(result: Mapping[str, Any]) -> str:
    """Return the page's table for spreadsheets, with every digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_HEAD)
    for row in rows_of(result):
        run, latency_ms, delta = row.run, row.run["latency_ms"], row.run.get("delta") or {}
        pair = row.pair or {"ratio_p50": None, "ci95": (None, None), "verdict": None}
        writer.writerow(
            [
                *(run["model"], _text(run["name"]), run["format"], run["size_bytes"], delta.get("size")),
                *(latency_ms["p50"], *latency_ms["ci95"], latency_ms["p90"], latency_ms["p95"], latency_ms["p99"]),
                *(latency_ms["samples"], pair["ratio_p50"], *pair["ci95"], pair["verdict"], row.metric, row.accuracy),
                *(row.accuracy_ci95 or (None, None)),
                *(run.get("accuracy_samples"), delta.get("accuracy"), "yes" if row.on_front else "no"),
            ]
        )
    return out.getvalue()


def _text(name: str) -> str:
    """A spreadsheet would compute what begins like a formula, and names are anybody's."""
    return f"'{name}" if name.startswith(FORMULA) else name
