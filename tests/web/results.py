"""Results as the engine answers them, cut short, for pages that show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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
            "refused_because": None,
            "chosen": True,
        }
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
        "samples": 34278,
    },
    "chart": {
        "histogram": {"edges_ms": [0.059, 0.061, 0.063, 0.065], "counts": [1308, 10674, 22296]},
        "series_ms": [0.087097, 0.085996, 0.085375],
        "series_stride": 23,
    },
    "throughput_per_s": 12814.3,
    "throughput": {"per_s": 12814.3, "streams": 1, "threads": 1, "seconds": 1.0, "runs": 12815},
    "load_ms": {"cold": 8.94, "warm": 2.35},
    "load_detail": "cold: the first load of a fresh process.",
    "import_ms": 35.2,
    "first_inference_ms": 0.566,
    "memory_mb": {"baseline": 32.9, "loaded": 35.7, "peak": 36.5},
    "cpu_percent": 98.8,
    "energy_mj": None,
    "energy_reason": "this machine has no RAPL energy counters",
    "accuracy": {"top1": 0.988},
    "accuracy_reason": None,
    "accuracy_ci95": {"top1": [0.974, 0.994]},
    "accuracy_samples": 500,
    "operators": [{"name": "conv_1", "type": "Conv", "count": 50, "total_ms": 4.379, "share": 0.469}],
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
    "noise": {"verdict": "noisy", "cv": 0.066, "detail": "other processes used 50% of the same processors"},
    "stop": {"reason": "ci", "within": 0.0079, "seconds": 2.5},
    "comparison": None,
}
