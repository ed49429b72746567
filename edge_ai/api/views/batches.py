"""``optimization-jobs/batch/`` and ``optimization-jobs/batches/``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.careful import KEY
from edge_ai.api.filters import BatchFilters
from edge_ai.api.schema import CHANGING, LISTING, RETRYING, SUBMITTING, asked, documented
from edge_ai.api.serializers.batches import (
    BatchPlanSerializer,
    BatchRequestSerializer,
    BatchSerializer,
    BatchSummarySerializer,
)
from edge_ai.api.views.base import StudioListView, StudioView, created, find, find_named, valid
from edge_ai.api.views.jobs import plan_body
from edge_ai.engine.errors import UserInputError
from edge_ai.models import Dataset, DeviceProfile, JobKind, Model, OptimizationBatch, Queue
from edge_ai.services import batches as service
from edge_ai.services import quotas
from edge_ai.services.waiting import wait_for_another

TAG = "optimization-jobs"


class BatchCreate(StudioView):
    """Asking for many optimizations at once."""

    @documented(
        "create_optimization_batch",
        tag=TAG,
        summary="Optimize several models for several devices in several precisions",
        description="Makes a job for every combination of `models`, `device_profiles` and `precisions`, at most "
        f"{service.MOST_COMBINATIONS}: all in one transaction, or none. What can never work is told one by one in `refused`; "
        "only where nothing works, or with `strict` not everything, the whole is refused as `batch_refused`, with "
        "the reasons in `details.refused`. The same request within a day answers the batch that was made; once that was "
        "cancelled, a new one. With `dry_run` nothing is queued.",
        request=BatchRequestSerializer,
        answers={200: BatchPlanSerializer, 201: BatchSerializer},
        problems=SUBMITTING,
        examples=[
            asked(
                "Two models, two precisions",
                {
                    "models": ["0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11", "5d3c1b7e-90aa-4be2-8d10-6f2e4c9b7a44"],
                    "device_profiles": ["7a3b1c52-2a0e-4c55-8c8f-6c1a2e9d4b22"],
                    "precisions": ["fp16", "int8_dynamic"],
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        user = actor(request)
        values = valid(BatchRequestSerializer(data=request.data))
        dry_run = values.pop("dry_run")
        wanted = service.BatchRequest(
            **values
            | {
                "models": _named(Model.objects.visible_to(user), values["models"], "models"),
                "device_profiles": _named(
                    DeviceProfile.objects.visible_to(user), values["device_profiles"], "device_profiles"
                ),
                "dataset": find_named(Dataset.objects.visible_to(user), values, "dataset"),
            }
        )
        if dry_run:
            return Response(_plan(service.plan_batch(user, request=wanted), wanted))
        made = service.submit_batch(user, request=wanted, idempotency_key=request.headers.get(KEY, ""))
        return created(_whole(request, made.batch.pk), reverse("api:batch-detail", args=[made.batch.pk]))


def _plan(found: service.PlannedBatch, wanted: service.BatchRequest) -> dict[str, Any]:
    wait = wait_for_another(Queue.STUDIO, priority=wanted.priority, jobs=len(found.planned))
    quota = quotas.caution(quotas.needs_of(JobKind.OPTIMIZATION, *(one.model for one, _ in found.planned)))
    return {
        "warnings": [] if quota is None else [asdict(quota)],
        "combinations": [
            {
                "model": str(one.model.pk),
                "model_name": one.model.name,
                "device_profile": str(one.device_profile.pk),
                "device_name": one.device_profile.name,
                "precision": one.precision,
                "target_format": one.target_format,
                "plan": plan_body(plan),
            }
            for one, plan in found.planned
        ],
        "refused": [asdict(each) for each in found.refused],
        "wait": wait.to_json(),
    }


def _named(rows: Any, keys: list[UUID], field: str) -> list[Any]:
    """Find the rows that a request names, each where it names it first."""
    found = rows.in_bulk(keys)
    unknown = [str(each) for each in dict.fromkeys(keys) if each not in found]
    if unknown:
        raise UserInputError(
            f"There is no {rows.model._meta.verbose_name} {', '.join(unknown[:10])} that you may see.",
            code="not_found",
            fix="Check the ids and the workspace.",
            field=field,
        )
    return [found[each] for each in dict.fromkeys(keys)]


def _find(request: Request, batch_id: UUID) -> OptimizationBatch:
    batch: OptimizationBatch = find(service.batches_of(actor(request)), batch_id)
    return batch


def _whole(request: Request, batch_id: UUID) -> Any:
    return BatchSerializer(_find(request, batch_id), context={"user": actor(request)}).data


class BatchList(StudioListView[OptimizationBatch]):
    """The batches that one sees."""

    serializer_class = BatchSummarySerializer
    filterset_class = BatchFilters
    ordering_fields = ("created_at", "updated_at", "name")

    def get_queryset(self) -> Any:
        return service.batches_of(actor(self.request))

    @documented(
        "list_optimization_batches",
        tag=TAG,
        summary="List batches of optimizations, newest first",
        description="How far each is and how many of its jobs stand where. The jobs themselves are in its detail.",
        answers={200: BatchSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)


class BatchDetail(StudioView):
    """One batch."""

    @documented(
        "get_optimization_batch",
        tag=TAG,
        summary="One batch: how far it is, its jobs, and what was refused",
        description="Where it stands as a whole, every job with its status, and every combination that was refused "
        "with the reason.",
        answers={200: BatchSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(_whole(request, id))


class BatchCancel(StudioView):
    """Cancelling a batch."""

    @documented(
        "cancel_optimization_batch",
        tag=TAG,
        summary="Cancel every job of a batch that has not ended",
        description="What waits is cancelled at once; what runs stops within seconds. What is completed stays.",
        answers={200: BatchSerializer},
        problems=CHANGING,
    )
    def post(self, request: Request, id: UUID) -> Response:
        service.cancel_batch(actor(request), batch=_find(request, id))
        return Response(_whole(request, id))


class BatchRetry(StudioView):
    """Running what failed again."""

    @documented(
        "retry_optimization_batch",
        tag=TAG,
        summary="Run every failed or cancelled job of a batch again",
        description="Those that are completed stay as they are. Where none has failed or was cancelled, a 409.",
        answers={200: BatchSerializer},
        problems=RETRYING,
    )
    def post(self, request: Request, id: UUID) -> Response:
        service.retry_batch(actor(request), batch=_find(request, id))
        return Response(_whole(request, id))
