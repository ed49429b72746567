"""Addresses of the API, under ``/api/``."""

from __future__ import annotations

from django.urls import include, path

from edge_ai.api import docs
from edge_ai.api.views import (
    account,
    artifacts,
    benchmarks,
    comparisons,
    datasets,
    devices,
    diagnoses,
    history,
    models,
    optimizations,
    packages,
    webhooks,
)

app_name = "api"
resources = [
    path("me/", account.Me.as_view(), name="me"),
    path("models/", models.ModelList.as_view(), name="model-list"),
    path("models/<uuid:id>/", models.ModelDetail.as_view(), name="model-detail"),
    path("models/<uuid:id>/download/", models.ModelDownload.as_view(), name="model-download"),
    path("models/<uuid:id>/compatibility/", models.ModelCompatibility.as_view(), name="model-compatibility"),
    path("models/<uuid:id>/history/", history.ModelHistory.as_view(), name="model-history"),
    path("datasets/", datasets.DatasetList.as_view(), name="dataset-list"),
    path("datasets/<uuid:id>/", datasets.DatasetDetail.as_view(), name="dataset-detail"),
    path("device-profiles/", devices.DeviceList.as_view(), name="device-profile-list"),
    path("device-profiles/<uuid:id>/", devices.DeviceDetail.as_view(), name="device-profile-detail"),
    path("optimization-jobs/", optimizations.JobList.as_view(), name="job-list"),
    path("optimization-jobs/<uuid:id>/", optimizations.JobDetail.as_view(), name="job-detail"),
    path("optimization-jobs/<uuid:id>/cancel/", optimizations.JobCancel.as_view(), name="job-cancel"),
    path("optimization-jobs/<uuid:id>/retry/", optimizations.JobRetry.as_view(), name="job-retry"),
    path("optimization-jobs/<uuid:id>/events/", optimizations.JobEvents.as_view(), name="job-events"),
    path("benchmarks/", benchmarks.BenchmarkList.as_view(), name="benchmark-list"),
    path("benchmarks/<uuid:id>/", benchmarks.BenchmarkDetail.as_view(), name="benchmark-detail"),
    path("benchmarks/<uuid:id>/cancel/", benchmarks.BenchmarkCancel.as_view(), name="benchmark-cancel"),
    path("benchmarks/<uuid:id>/retry/", benchmarks.BenchmarkRetry.as_view(), name="benchmark-retry"),
    path("benchmarks/<uuid:id>/events/", benchmarks.BenchmarkEvents.as_view(), name="benchmark-events"),
    path("benchmarks/<uuid:id>/samples/", benchmarks.BenchmarkSamples.as_view(), name="benchmark-samples"),
    path("comparisons/", comparisons.ComparisonList.as_view(), name="comparison-list"),
    path("comparisons/<uuid:id>/", comparisons.ComparisonDetail.as_view(), name="comparison-detail"),
    path("comparisons/<uuid:id>/cancel/", comparisons.ComparisonCancel.as_view(), name="comparison-cancel"),
    path("comparisons/<uuid:id>/retry/", comparisons.ComparisonRetry.as_view(), name="comparison-retry"),
    path("comparisons/<uuid:id>/events/", comparisons.ComparisonEvents.as_view(), name="comparison-events"),
    path("comparisons/<uuid:id>/samples/", comparisons.ComparisonSamples.as_view(), name="comparison-samples"),
    path("packages/", packages.PackageList.as_view(), name="package-list"),
    path("packages/<uuid:id>/", packages.PackageDetail.as_view(), name="package-detail"),
    path("packages/<uuid:id>/cancel/", packages.PackageCancel.as_view(), name="package-cancel"),
    path("packages/<uuid:id>/retry/", packages.PackageRetry.as_view(), name="package-retry"),
    path("packages/<uuid:id>/events/", packages.PackageEvents.as_view(), name="package-events"),
    path("diagnoses/", diagnoses.DiagnosisList.as_view(), name="diagnosis-list"),
    path("diagnoses/<uuid:id>/", diagnoses.DiagnosisDetail.as_view(), name="diagnosis-detail"),
    path("diagnoses/<uuid:id>/cancel/", diagnoses.DiagnosisCancel.as_view(), name="diagnosis-cancel"),
    path("diagnoses/<uuid:id>/retry/", diagnoses.DiagnosisRetry.as_view(), name="diagnosis-retry"),
    path("diagnoses/<uuid:id>/events/", diagnoses.DiagnosisEvents.as_view(), name="diagnosis-events"),
    path("artifacts/", artifacts.ArtifactList.as_view(), name="artifact-list"),
    path("artifacts/<uuid:id>/", artifacts.ArtifactDetail.as_view(), name="artifact-detail"),
    path("artifacts/<uuid:id>/download/", artifacts.ArtifactDownload.as_view(), name="artifact-download"),
    path("webhooks/", webhooks.WebhookList.as_view(), name="webhook-list"),
    path("webhooks/<uuid:id>/", webhooks.WebhookDetail.as_view(), name="webhook-detail"),
    path("webhooks/<uuid:id>/rotate-secret/", webhooks.WebhookRotation.as_view(), name="webhook-rotation"),
    path("webhooks/<uuid:id>/test/", webhooks.WebhookTest.as_view(), name="webhook-test"),
    path("webhooks/<uuid:id>/redeliver/", webhooks.WebhookRedelivery.as_view(), name="webhook-redelivery"),
    path("webhooks/<uuid:id>/deliveries/", webhooks.WebhookDeliveries.as_view(), name="webhook-deliveries"),
    path(
        "webhooks/<uuid:id>/deliveries/<uuid:delivery_id>/",
        webhooks.WebhookDeliveryDetail.as_view(),
        name="webhook-delivery",
    ),
    path(
        "webhooks/<uuid:id>/deliveries/<uuid:delivery_id>/redeliver/",
        webhooks.WebhookDeliveryRedelivery.as_view(),
        name="webhook-again",
    ),
]
urlpatterns = [
    path("edge/v1/", include(resources)),
    path("schema/", docs.schema, name="schema"),
    path("docs/", docs.reference, name="docs"),
]
