"""Admin pages: device templates for every workspace, and the rows of the workspace that the member of staff is in.

Nothing here reads a model's bytes.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.contrib import admin, messages
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django_q.tasks import async_task

from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.fleet.models import Cluster
from edge_ai.models import (
    DESCRIPTION_FIELDS,
    AnalysisJob,
    Artifact,
    BenchmarkRun,
    ComparisonJob,
    Dataset,
    DeviceProfile,
    DiagnosisJob,
    EventKind,
    Job,
    JobEvent,
    JobStatus,
    Model,
    OptimizationJob,
    PackagingJob,
    Queue,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from edge_ai.models.job import FINAL
from edge_ai.services.converters import converters
from edge_ai.services.jobs import record, settle
from edge_ai.services.sandboxes import hosts

M = TypeVar("M", bound=models.Model)
SYNC = "edge_ai.worker.tasks.sync_templates"


@admin.register(DeviceTemplate)
class DeviceTemplateAdmin(admin.ModelAdmin[DeviceTemplate]):
    """What staff change here reaches every workspace within seconds, and a newer catalogue file leaves it alone."""

    list_display = ("name", "vendor", "category", "cpu_cores", "memory_mb", "edited", "updated_at")
    list_filter = ("category", "vendor", "edited")
    search_fields = ("name", "vendor", "cpu_model", "slug")
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("is_host", "created_at", "updated_at")
    fieldsets = (
        (
            None,
            {"fields": ("name", "slug", "vendor", "category", "description", "os", "position", "is_host", "edited")},
        ),
        (
            "Processor",
            {"fields": ("cpu_model", "cpu_cores", "cpu_architecture", "cpu_extensions", "cpu_frequency_mhz")},
        ),
        (
            "Numbers",
            {
                "fields": (
                    "memory_mb",
                    "memory_bandwidth_gb_s",
                    "peak_gflops_fp32",
                    "peak_gflops_fp16",
                    "peak_tops_int8",
                    "tdp_w",
                    "sources",
                ),
                "description": "Leave empty what nobody published, and give every number its source.",
            },
        ),
        ("What it runs", {"fields": ("accelerators", "runtimes", "formats", "precisions")}),
        ("Dates", {"fields": ("created_at", "updated_at")}),
    )

    def save_model(self, request: HttpRequest, obj: DeviceTemplate, form: Any, change: bool) -> None:
        if set(form.changed_data) & set(DESCRIPTION_FIELDS):
            obj.edited = True
        super().save_model(request, obj, form, change)
        self._spread(request)

    def delete_model(self, request: HttpRequest, obj: DeviceTemplate) -> None:
        super().delete_model(request, obj)
        self._spread(request)

    def _spread(self, request: HttpRequest) -> None:
        # In the transaction of the edit: the message is there when, and only when, the edit is.
        async_task(SYNC, q_options={"cluster": Queue.STUDIO.value, "save": False, "task_name": "sync device templates"})
        messages.info(request, "The change is on its way to every workspace.")


class WorkspaceAdmin(admin.ModelAdmin[M]):
    """Rows of a workspace's schema: to look at. Staff who are in no workspace see none of them."""

    def _inside(self) -> bool:
        return bool(connection.schema_name != "public")  # type: ignore[attr-defined]  # the tenant backend's

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._inside() and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self._inside() and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


@admin.register(Model)
class ModelAdmin(WorkspaceAdmin[Model]):
    """Models of the workspace."""

    list_display = ("name", "format", "precision", "status", "size_bytes", "owner", "created_at")
    list_filter = ("format", "status", "visibility")
    list_select_related = ("owner",)
    search_fields = ("name", "sha256")


@admin.register(DeviceProfile)
class DeviceProfileAdmin(WorkspaceAdmin[DeviceProfile]):
    """Device profiles of the workspace."""

    list_display = ("name", "vendor", "category", "is_template", "owner")
    list_filter = ("category", "is_template")
    list_select_related = ("owner",)
    search_fields = ("name", "vendor")


@admin.register(Dataset)
class DatasetAdmin(WorkspaceAdmin[Dataset]):
    """Data sets of the workspace."""

    list_display = ("name", "kind", "sample_count", "has_labels", "size_bytes", "owner", "created_at")
    list_filter = ("kind", "has_labels")
    list_select_related = ("owner",)
    search_fields = ("name",)


