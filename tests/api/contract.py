"""The contract of the API, by hand: what is promised to scripts, the client and device agents. Fields may be added to what the
studio answers, and nothing that stands here is ever renamed or taken away."""

from __future__ import annotations

BASE = "/api/edge/v1/"


def _job(path: str, *more: str) -> dict[str, set[str]]:
    return {
        path: {"get", "post"},
        f"{path}{{id}}/": {"get"},
        f"{path}{{id}}/cancel/": {"post"},
        f"{path}{{id}}/retry/": {"post"},
        f"{path}{{id}}/events/": {"get"},
        **{f"{path}{{id}}/{name}/": {"get"} for name in more},
    }


#: Address: verbs.
PATHS: dict[str, set[str]] = {
    "me/": {"get"},
    "models/": {"get", "post"},
    "models/{id}/": {"get", "patch", "delete"},
    "models/{id}/download/": {"get"},
    **_job("models/imports/"),
    "uploads/": {"post"},
    "uploads/{id}/": {"patch", "delete"},
    "uploads/{id}/parts/": {"post"},
    "uploads/{id}/complete/": {"post"},
    "datasets/": {"get", "post"},
    "datasets/{id}/": {"get", "delete"},
    "device-profiles/": {"get", "post"},
    "device-profiles/{id}/": {"get", "patch", "delete"},
    **_job("optimization-jobs/"),
    **_job("benchmarks/", "samples"),
    **_job("comparisons/"),
    **_job("diagnoses/"),
    "artifacts/": {"get"},
    "artifacts/{id}/": {"get", "delete"},
    "artifacts/{id}/download/": {"get"},
    "webhooks/": {"get", "post"},
    "webhooks/{id}/": {"get", "patch", "delete"},
    "webhooks/{id}/test/": {"post"},
    "webhooks/{id}/deliveries/": {"get"},
    "webhooks/{id}/deliveries/{delivery_id}/redeliver/": {"post"},
    "telemetry/events/": {"get"},
}

