"""A measurement in words and in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_ai.models import BenchmarkRun
from edge_ai.web.hidden import device_name
from edge_ai.web.wording import latency, significant

SERIES_COLUMNS = 10
RUNTIMES = {"onnxruntime": "ONNX Runtime", "litert": "LiteRT", "openvino": "OpenVINO", "tensorflow": "TensorFlow"}
VERDICTS = {
    "faster": "{ratio}× faster than “{against}” (95 % interval {low} to {high}×).",
    "slower": "{ratio}× the latency of “{against}”: slower (95 % interval {low} to {high}×).",
    "same": "The same latency as “{against}”, within what can be told apart ({low} to {high}× of it).",
    "inconclusive": "No clear difference from “{against}”: between {low}× and {high}× of its latency.",
}


def verdict(run: BenchmarkRun) -> str:
    """Return the sentence that a benchmark's page begins with.

    With a baseline it says faster, slower, same or not to be told; without one, how long half of all inferences take. When
    something disturbed the measurement, it says that, too.
    """
    result: Mapping[str, Any] = run.result or {}
    comparison = result.get("comparison")
    if comparison and run.baseline is not None:
        said = compared(comparison, against=run.baseline.name)
    else:
        half = latency(result["latency_ms"]["p50"])
        said = f"Half of all inferences take {half} or less on {device_name(run)}."
    return " ".join(filter(None, (said, disturbance(result.get("noise") or {}))))


def disturbance(noise: Mapping[str, Any]) -> str:
    """Return a sentence on what the machine's noise did to a measurement; empty for one that was quiet at once."""
    attempts: Sequence[Mapping[str, Any]] = noise.get("attempts") or []
    if noise.get("verdict") == "noisy":
        if len(attempts) < 2:
            return "The machine was noisy meanwhile."
        return "The machine was noisy meanwhile, and when it was measured once more."
    if len(attempts) > 1:
        return "A first attempt was noisy; this one was not."
    return ""


def compared(comparison: Mapping[str, Any], *, against: str) -> str:
    """Return the sentence for a comparison; its ratio is this run's latency over that of the other."""
    ratio, (low, high) = float(comparison["ratio_p50"]), comparison["ci95"]
    if comparison["verdict"] == "faster":
        # Said as how many times faster, so the ratio and its interval are turned over.
        ratio, low, high = 1 / ratio, 1 / high, 1 / low
    return VERDICTS[comparison["verdict"]].format(
        ratio=significant(ratio), low=significant(low), high=significant(high), against=against
    )


def gain_words(comparison: Mapping[str, Any]) -> str:
    """Return a comparison in two or three words, for tables."""
    ratio = float(comparison["ratio_p50"])
    return {
        "faster": f"{significant(1 / ratio)}× faster",
        "slower": f"{significant(ratio)}× slower",
        "same": "the same",
    }.get(comparison["verdict"], "no clear difference")


def times(comparison: Mapping[str, Any]) -> str:
    """Return how many times as fast, or as slow, something is; where nothing is certain, how many times as long it took."""
    ratio = float(comparison["ratio_p50"])
    return significant(1 / ratio if comparison["verdict"] == "faster" else ratio)


def times_interval(comparison: Mapping[str, Any]) -> str:
    """Return the interval of :func:`times`, the smaller end first."""
    low, high = (float(end) for end in comparison["ci95"])
    if comparison["verdict"] == "faster":
        low, high = 1 / high, 1 / low
    return f"{significant(low)} to {significant(high)}×"


def runtime_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return what ran the model and its version; benchmarks of old name none, and ran in ONNX Runtime."""
    name = str(environment.get("runtime") or "onnxruntime")
    return {"name": RUNTIMES.get(name, name), "version": str(environment.get(name) or "")}


def chart_tables(chart: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of the charts as rows: bins with their counts, and the series in rows of ten."""
    histogram: Mapping[str, Sequence[float]] = chart.get("histogram") or {}
    edges, counts = histogram.get("edges_ms") or [], histogram.get("counts") or []
    series: Sequence[float] = chart.get("series_ms") or []
    stride = int(chart.get("series_stride") or 1)
    return {
        "bins": [
            {"low": edges[place], "high": edges[place + 1], "count": count, "last": place == len(counts) - 1}
            for place, count in enumerate(counts)
        ],
        "series": [
            {
                "first": start * stride + 1,
                "last": (start + len(series[start : start + SERIES_COLUMNS])) * stride,
                "values": series[start : start + SERIES_COLUMNS],
            }
            for start in range(0, len(series), SERIES_COLUMNS)
        ],
        "stride": stride,
    }


def treemap_of(operators: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return operators by type as a tree of names and milliseconds, for the chart; conversions of precision are marked."""
    by_type: dict[str, list[dict[str, Any]]] = {}
    marked = {row["type"] for row in operators if row.get("transition")}
    for row in operators:
        by_type.setdefault(row["type"] or row["name"], []).append({"name": row["name"], "value": row["total_ms"]})
    return [
        {"name": name, "value": sum(row["value"] for row in rows), "children": rows, "conversion": name in marked}
        for name, rows in by_type.items()
    ]
