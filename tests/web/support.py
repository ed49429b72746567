"""A workspace with one of everything, and where the pages are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.urls import URLPattern, reverse
from django.utils import timezone

from accounts.models import Invitation, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import (
    Artifact,
    BenchmarkRun,
    ComparisonJob,
    Dataset,
    DeviceProfile,
    DiagnosisJob,
    Job,
    JobEvent,
    Model,
    OptimizationBatch,
    OptimizationJob,
    ShareLink,
    WebhookDelivery,
    WorkspaceExport,
)
from edge_ai.web.urls import urlpatterns
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web import results

#: What says ahead of a statement who acts, and where, in the same trip.
AHEAD = re.compile(r"\s*SELECT set_config\([^;]*\); ")
WRITES = ("INSERT", "UPDATE", "DELETE")
#: Pages without an owner's rows behind them.
PUBLIC = {"landing", "sample", "error-codes"}
#: Addresses for whoever has signed in, whatever they are in which workspace.
FOR_ANYBODY = {"workspace-create"}
#: Addresses that only take a post.
POST_ONLY = {
    *("job-cancel", "job-retry", "job-afresh", "packaging-create", "variant-benchmark"),
    *("diagnosis-create", "diagnosis-fix", "model-layers-read", "model-tags", "member-role"),
    *("model-bulk", "job-bulk", "artifact-bulk", "dataset-bulk"),
    *("workspace-keep", "workspace-export", "invitation-resend", "invitation-revoke"),
    *("dataset-delete", "artifact-delete", "webhook-delete", "share-revoke"),
    *("batch-cancel", "batch-retry"),
    *("webhook-switch", "webhook-rotate", "webhook-test", "webhook-redeliver", "webhook-delivery-redeliver"),
}
#: Addresses that answer with text for programs, and what kind of text it is.
PLAIN_TEXT = {
    "job-log": "text/plain",
    "comparison-table": "text/csv",
    "audit-export": "text/csv",
    "job-ended": "application/json",
    "audit-lines": "application/x-ndjson",
}
#: Addresses whose GET answers with a redirect.
LEADS_ELSEWHERE = {
    *("model-upload", "model-import", "dataset-upload", "model-download", "dataset-download", "artifact-download"),
    *("benchmark-samples", "comparison-samples", "workspace-export-download"),
}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One of everything, owned by one person."""

    model: Model
    variant: Model
    dataset: Dataset
    device: DeviceProfile
    optimization: OptimizationJob
    benchmark: BenchmarkRun
    comparison: ComparisonJob
    artifact: Artifact
    delivery: WebhookDelivery
    diagnosis: DiagnosisJob
    member: Membership
    invitation: Invitation
    share_link: ShareLink
    batch: OptimizationBatch
    export: WorkspaceExport

    def key_of(self, parameter: str) -> UUID | int:
        """The id that an address takes."""
        known: dict[str, UUID | int] = {
            "model_id": self.model.pk,
            "job_id": self.optimization.pk,
            "run_id": self.benchmark.pk,
            "comparison_id": self.comparison.pk,
            "dataset_id": self.dataset.pk,
            "device_id": self.device.pk,
            "artifact_id": self.artifact.pk,
            "webhook_id": self.delivery.endpoint_id,
            "delivery_id": self.delivery.pk,
            "diagnosis_id": self.diagnosis.pk,
            "member_id": self.member.pk,
            "invitation_id": self.invitation.pk,
            "link_id": self.share_link.pk,
            "batch_id": self.batch.pk,
            "export_id": self.export.pk,
            "place": 0,
        }
        return known[parameter]


def make_invitation(workspace: Workspace, user: User) -> Invitation:
    """An invitation that nobody has accepted."""
    with acting_as_system():
        return Invitation.issue(
            workspace_id=workspace.pk,
            email=f"{uuid4().hex}@example.com",
            role=Role.MEMBER,
            invited_by=user,
            expires_at=timezone.now() + timedelta(days=7),
        )[0]


def make_rows(workspace: Workspace, user: User, **shared: Any) -> Rows:
    """Make one of everything, with results."""
    with inside(workspace, user):
        model = factories.make_model(user, **shared)
        dataset = factories.make_dataset(user, **shared)
        batch = factories.make_batch(user, model, **shared)
        asked = {"dataset": dataset, "precision": "int8", "batch": batch}
        optimization = factories.make_optimization(
            user, model, **(results.ENDED | {"result": results.OPTIMIZED} | asked | shared)
        )
        variant = factories.make_model(
            user, name="digits · int8", parent=model, producer=optimization, size_bytes=1500, **shared
        )
        benchmark = factories.make_benchmark(
            user,
            model,
            **(
                results.ENDED
                | {
                    "result": results.MEASURED,
                    "p50_ms": 0.0646,
                    "samples_blob": factories.make_blob(),
                    "dataset": dataset,
                }
                | shared
            ),
        )
        comparison = factories.make_comparison(
            user,
            model,
            variant,
            **(
                results.ENDED
                | {
                    "result": results.compared(model, variant),
                    "samples_blob": factories.make_blob(),
                    "dataset": dataset,
                }
                | shared
            ),
        )
        delivery = factories.make_delivery(factories.make_endpoint(user), attempt=1, error="It answered 500.")
        factories.make_attempt(delivery)
        JobEvent.objects.create(job_id=optimization.pk, kind="log", level="warning", message="Something to know.")
        return Rows(
            model=model,
            variant=variant,
            dataset=dataset,
            device=factories.make_device(user, **shared),
            optimization=optimization,
            benchmark=benchmark,
            comparison=comparison,
            share_link=factories.make_share_link(user, comparison),
            artifact=factories.make_artifact(user, variant, optimization_job=optimization, **shared),
            delivery=delivery,
            batch=batch,
            export=factories.make_export(user),
            diagnosis=factories.make_diagnosis(
                user,
                variant,
                baseline=model,
                **(results.ENDED | {"result": results.diagnosed(model, dataset), "dataset": dataset} | shared),
            ),
            # Whoever was there first: another owner.
            member=Membership.objects.filter(workspace=workspace).order_by("created_at")[0],
            invitation=make_invitation(workspace, user),
        )


def routes() -> list[URLPattern]:
    """Every address of the pages."""
    return list(urlpatterns)


def parameters(route: URLPattern) -> list[str]:
    """What an address takes."""
    return list(route.pattern.converters)


def address(route: URLPattern, rows: Rows) -> str:
    """Where a route leads for these rows."""
    return reverse(f"edge_ai:{route.name}", kwargs={name: rows.key_of(name) for name in parameters(route)})


def status_of_job(job_id: UUID) -> str:
    """A job's status, as it stands in the database."""
    return str(Job.objects.values_list("status", flat=True).get(pk=job_id))


def running(workspace: Workspace, user: User, model: Model) -> OptimizationJob:
    """A job that a worker holds."""
    with inside(workspace, user):
        job = factories.make_optimization(user, model, precision="fp16")
    with inside_as_system(workspace):
        Job.objects.filter(pk=job.pk).update(
            status="running",
            progress=50,
            stage="parity",
            attempt=1,
            worker="w",
            lease_token=job.pk,
            lease_expires_at=timezone.now(),
            started_at=timezone.now() - timedelta(seconds=10),
        )
    return job


def written(asked: Iterable[dict[str, str]]) -> list[str]:
    """Return those of the statements that a connection sent which write."""
    statements = (AHEAD.sub("", query["sql"], count=1).lstrip() for query in asked)
    return [statement for statement in statements if statement.upper().startswith(WRITES)]
