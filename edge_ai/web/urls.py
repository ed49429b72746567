"""Addresses of the pages."""

from __future__ import annotations

from django.urls import path

from edge_ai.web.views import (
    artifacts,
    benchmarks,
    compatibility,
    datasets,
    devices,
    job_log,
    jobs,
    models,
    optimizations,
    overview,
    packaging,
    public,
)

app_name = "edge_ai"
urlpatterns = [
    path("", public.landing, name="landing"),
    path("docs/errors/", public.error_codes, name="error-codes"),
    path("overview/", overview.overview, name="overview"),
    path("models/", models.model_list, name="model-list"),
    path("models/upload/", models.model_upload, name="model-upload"),
    path("models/<uuid:model_id>/", models.model_detail, name="model-detail"),
    path("models/<uuid:model_id>/download/", models.model_download, name="model-download"),
    path("models/<uuid:model_id>/edit/", models.model_update, name="model-update"),
    path("models/<uuid:model_id>/delete/", models.model_delete, name="model-delete"),
    path("models/<uuid:model_id>/compatibility/", compatibility.model_compatibility, name="model-compatibility"),
    path("models/<uuid:model_id>/optimize/", optimizations.optimization_create, name="optimization-create"),
    path("models/<uuid:model_id>/benchmark/", benchmarks.benchmark_create, name="benchmark-create"),
    path("models/<uuid:model_id>/bundle/", packaging.packaging_create, name="packaging-create"),
    path("jobs/", jobs.job_list, name="job-list"),
    path("jobs/<uuid:job_id>/", jobs.job_detail, name="job-detail"),
    path("jobs/<uuid:job_id>/events/", jobs.job_events, name="job-events"),
    path("jobs/<uuid:job_id>/log.txt", job_log.job_log, name="job-log"),
    path("jobs/<uuid:job_id>/benchmark/", benchmarks.variant_benchmark, name="variant-benchmark"),
    path("jobs/<uuid:job_id>/cancel/", jobs.job_cancel, name="job-cancel"),
    path("jobs/<uuid:job_id>/retry/", jobs.job_retry, name="job-retry"),
    path("benchmarks/", benchmarks.benchmark_list, name="benchmark-list"),
    path("benchmarks/<uuid:run_id>/", benchmarks.benchmark_detail, name="benchmark-detail"),
    path("benchmarks/<uuid:run_id>/samples/", benchmarks.benchmark_samples, name="benchmark-samples"),
    path("datasets/", datasets.dataset_list, name="dataset-list"),
    path("datasets/upload/", datasets.dataset_upload, name="dataset-upload"),
    path("datasets/<uuid:dataset_id>/delete/", datasets.dataset_delete, name="dataset-delete"),
    path("devices/", devices.device_list, name="device-list"),
    path("devices/<uuid:device_id>/", devices.device_detail, name="device-detail"),
    path("artifacts/", artifacts.artifact_list, name="artifact-list"),
    path("artifacts/<uuid:artifact_id>/download/", artifacts.artifact_download, name="artifact-download"),
    path("artifacts/<uuid:artifact_id>/delete/", artifacts.artifact_delete, name="artifact-delete"),
]
