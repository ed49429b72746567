"""``optimization-jobs/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import OptimizationFilters
from edge_ai.api.schema import LISTING, SUBMITTING, asked, documented
from edge_ai.api.serializers.jobs import (
    OptimizationJobSerializer,
    OptimizationJobSummarySerializer,
    OptimizationRequestSerializer,
    PlanSerializer,
)
from edge_ai.api.views.base import StudioListView, StudioView, created, find_named, valid
from edge_ai.api.views.jobs import JobViews, planned
from edge_ai.models import Dataset, DeviceProfile, JobKind, Model, OptimizationJob
from edge_ai.services import optimizations as service
from edge_ai.services import quotas

TAG = "optimization-jobs"
JOBS = JobViews(
    table=OptimizationJob,
    serializer=OptimizationJobSerializer,
    tag=TAG,
    name="optimization_job",
    words="an optimization",
)


class JobList(StudioListView[OptimizationJob]):
    """The optimizations that one sees."""

    serializer_class = OptimizationJobSummarySerializer
    filterset_class = OptimizationFilters
    ordering_fields = ("created_at", "updated_at", "finished_at", "name", "status")

    def get_queryset(self) -> Any:
        return OptimizationJob.objects.visible_to(self.request.user).defer("result")

    @documented(
        "list_optimization_jobs",
        tag=TAG,
        summary="List optimizations, newest first",
        description="Your own and those that colleagues share. Results are left out, so that a page stays small; ask for the "
        "one that you need.",
        answers={200: OptimizationJobSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_optimization_job",
        tag=TAG,
        summary="Make a smaller or faster variant of a model",
        description="What can never work is refused at once, with the reason and, in `details.nearest`, the nearest request "
        "that works. A model that is still being analysed is waited for. With `dry_run` the answer is the plan, "
        "with an estimate of its time from the workspace's own history and of its wait for a worker. A request "
        "that a completed job has the answer to, by the same engine from the same model, is `completed` at "
        "once: `answered_by` names that job, whose variant and artifacts are the answer. `fresh` has it run all the same.",
        request=OptimizationRequestSerializer,
        answers={200: PlanSerializer, 201: OptimizationJobSerializer},
        problems=SUBMITTING,
        examples=[
            asked(
                "int8, calibrated",
                {
                    "model": "0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11",
                    "device_profile": "7a3b1c52-2a0e-4c55-8c8f-6c1a2e9d4b22",
                    "dataset": "c2f1d9e4-6b7a-4e0c-9d3f-5a8b7c6d3e33",
                    "target_format": "onnx",
                    "precision": "int8",
                    "optimization_level": "balanced",
                },
            ),
            asked(
                "Only ask",
                {
                    "model": "0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11",
                    "device_profile": "7a3b1c52-2a0e-4c55-8c8f-6c1a2e9d4b22",
                    "target_format": "onnx",
                    "precision": "auto",
                    "dry_run": True,
                },
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        user = actor(request)
        values = valid(OptimizationRequestSerializer(data=request.data))
        dry_run = values.pop("dry_run")
        wanted = service.OptimizationRequest(
            **values
            | {
                "model": find_named(Model.objects.visible_to(user), values, "model"),
                "device_profile": find_named(DeviceProfile.objects.visible_to(user), values, "device_profile"),
                "dataset": find_named(Dataset.objects.visible_to(user), values, "dataset"),
            }
        )
        if dry_run:
            plan = service.plan_optimization(user, request=wanted)
            earlier = service.earlier_answer(user, request=wanted, plan=plan)
            estimate = service.estimated_time(user, request=wanted, plan=plan)
            if earlier is not None:
                return planned(plan, estimate, earlier.pk)
            quota = quotas.caution(quotas.needs_of(JobKind.OPTIMIZATION, wanted.model))
            return planned(plan, estimate, wait=service.expected_wait(request=wanted), quota=quota)
        job = service.submit_optimization(user, request=wanted)
        return created(OptimizationJobSerializer(job).data, reverse("api:job-detail", args=[job.pk]))


class JobDetail(StudioView):
    """One optimization."""

    @documented(
        "get_optimization_job",
        tag=TAG,
        summary="One optimization",
        description="Ask every second or two until `status` is `completed`, `failed` or `cancelled`. `result.model` "
        "is the variant then, `result.parity` how far its answers are from the original's; `error` says "
        "why there is none.",
        answers={200: OptimizationJobSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(OptimizationJobSerializer(JOBS.find(request, id)).data)


JobCancel, JobRetry, JobEvents = JOBS.cancel(), JOBS.retry(), JOBS.events()
