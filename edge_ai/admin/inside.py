"""The rows of the workspace that a member of staff is in: to look at."""

from __future__ import annotations

from typing import Any, TypeVar

from django.contrib import admin, messages
from django.db import connection, models, transaction
from django.http import HttpRequest

from edge_ai.models import (
    AnalysisJob,
    Artifact,
    AuditAction,
    AuditEvent,
    BenchmarkRun,
    ComparisonJob,
    Dataset,
    DeviceProfile,
    DiagnosisJob,
    EventKind,
    ImportJob,
    Job,
    JobEvent,
    JobStatus,
    Model,
    OptimizationJob,
    PackagingJob,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from edge_ai.models.job import FINAL
from edge_ai.services.audit import note
from edge_ai.services.jobs import record, settle

M = TypeVar("M", bound=models.Model)


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
                was = Job.objects.get(pk=job_id)
                if Job.objects.request_cancel(job_id):
                    note(AuditAction.JOB_CANCELLED, was, before={"status": was.status})
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


@admin.register(ImportJob)
class ImportJobAdmin(JobAdmin[ImportJob]):
    """Imports, without the queries of their addresses."""

    exclude = ("closed_url",)


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


@admin.register(AuditEvent)
class AuditEventAdmin(WorkspaceAdmin[AuditEvent]):
    """The audit trail of the workspace."""

    list_display = ("at", "actor", "how", "action", "object_name", "address")
    list_filter = ("how", "action")
    search_fields = ("actor", "object_name", "request_id")
