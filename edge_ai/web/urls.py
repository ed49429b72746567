"""Addresses of the pages."""

from __future__ import annotations

from django.urls import path

from edge_ai.web.views import (
    artifacts,
    benchmarks,
    compatibility,
    datasets,
    devices,
    jobs,
    models,
    optimizations,
    overview,
    public,
    webhooks,
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
    path("jobs/", jobs.job_list, name="job-list"),
    path("jobs/<uuid:job_id>/", jobs.job_detail, name="job-detail"),
    path("jobs/<uuid:job_id>/events/", jobs.job_events, name="job-events"),
    path("jobs/<uuid:job_id>/cancel/", jobs.job_cancel, name="job-cancel"),
    path("jobs/<uuid:job_id>/retry/", jobs.job_retry, name="job-retry"),
    path("jobs/<uuid:job_id>/afresh/", jobs.job_afresh, name="job-afresh"),
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
    path("settings/webhooks/", webhooks.webhook_list, name="webhook-list"),
    path("settings/webhooks/add/", webhooks.webhook_create, name="webhook-create"),
    path("settings/webhooks/<uuid:webhook_id>/", webhooks.webhook_detail, name="webhook-detail"),
    path("settings/webhooks/<uuid:webhook_id>/edit/", webhooks.webhook_update, name="webhook-update"),
    path("settings/webhooks/<uuid:webhook_id>/switch/", webhooks.webhook_switch, name="webhook-switch"),
    path("settings/webhooks/<uuid:webhook_id>/secret/", webhooks.webhook_rotate, name="webhook-rotate"),
    path("settings/webhooks/<uuid:webhook_id>/test/", webhooks.webhook_test, name="webhook-test"),
    path("settings/webhooks/<uuid:webhook_id>/redeliver/", webhooks.webhook_redeliver, name="webhook-redeliver"),
    path("settings/webhooks/<uuid:webhook_id>/delete/", webhooks.webhook_delete, name="webhook-delete"),
    path(
        "settings/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/redeliver/",
        webhooks.webhook_delivery_redeliver,
        name="webhook-delivery-redeliver",
    ),
]
