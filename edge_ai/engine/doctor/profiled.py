"""Where both models spend their time: a profile of each in a process of its own, by operator and by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.measure.child import run_task
from edge_ai.engine.measure.inputs import store_feeds
from edge_ai.engine.measure.layers import Names
from edge_ai.engine.measure.operators import NO_PROFILE, OTHER_NAMES
from edge_ai.engine.measure.slow_facts import Times
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format

_SECONDS: Final = 120.0
_MOST_FEEDS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Profiled:
    """The time of one inference.

    Parameters
    ----------
    rows
        As the runtime tells them; ``total_ms`` is of all ``runs``.
    by_layer
        ms by the names of layers; what belongs to none is ``elsewhere_ms``.
    """

    rows: Sequence[Mapping[str, Any]]
    runs: int
    by_layer: Mapping[str, float] = field(default_factory=dict)
    runs_as: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def times(self) -> Times:
        """By type of operator."""
        ms: dict[str, float] = {}
        counts: dict[str, int] = {}
        for row in self.rows:
            ms[row["type"]] = ms.get(row["type"], 0.0) + row["total_ms"] / self.runs
            counts[row["type"]] = counts.get(row["type"], 0) + 1
        return Times(ms=ms, counts=counts)

    @property
    def elsewhere_ms(self) -> float:
        """What belongs to no layer, as far as names tell."""
        return max(0.0, self.times.total_ms - sum(self.by_layer.values()))


def profile(
    path: Path,
    format: Format,
    feeds: Sequence[Feed],
    *,
    threads: int,
    cpus: Sequence[int] | None,
    workdir: Path,
    names: Names | None = None,
) -> Profiled | None:
    """Profile a model; ``None`` where its runtime tells no times by operator.

    Raises
    ------
    EngineError
        As :func:`edge_ai.engine.measure.child.run_task`.
    """
    if format in NO_PROFILE or format in OTHER_NAMES:
        return None
    inputs = workdir / "profiled.npz"
    fed = list(feeds[:_MOST_FEEDS])
    store_feeds(fed, list(fed[0]), inputs)
    try:
        measured = run_task(
            {
                "task": "profile",
                "model_path": str(path.resolve()),
                "format": str(format),
                "threads": threads,
                "cpus": list(cpus) if cpus else None,
                "inputs_path": inputs.name,
                "input_names": list(fed[0]),
                "feed_count": len(fed),
                "input": "dataset",
                "profile_prefix": "profiled",
            },
            workdir=workdir,
            timeout_s=_SECONDS,
            on_tick=lambda phase, seconds: None,
        )
    finally:
        inputs.unlink()
    runs = int(measured["runs"])
    rows = _undisturbed(measured["operators"])
    by_layer: dict[str, float] = {}
    runs_as: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        layer = row["name"] if names is None else names.layer_of(row["name"], row["type"])
        if layer is not None:
            by_layer[layer] = by_layer.get(layer, 0.0) + row["total_ms"] / runs
            runs_as.setdefault(layer, []).append(row)
    return Profiled(rows=rows, runs=runs, by_layer=by_layer, runs_as=runs_as)


def _undisturbed(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Let the median of an operator's runs stand for each of them: what else ran on the machine is no part of it."""
    total_ms = [row["total_ms"] if row["median_ms"] is None else row["median_ms"] * row["count"] for row in rows]
    whole_ms = sum(total_ms) or 1.0
    return [{**row, "total_ms": ms, "share": ms / whole_ms} for row, ms in zip(rows, total_ms, strict=True)]
