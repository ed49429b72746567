"""An estimate in words and in tables: nothing of it is said without the word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_ai.models import BenchmarkRun
from edge_ai.web.hidden import device_name
from edge_ai.web.wording import latency, significant

BOUNDS = {"compute": "computing", "bandwidth": "memory", "dispatch": "dispatch"}
MEMORY = {
    "fits": ("Fits in memory", "text-success", "check"),
    "tight": ("May not fit in memory", "text-warning", "warning"),
    "does_not_fit": ("Does not fit in memory", "text-error", "cross"),
    "unknown": ("Not known whether it fits", "text-muted", "info"),
}


def estimate_of(run: BenchmarkRun) -> dict[str, Any]:
    """Return what the page of an estimate shows."""
    result: Mapping[str, Any] = run.result or {}
    numbers: Mapping[str, Any] = result["latency_ms"]
    fits: Mapping[str, Any] = result.get("memory_fit") or {}
    words, colour, icon = MEMORY[str(fits.get("verdict") or "unknown")]
    operators = result.get("operators") or []
    by_bound: dict[str, float] = {}
    for operator in operators:
        bound = BOUNDS.get(str(operator.get("bound")), "")
        by_bound[bound] = by_bound.get(bound, 0.0) + float(operator.get("share") or 0.0)
    return {
        "sentence": f"Half of all inferences are estimated to take {latency(numbers['p50'])} or less on "
        f"{device_name(run)}, between {significant(numbers['low'])} and {latency(numbers['high'])}.",
        "level": numbers.get("level"),
        "memory": {"words": words, "colour": colour, "icon": icon},
        "bounds": sorted(by_bound.items(), key=lambda each: -each[1]),
        "operators": [each | {"bound_by": BOUNDS.get(str(each.get("bound")), "–")} for each in operators],
        "reasons": [
            (title, reason)
            for name, title in (
                ("percentiles", "Percentiles, samples"),
                ("throughput_per_s", "Throughput"),
                ("load_ms", "Loading"),
                ("energy_mj", "Energy"),
                ("accuracy", "Accuracy"),
                ("comparison", "Comparison"),
            )
            if (reason := (result.get("not_measured") or {}).get(name))
        ],
    }