LATENCY = {"mean", "std", "min", "p50", "p90", "p95", "p99", "max", "ci95", "samples"}
#: Operation and status: fields of the answer, dotted; `[]` enters a list.
ANSWERS: dict[str, set[str]] = {
    "get_me 200": {"user", "workspace", "role", "scopes", "quota", "usage"},
    "get_model 200": {
        *("id", "name", "description", "tags", "format", "size_bytes", "sha256", "status", "analysis", "error"),
        *("parent", "producer", "created_at", "updated_at"),
        *(
            f"analysis.{name}"
            for name in (
                *("inputs", "outputs", "operators", "parameter_count", "weight_bytes", "macs", "opset", "ir_version"),
                *(
                    "producer",
                    "precision",
                    "dynamic_axes",
                    "warnings",
                    "inputs[].name",
                    "inputs[].dtype",
                    "inputs[].shape",
                ),
            )
        ),
    },
    "get_dataset 200": {"id", "kind", "name", "size_bytes", "sha256"},
    "get_device_profile 200": {"id", "name", "is_template", "owner"},
    "get_optimization_job 200": {
        *("id", "status", "stage", "progress", "error", "result"),
        *(
            f"result.{name}"
            for name in (
                *("model", "size_bytes", "compression_ratio", "parity", "passes", "warnings", "recipe"),
                *("parity.sqnr_db", "parity.cosine", "parity.max_abs_error", "parity.top1_agreement", "parity.samples"),
                *("parity.data", "passes[].name", "passes[].seconds", "passes[].size_bytes"),
                *("warnings[].code", "warnings[].detail", "warnings[].fix"),
            )
        ),
    },
    "get_benchmark 200": {
        *("id", "status", "stage", "progress", "error", "result"),
        *(
            f"result.{name}"
            for name in (
                *("kind", "latency_ms", "throughput_per_s", "load_ms.cold", "load_ms.warm", "cpu_percent", "energy_mj"),
                *("memory_mb.baseline", "memory_mb.loaded", "memory_mb.peak", "accuracy", "operators", "environment"),
                *("operators[].name", "operators[].type", "operators[].count", "operators[].total_ms"),
                *("operators[].share", "noise.verdict", "noise.cv", "noise.detail", "comparison"),
                *("comparison.against", "comparison.ratio_p50", "comparison.ci95", "comparison.verdict"),
                *(f"latency_ms.{each}" for each in LATENCY),
            )
        ),
    },
    "get_comparison 200": {
        *("id", "status", "stage", "progress", "error", "result", "result.environment", "result.noise"),
        *("result.runs[].model", "result.runs[].latency_ms", "result.pairs[].a", "result.pairs[].b"),
        *("result.pairs[].ratio_p50", "result.pairs[].ci95", "result.pairs[].verdict"),
    },
    "get_diagnosis 200": {
        *("id", "status", "stage", "progress", "error", "result", "result.question"),
        *(f"result.findings[].{name}" for name in ("code", "severity", "title", "evidence", "fix", "fix_job")),
        *(f"result.layers[].{name}" for name in ("name", "type", "baseline_ms", "variant_ms", "sqnr_db", "precision")),
    },
    "get_artifact 200": {
        *("id", "artifact_type", "model", "optimization_job", "device_profile", "size_bytes", "sha256", "mime_type"),
        *("target_platform", "target_language", "download_count", "expires_at"),
    },
    **{
        f"list_{name} 200": {"next", "previous", "results"}
        for name in (
            *("models", "datasets", "device_profiles", "optimization_jobs", "benchmarks", "comparisons", "diagnoses"),
            *("artifacts", "webhooks", "webhook_deliveries", "audit_events"),
        )
    },
}
#: Operation and type of body: fields that it takes.
BODIES: dict[str, set[str]] = {
    "upload_model multipart/form-data": {"file", "external_data", "name", "description", "tags"},
    "upload_model application/json": {"upload", "name"},
    "update_model application/json": {"name", "description", "tags"},
    "create_optimization_job application/json": {
        *("model", "device_profile", "target_format", "precision", "optimization_level", "dataset", "options", "name"),
        "dry_run",
    },
    "create_benchmark application/json": {
        *("model", "device_profile", "threads", "batch_size", "warmup", "min_seconds", "max_seconds", "dataset"),
        *("baseline", "profile_operators", "name"),
    },
    "create_import application/json": {"url", "s3_key", "sha256", "name", "tags"},
    "create_comparison application/json": {"models", "device_profile", "threads", "dataset", "margin", "max_seconds"},
    "create_diagnosis application/json": {"model", "baseline", "device_profile", "dataset"},
}
#: Closed sets of words, by the path to them: at least these.
WORDS: dict[str, set[str]] = {
    "get_model 200 status": {"uploaded", "analyzing", "ready", "failed", "archived"},
    "get_model 200 format": {
        *("onnx", "tflite", "keras", "saved_model", "openvino", "ort", "coreml", "ncnn", "gguf", "tensorrt", "other"),
    },
    "get_optimization_job 200 status": {"pending", "queued", "running", "completed", "failed", "cancelled"},
    "get_optimization_job 200 precision": {
        *("fp32", "fp16", "int8", "int8_dynamic", "int16x8", "int4", "fp8", "auto"),
    },
    "get_optimization_job 200 optimization_level": {"speed", "balanced", "size"},
    "get_dataset 200 kind": {"calibration", "evaluation", "both"},
    "get_benchmark 200 result.kind": {"measured", "estimated"},
    "get_comparison 200 result.pairs[].verdict": {"faster", "slower", "same", "inconclusive"},
    "get_diagnosis 200 result.question": {"slower", "wrong", "both", "neither"},
}
#: Query parameters that lists take; every list also takes those of :data:`PAGES`.
FILTERS: dict[str, set[str]] = {
    "list_models": {"status", "format", "search", "created_after"},
    "list_optimization_jobs": {"status", "model", "device_profile", "search", "created_after"},
    "list_benchmarks": {"status", "model", "device_profile", "search", "created_after"},
}
PAGES = {"cursor", "page_size", "ordering"}
MAX_PAGE = 200
PROBLEM = {"type", "title", "status", "code", "detail", "errors", "request_id"}
#: Code of a refusal: its status.
CODES: dict[str, int] = {
    **dict.fromkeys(
        [
            *("model_unreadable", "external_data_missing", "model_unsafe", "unsupported_operator"),
            *("unsupported_conversion", "unsupported_precision", "nothing_to_quantize", "dataset_required"),
            *("dataset_mismatch", "dataset_unreadable", "parity_failed", "resource_limit", "engine_crashed"),
            *("worker_lost", "cancelled"),
        ],
        422,
    ),
    "file_too_large": 413,
    "quota_exceeded": 402,
    "internal_error": 500,
    "conflict": 409,
    "precondition_failed": 412,
    "rate_limited": 429,
}
WEBHOOK_EVENTS = {
    *("model.ready", "model.failed", "artifact.created", "artifact.expiring"),
    *(f"{kind}.{end}" for kind in ("optimization_job", "benchmark") for end in ("completed", "failed", "cancelled")),
}
LIMITS = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
#: Names of operations, which generated clients call by them.
OPERATIONS = [
    "append_upload",
    "cancel_benchmark",
    "cancel_comparison",
    "cancel_diagnosis",
    "cancel_import",
    "cancel_optimization_batch",
    "cancel_optimization_job",
    "cancel_package",
    "complete_upload",
    "create_benchmark",
    "create_comparison",
    "create_device_profile",
    "create_diagnosis",
    "create_import",
    "create_optimization_batch",
    "create_optimization_job",
    "create_package",
    "create_upload",
    "create_webhook",
    "delete_artifact",
    "delete_dataset",
    "delete_device_profile",
    "delete_model",
    "delete_upload",
    "delete_webhook",
    "download_artifact",
    "download_benchmark_samples",
    "download_comparison_samples",
    "download_model",
    "get_artifact",
    "get_benchmark",
    "get_comparison",
    "get_dataset",
    "get_device_profile",
    "get_diagnosis",
    "get_import",
    "get_me",
    "get_model",
    "get_model_compatibility",
    "get_model_history",
    "get_optimization_batch",
    "get_optimization_job",
    "get_package",
    "get_upload",
    "get_usage",
    "get_webhook",
    "get_webhook_delivery",
    "list_artifacts",
    "list_audit_events",
    "list_benchmark_events",
    "list_benchmarks",
    "list_comparison_events",
    "list_comparisons",
    "list_datasets",
    "list_device_profiles",
    "list_diagnoses",
    "list_diagnosis_events",
    "list_import_events",
    "list_imports",
    "list_models",
    "list_optimization_batches",
    "list_optimization_job_events",
    "list_optimization_jobs",
    "list_package_events",
    "list_packages",
    "list_webhook_deliveries",
    "list_webhooks",
    "redeliver_webhook",
    "redeliver_webhook_delivery",
    "retry_benchmark",
    "retry_comparison",
    "retry_diagnosis",
    "retry_import",
    "retry_optimization_batch",
    "retry_optimization_job",
    "retry_package",
    "rotate_webhook_secret",
    "send_webhook_test",
    "sign_upload_parts",
    "update_device_profile",
    "update_model",
    "update_webhook",
    "upload_dataset",
    "upload_model",
]