class JobEventInline(admin.TabularInline[JobEvent, Job]):
    """A job's story."""

    model = JobEvent
    extra = 0
    fields = ("created_at", "kind", "level", "stage", "progress", "message")
    readonly_fields = fields
    can_delete = False


class JobAdmin(WorkspaceAdmin[M]):
    """Jobs of the workspace, which staff may cancel."""

    list_display = ("name", "status", "stage", "progress", "attempt", "worker", "owner", "created_at")
    list_filter = ("status",)
    list_select_related = ("owner",)
    search_fields = ("name", "id")
    actions = ("cancel",)
    inlines = (JobEventInline,)

    @admin.action(description="Cancel the selected jobs", permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Cancel what has not ended."""
        count = 0
        for job_id in queryset.exclude(status__in=FINAL).values_list("pk", flat=True):
            with transaction.atomic():
                if Job.objects.request_cancel(job_id):
                    record(
                        job_id, EventKind.STATUS, stage=JobStatus.CANCELLED, message=f"{request.user} asked to cancel."
                    )
                    settle(job_id)
                    count += 1
        messages.info(request, f"{count} jobs were told to stop.")


admin.site.register(AnalysisJob, JobAdmin)
admin.site.register(OptimizationJob, JobAdmin)
admin.site.register(BenchmarkRun, JobAdmin)
admin.site.register(ComparisonJob, JobAdmin)
admin.site.register(PackagingJob, JobAdmin)
admin.site.register(DiagnosisJob, JobAdmin)


@admin.register(Artifact)
class ArtifactAdmin(WorkspaceAdmin[Artifact]):
    """Artifacts of the workspace."""

    list_display = ("file_name", "artifact_type", "size_bytes", "download_count", "owner", "created_at")
    list_filter = ("artifact_type",)
    list_select_related = ("owner",)
    search_fields = ("file_name", "sha256")


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(WorkspaceAdmin[WebhookEndpoint]):
    """Webhooks of the workspace. Their secrets are shown to nobody."""

    list_display = ("url", "owner", "enabled", "disabled_reason", "first_failure_at", "created_at")
    list_filter = ("enabled", "disabled_reason")
    list_select_related = ("owner",)
    search_fields = ("url", "description")
    exclude = ("secret", "previous_secret")


class WebhookAttemptInline(admin.TabularInline[WebhookAttempt, WebhookDelivery]):
    """What came of each attempt."""

    model = WebhookAttempt
    extra = 0
    fields = ("number", "created_at", "url", "http_status", "latency_ms", "error_code", "error", "response_body")
    readonly_fields = fields
    can_delete = False


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(WorkspaceAdmin[WebhookDelivery]):
    """What was sent, and what is still to be."""

    list_display = ("event_type", "endpoint", "status", "attempt", "http_status", "next_attempt_at", "created_at")
    list_filter = ("status", "event_type")
    list_select_related = ("endpoint", "message")
    search_fields = ("id", "endpoint__url")
    exclude = ("lease_token",)
    inlines = (WebhookAttemptInline,)


def converters_page(request: HttpRequest) -> HttpResponse:
    """Which converters and runtimes are installed, in which version, and what needs them."""
    context = admin.site.each_context(request) | {"title": "Converters", "converters": converters()}
    return TemplateResponse(request, "admin/converters.html", context)


def sandbox_page(request: HttpRequest) -> HttpResponse:
    """How the children of each host's workers are held, what stopped which attack, and how to raise the level."""
    context = admin.site.each_context(request) | {"title": "Sandbox", "hosts": hosts()}
    return TemplateResponse(request, "admin/sandbox.html", context)


@admin.register(Cluster)
class ClusterAdmin(admin.ModelAdmin[Cluster]):
    """Which clusters were heard of lately."""

    list_display = ("queue", "host", "pid", "workers", "ready", "sandbox_level", "restarts", "seen_at")

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of converters and of the sandbox, which have no rows of their own."""
        wrap = self.admin_site.admin_view
        return [
            path("converters/", wrap(converters_page), name="edge_ai_converters"),
            path("sandbox/", wrap(sandbox_page), name="edge_ai_sandbox"),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Cluster | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Cluster | None = None) -> bool:
        return False
