"""What jobs found, as the reference describes it; the rows hold it as the engine answered."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from edge_ai.engine.dataset_task import TASKS

NUMBER = {"type": ["number", "null"]}


CAUTION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "properties": {"code": {"type": "string"}, "detail": {"type": "string"}, "fix": {"type": "string"}},
}


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What came of it; null until the job is completed.",
        "additionalProperties": True,
        "properties": {
            "model": {"type": "string", "format": "uuid", "description": "The variant."},
            "size_bytes": {"type": "integer"},
            "gzip_bytes": {"type": ["integer", "null"], "description": "The variant packed, as for a download."},
            "precision": {"type": "string", "description": "What was made; with `auto`, what that stood for."},
            "route": {"type": "array", "items": {"type": "string"}, "description": "The formats on the way."},
            "compression_ratio": {"type": "number", "description": "The original's size by the variant's."},
            "parity": {
                "type": "object",
                "additionalProperties": True,
                "properties": {
                    "sqnr_db": NUMBER,
                    "cosine": NUMBER,
                    "max_abs_error": NUMBER,
                    "top1_agreement": NUMBER,
                    "samples": {"type": "integer"},
                    "data": {
                        "type": "string",
                        "enum": ["dataset", "representative", "random", "not_checked"],
                        "description": "What the two were compared on. `not_checked`: nothing here runs the target "
                        "format, so every figure is null.",
                    },
                },
            },
            "passes": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": True,
                    "properties": {
                        "name": {"type": "string"},
                        "seconds": {"type": "number"},
                        "size_bytes": {"type": "integer"},
                        "reused": {
                            "type": "boolean",
                            "description": "Taken from an earlier attempt; `seconds` is how long it took then.",
                        },
                    },
                },
            },
            "reused_seconds": {
                "type": "number",
                "description": "How long the stages had taken that were taken from earlier attempts.",
            },
            "trials": {
                "type": "array",
                "description": "The ways that were tried, one of them chosen.",
                "items": {
                    "type": "object",
                    "additionalProperties": True,
                    "properties": {
                        "name": {"type": "string"},
                        "seconds": {"type": "number"},
                        "size_bytes": {"type": ["integer", "null"]},
                        "sqnr_db": NUMBER,
                        "top1_agreement": NUMBER,
                        "metric_drop": NUMBER,
                        "latency_ratio": {
                            **NUMBER,
                            "description": "Measured time of one inference by that of the original; null: not measured.",
                        },
                        "refused_because": {"type": ["string", "null"]},
                        "chosen": {"type": "boolean"},
                    },
                },
            },
            "steps": {
                "type": "array",
                "description": "What was done to the network, with sizes in bytes where that changed them.",
                "items": {"type": "object", "additionalProperties": True},
            },
            "warnings": {"type": "array", "items": CAUTION},
            "recipe": {"type": "object", "additionalProperties": True},
            "calibration": {
                "type": ["object", "null"],
                "additionalProperties": True,
                "description": "The samples that a static int8 or int16x8 variant was calibrated on; null for others.",
                "properties": {
                    "samples": {"type": "integer"},
                    "judged_samples": {"type": "integer"},
                    "inputs": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": True,
                            "properties": {
                                "name": {"type": "string"},
                                "range": {"type": ["array", "null"], "items": {"type": "number"}},
                                "typical": {
                                    "type": "array",
                                    "items": {"type": "number"},
                                    "description": "What 99 % of the values lie in.",
                                },
                                "coverage": {
                                    "type": "number",
                                    "description": "Share of the values of the samples for judging within `range`.",
                                },
                                "saturation": {
                                    "type": "number",
                                    "description": "Share of the values exactly at the ends of `range`, 0 left out.",
                                },
                                "widened": {
                                    "type": "number",
                                    "description": "Share of `range` that the second half of the samples added.",
                                },
                            },
                        },
                    },
                    "outliers": {"type": "object", "additionalProperties": True},
                    "duplicates": {"type": "integer"},
                    "constant": {"type": "integer", "description": "Samples of one value throughout."},
                    "classes": {"type": ["object", "null"], "additionalProperties": True},
                    "overlap": {"type": "integer", "description": "Samples for judging that calibrated as well."},
                    "advice": {"type": "string"},
                    "warnings": {
                        "type": "array",
                        "items": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                    "sample_hashes": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    }
)
class OptimizationResultField(serializers.JSONField):
    """The result of an optimization."""


_BAND = {
    "low": "the lower end of its error band",
    "high": "the upper end of its error band",
    "level": "which share the band is to hold",
}
_LATENCY = ("mean", "std", "min", "p50", "p90", "p95", "p99", "max")


def latency_schema(*, estimated: bool = False) -> dict[str, Any]:
    """Describe a distribution of latencies; ``estimated`` where an estimate may stand in its place."""
    null = ["null"] if estimated else []
    fields: dict[str, Any] = {name: {"type": ["number", *null] if estimated else "number"} for name in _LATENCY}
    fields["ci95"] = {
        "type": ["array", *null] if estimated else "array",
        "items": {"type": "number"},
        "description": "The interval of the median, at 95 %.",
    }
    fields["intervals"] = {
        "type": ["object", *null] if estimated else "object",
        "description": "The intervals of `p50`, `p90`, `p95` and `p99` at 95 %, by a block bootstrap; null where there are too "
        "few samples for one.",
        "additionalProperties": {"type": ["array", "null"], "items": {"type": "number"}},
    }
    fields["samples"] = {"type": ["integer", *null] if estimated else "integer"}
    if not estimated:
        return {"type": "object", "properties": fields}
    for name, what in _BAND.items():
        fields[name] = {"type": "number", "description": f"Of an estimate: {what}."}
    description = "Of an estimate `p50`, `low`, `high` and `level` alone; all else is null."
    return {"type": "object", "properties": fields, "description": description}


@extend_schema_field(
    {
        "type": ["object", "null"],
        "description": "What was measured; null until the benchmark is completed. What was not measured is null.",
        "additionalProperties": True,
        "properties": {
            "kind": {"type": "string", "enum": ["measured", "estimated"]},
            "latency_ms": latency_schema(estimated=True),
            "not_measured": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "Of an estimate: why a field is null.",
            },
            "memory_fit": {
                "type": "object",
                "additionalProperties": True,
                "description": "Of an estimate: whether the model fits in the device's memory.",
                "properties": {"verdict": {"type": "string", "enum": ["fits", "tight", "does_not_fit", "unknown"]}},
            },
            "assumptions": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": {"type": "string"}},
                "description": "Of an estimate: what it rests on, each number with its source.",
            },
            "regression": {
                "type": ["object", "null"],
                "additionalProperties": True,
                "description": "By how much it is slower than the runs before it, where that cannot be chance.",
            },
            "throughput_per_s": NUMBER,
            "throughput": {
                "type": ["object", "null"],
                "description": "The shape that gave the most: `streams`, `threads` of each, `per_s`; `tried` has all.",
                "additionalProperties": True,
            },
            "load_ms": {
                "type": ["object", "null"],
                "description": "From the file to the first answer: in a fresh process, and again in the same.",
                "additionalProperties": True,
                "properties": {"cold": NUMBER, "warm": NUMBER},
            },
            "memory_mb": {
                "type": ["object", "null"],
                "description": "`baseline`, `loaded` and `peak`, and `high_water`, the process's largest resident set.",
                "additionalProperties": True,
                "properties": {"baseline": NUMBER, "loaded": NUMBER, "peak": NUMBER},
            },
            "cpu_percent": NUMBER,
            "cpu_time": {
                "type": ["object", "null"],
                "description": "`wall_s`, `user_s` and `system_s` of the recording, and `ms_per_inference` of the two.",
                "additionalProperties": True,
            },
            "energy_mj": NUMBER,
            "accuracy": {"type": ["object", "null"], "additionalProperties": {"type": "number"}},
            "accuracy_ci95": {
                "type": ["object", "null"],
                "description": "The interval of each figure at 95 %, where there is one.",
                "additionalProperties": {"type": "array", "items": {"type": "number"}},
            },
            "accuracy_samples": {"type": ["integer", "null"]},
            "accuracy_reason": {"type": ["string", "null"], "description": "Why there is no accuracy."},
            "accuracy_task": {
                "type": ["object", "null"],
                "properties": {
                    "task": {"type": "string", "enum": list(TASKS)},
                    "source": {"type": "string", "enum": ["given", "inferred"]},
                    "output": {"type": "string"},
                },
            },
            "accuracy_detail": {
                "type": ["object", "null"],
                "description": "Confusions, figures of each class, notes; `calibrated_samples` are those that calibrated "
                "the model as well.",
                "additionalProperties": True,
            },
            "operators": {
                "type": ["array", "null"],
                "description": "Where the runtime tells them.",
                "items": {
                    "type": "object",
                    "additionalProperties": True,
                    "properties": {
                        "name": {"type": "string"},
                        "type": {"type": "string"},
                        "count": {"type": ["integer", "null"]},
                        "total_ms": NUMBER,
                        "share": NUMBER,
                    },
                },
            },
            "environment": {"type": "object", "additionalProperties": True},
            "noise": {
                "type": "object",
                "description": "`verdict` (`quiet` or `noisy`), `detail`, the `signals` that it rests on, `outliers`, and "
                "`attempts`: a noisy measurement is prolonged, then repeated once.",
                "additionalProperties": True,
                "properties": {
                    "verdict": {"type": "string", "enum": ["quiet", "noisy"]},
                    "cv": NUMBER | {"description": "The spread of the latencies by their mean."},
                    "detail": {"type": "string"},
                },
            },
            "comparison": {
                "type": ["object", "null"],
                "description": "With the baseline: `ratio_p50`, `ci95`, `verdict`, `against`; `warnings` has what differs "
                "between the two environments.",
                "additionalProperties": True,
                "properties": {
                    "against": {"type": "string", "format": "uuid"},
                    "ratio_p50": NUMBER,
                    "ci95": {"type": ["array", "null"], "items": {"type": "number"}},
                    "verdict": {"type": "string", "enum": ["faster", "slower", "same", "inconclusive"]},
                    "accuracy": {
                        "type": ["object", "null"],
                        "description": "This run's accuracy against the baseline's on the same samples, by McNemar's test; "
                        "`difference` and `ci95` are in points.",
                        "properties": {
                            "difference": {"type": "number"},
                            "ci95": {"type": "array", "items": {"type": "number"}},
                            "p_value": {"type": "number"},
                            "significant": {"type": "boolean"},
                            "n": {"type": "integer"},
                            "only_baseline": {"type": "integer"},
                            "only_this": {"type": "integer"},
                            "sentence": {"type": "string"},
                        },
                    },
                    "accuracy_reason": {"type": ["string", "null"]},
                },
            },
        },
    }
)
class BenchmarkResultField(serializers.JSONField):
    """The result of a benchmark."""
