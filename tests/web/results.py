"""Results as the engine answers them, cut short, for pages that show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from edge_ai.models import Dataset, Model
from tests.edge_ai.factories import host_device

ENDED: dict[str, Any] = {
    "status": "completed",
    "progress": 100,
    "stage": "done",
    "attempt": 1,
    "started_at": datetime(2026, 5, 4, 10, 0, 0, tzinfo=UTC),
    "finished_at": datetime(2026, 5, 4, 10, 0, 4, tzinfo=UTC),
}
FAILED: dict[str, Any] = ENDED | {
    "status": "failed",
    "progress": 40,
    "stage": "parity",
    "error": {"code": "parity_failed", "detail": "The answers differ too much.", "fix": "Choose fp16."},
}
OPTIMIZED: dict[str, Any] = {
    "size_bytes": 1500,
    "compression_ratio": 3.3333,
    "precision": "int8",
    "parity": {
        "sqnr_db": 38.63,
        "cosine": 0.999931,
        "max_abs_error": 0.175,
        "top1_agreement": 0.995,
        "samples": 100,
        "data": "dataset",
        "metric": {"name": "top1", "reference": 0.988, "variant": 0.986, "drop": 0.002, "samples": 500},
        "outputs": [{"name": "logits", "sqnr_db": 38.63, "cosine": 0.999931, "max_abs_error": 0.175}],
        "notes": ["judged before the softmax"],
    },
    "passes": [{"name": "load", "seconds": 0.045, "size_bytes": 5000}],
    "trials": [
        {
            "name": "MinMax",
            "seconds": 0.092,
            "size_bytes": 1500,
            "sqnr_db": 38.63,
            "top1_agreement": 0.995,
            "latency_ratio": 0.7312,
            "refused_because": None,
            "chosen": True,
        },
        {
            "name": "Percentile",
            "seconds": 0.11,
            "size_bytes": 1510,
            "sqnr_db": 5.2,
            "top1_agreement": 0.61,
            "latency_ratio": None,
            "refused_because": "It is too far from the original.",
            "chosen": False,
        },
    ],
    "route": ["onnx", "onnx"],
    "gzip_bytes": 1400,
    "original_gzip_bytes": 4600,
    "latency": {"against": "original", "method": "quick, one process", "threads": 1, "trials": {}, "reason": None},
    "steps": [
        {
            "step": "prune",
            "settings": {"method": "unstructured"},
            "bytes_before": 5000,
            "bytes_after": 4990,
            "gzip_before": 4600,
            "gzip_after": 2300,
            "note": "Half of the weights are zero.",
        },
        {"step": "quantize", "precision": "int8", "way": "MinMax"},
    ],
    "warnings": [{"code": "few_samples", "detail": "There are few samples.", "fix": "Give more."}],
    "recipe": {"steps": [{"step": "quantize"}]},
}
MEASURED: dict[str, Any] = {
    "kind": "measured",
    "latency_ms": {
        "mean": 0.072,
        "std": 0.057,
        "min": 0.0593,
        "p50": 0.064644,
        "p90": 0.0867,
        "p95": 0.0952,
        "p99": 0.1268,
        "max": 9.285,
        "ci95": [0.063974, 0.064989],
        "intervals": {"p50": [0.063974, 0.064989], "p90": [0.085, 0.0881], "p95": [0.0931, 0.0972], "p99": None},
        "samples": 34278,
    },
    "chart": {
        "histogram": {"edges_ms": [0.059, 0.061, 0.063, 0.065], "counts": [1308, 10674, 22296]},
        "series_ms": [0.087097, 0.085996, 0.085375],
        "series_stride": 23,
    },
    "throughput_per_s": 12814.3,
    "throughput": {"per_s": 12814.3, "streams": 1, "threads": 1, "seconds": 1.0, "runs": 12815}
    | {
        "tried": [
            {"per_s": 12814.3, "streams": 1, "threads": 1, "seconds": 1.0, "runs": 12815},
            {"per_s": 9321.0, "streams": 2, "threads": 1, "seconds": 1.0, "runs": 9322},
        ]
    },
    "load_ms": {"cold": 8.94, "warm": 2.35},
    "load_detail": "Cold: the first load of a fresh process.",
    "import_ms": 35.2,
    "first_inference_ms": 0.566,
    "memory_mb": {"baseline": 32.9, "loaded": 35.7, "peak": 36.5, "high_water": 71.2},
    "memory_detail": "Baseline: the runtime alone, with a model that does nothing.",
    "cpu_percent": 98.8,
    "cpu_time": {"wall_s": 2.5, "user_s": 2.4, "system_s": 0.07, "ms_per_inference": 0.0719},
    "energy_mj": None,
    "energy_reason": "this machine has no RAPL energy counters",
    "accuracy": {"top1": 0.988},
    "accuracy_reason": None,
    "accuracy_ci95": {"top1": [0.974, 0.994]},
    "accuracy_samples": 500,
    "operators": [
        {"name": "conv_1", "type": "Conv", "count": 50, "total_ms": 4.379, "share": 0.469},
        {
            "name": "conv_1_out_DequantizeLinear",
            "type": "DequantizeLinear",
            "count": 50,
            "total_ms": 0.5,
            "median_ms": 0.01,
            "share": 0.054,
            "dtype": "float32",
            "reads": "uint8",
            "provider": "CPUExecutionProvider",
            "layer": "conv_1",
            "transition": "dequantize",
        },
    ],
    "operators_runs": 50,
    "warmup": {"runs": 2225, "seconds": 0.2, "stable": True},
    "environment": {
        "cpu_model": "Example CPU",
        "cpu_flags": ["avx2"],
        "cores": 2,
        "governor": None,
        "memory_mb": 25277,
        "kernel": "Linux 6",
        "machine": "x86_64",
        "container": None,
        "libraries": {"numpy": "2.4.6", "onnxruntime": "1.32.0"},
        "sandbox_level": "strong",
        "studio_version": "0.1.0",
        "studio_commit": "0123456789abcdef0123456789abcdef01234567",
        "onnxruntime": "1.32.0",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "cpus": [0, 1],
        "pinned": False,
        "batch_size": 1,
        "input": "dataset",
        "input_samples": 64,
        "seed": 0,
    },
    "noise": {
        "verdict": "noisy",
        "cv": 0.066,
        "detail": "other processes used 50% of the same processors",
        "signals": {"run_delay": 0.01, "others_busy": 0.5, "steal": 0.0, "drift": 0.0, "cv": 0.066},
        "outliers": {"count": 812, "share": 0.0237, "slowest_ms": 9.285},
        "attempts": [
            {
                "verdict": "noisy",
                "detail": "other processes used 50% of the same processors",
                "p50_ms": 0.064644,
                "samples": 34278,
                "seconds": 2.5,
                "prolonged_seconds": 1.25,
                "chosen": True,
            },
            {
                "verdict": "noisy",
                "detail": "other processes used 70% of the same processors",
                "p50_ms": 0.0671,
                "samples": 30211,
                "seconds": 2.5,
                "prolonged_seconds": 1.25,
                "chosen": False,
            },
        ],
    },
    "stop": {"reason": "ci", "within": 0.0079, "prolonged_seconds": 1.25, "seconds": 2.5},
    "comparison": None,
}


def compared(*models: Model, ratios: tuple[float, ...] = (0.8,), labelled: bool = True) -> dict[str, Any]:
    """The result of a comparison; the ratios of the others to the first, each with an interval of 2 % to either side."""
    latency_ms = MEASURED["latency_ms"]
    runs: list[dict[str, Any]] = []
    for place, (model, ratio) in enumerate(zip(models, (1.0, *ratios), strict=True)):
        accuracy = 0.988 - 0.01 * place
        times = {
            name: value * ratio for name, value in latency_ms.items() if name not in {"ci95", "samples", "intervals"}
        }
        runs.append(
            {
                "model": str(model.pk),
                "name": model.name,
                "place": place,
                "format": model.format,
                "runtime": "onnxruntime",
                "latency_ms": times | {"ci95": [bound * ratio for bound in latency_ms["ci95"]], "samples": 900},
                "size_bytes": model.size_bytes,
                "accuracy": {"top1": accuracy} if labelled else None,
                "accuracy_ci95": {"top1": [accuracy - 0.01, accuracy + 0.01]} if labelled else None,
                "accuracy_samples": 500 if labelled else None,
                "accuracy_reason": None if labelled else "no data set was given",
                "delta": {
                    "p50": ratio - 1,
                    "size": model.size_bytes / models[0].size_bytes - 1,
                    "accuracy": -0.01 * place if labelled else None,
                    "metric": "top1" if labelled else None,
                }
                if place
                else None,
            }
        )
    every = [
        _pair(runs[a], runs[b], (1.0, *ratios)[b] / (1.0, *ratios)[a])
        for a in range(len(runs))
        for b in range(a + 1, len(runs))
    ]
    return {
        "kind": "measured",
        "runs": runs,
        "pairs": every[: len(runs) - 1],
        "every_pair": every,
        "starts": 6,
        "rounds": 48,
        "margin": 0.02,
        "stop": {"reason": "clear", "seconds": 7.5},
        "environment": MEASURED["environment"] | {"threads": 1, "order": "A B … B A"},
        "noise": {"verdict": "quiet", "cv": 0.02, "detail": "nothing disturbed the run beyond its limits"},
    }


def _pair(a: dict[str, Any], b: dict[str, Any], ratio: float) -> dict[str, Any]:
    verdict = "same" if ratio == 1 else "faster" if ratio < 0.96 else "slower" if ratio > 1.04 else "inconclusive"
    return {
        "a": a["model"],
        "b": b["model"],
        "ratio_p50": ratio,
        "ci95": [ratio * 0.98, ratio * 1.02],
        "ci99": [ratio * 0.97, ratio * 1.03],
        "verdict": verdict,
        "ratios_of_starts": [ratio * step for step in (0.99, 1.0, 1.01, 0.995, 1.005, 1.0)],
    }


def diagnosed(baseline: Model, dataset: Dataset | None = None) -> dict[str, Any]:
    """The result of a diagnosis of a variant of a model: two findings, of which the first has a remedy."""
    return {
        "question": "slower",
        "summary": "The variant is slower than the baseline; its answers are right.",
        "findings": [
            {
                "code": "qdq_islands",
                "severity": "high",
                "title": "3 conversions between integers and float take 40% of the time.",
                "evidence": {
                    "conversions": 3,
                    "share": 0.4,
                    "ms": 0.02,
                    "islands": [["act_1", "act_2"]],
                    "operators": {"QuantizeLinear": {"count": 3, "before_ms": None, "after_ms": 0.02}},
                },
                "fix": "Choose fp16, which costs no time.",
                "fix_job": {
                    "model": str(baseline.pk),
                    "device_profile": str(host_device().pk),
                    "dataset": None if dataset is None else str(dataset.pk),
                    "target_format": "onnx",
                    "precision": "fp16",
                    "optimization_level": "balanced",
                    "options": {"exclude_layers": ["conv_1"]},
                    "name": "digits: mend qdq_islands",
                },
            },
            {
                "code": "few_layers",
                "severity": "low",
                "title": "1 of 3 layers cost most of the accuracy: conv_1.",
                "evidence": {"layers": [{"name": "conv_1", "sqnr_db": 7.5}], "count": 1},
                "fix": "Keep it in float.",
                "fix_job": None,
            },
        ],
        "layers": [
            {
                "name": "conv_1",
                "type": "Conv",
                "baseline_ms": 0.02,
                "variant_ms": 0.05,
                "sqnr_db": 7.5,
                "cosine": 0.9,
                "alone_sqnr_db": 9.0,
                "precision": "uint8",
                "runs_as": "QLinearConv",
                "transition": "dequantize",
            },
            {
                "name": "act_1",
                "type": "HardSigmoid",
                "baseline_ms": None,
                "variant_ms": None,
                "sqnr_db": None,
                "cosine": None,
                "alone_sqnr_db": None,
                "precision": None,
                "runs_as": None,
                "transition": None,
            },
        ],
        "layers_reason": None,
        "latency": {
            "ratio_p50": 2.5,
            "ci95": [2.25, 2.75],
            "verdict": "slower",
            "baseline_ms": 0.0314,
            "variant_ms": 0.0785,
        },
        "parity": OPTIMIZED["parity"] | {"fault": None, "precision": "int8"},
        "elsewhere_ms": {"baseline": 0.001, "variant": 0.0123},
        "transitions": 2,
        "islands": 1,
        "environment": MEASURED["environment"],
        "noise": {"verdict": "quiet", "cv": 0.02, "detail": ""},
    }
