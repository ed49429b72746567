"""``comparisons/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from edge_ai.api.authentication import actor
from edge_ai.api.filters import ComparisonFilters
from edge_ai.api.negotiation import AnythingRenderer
from edge_ai.api.schema import LISTING, SUBMITTING, asked, documented
from edge_ai.api.serializers.comparisons import (
    ComparisonRequestSerializer,
    ComparisonSerializer,
    ComparisonSummarySerializer,
)
from edge_ai.api.serializers.jobs import PlanSerializer
from edge_ai.api.views.base import StudioListView, StudioView, created, elsewhere, find_named, valid
from edge_ai.api.views.jobs import JobViews, planned
from edge_ai.engine.errors import UserInputError
from edge_ai.models import ComparisonJob, Dataset, DeviceProfile, JobKind, Model, Queue
from edge_ai.services import comparisons as service
from edge_ai.services import quotas
from edge_ai.services.waiting import wait_for_another

TAG = "comparisons"
JOBS = JobViews(table=ComparisonJob, serializer=ComparisonSerializer, tag=TAG, name="comparison", words="a comparison")


class ComparisonList(StudioListView[ComparisonJob]):
    """The comparisons that one sees."""

    serializer_class = ComparisonSummarySerializer
    filterset_class = ComparisonFilters
    ordering_fields = ("created_at", "updated_at", "finished_at", "name", "status")

    def get_queryset(self) -> Any:
        return ComparisonJob.objects.visible_to(self.request.user).defer("result").prefetch_related("compared")

    @documented(
        "list_comparisons",
        tag=TAG,
        summary="List comparisons, newest first",
        description="Your own and those that colleagues share. Results are left out, so that a page stays small; ask for the "
        "one that you need.",
        answers={200: ComparisonSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_comparison",
        tag=TAG,
        summary="Measure two to eight models by turns",
        description="Each is loaded in a process of its own, and they are measured by turns, so that whatever disturbs the "
        "machine meets all of them; the processes are started again several times. Each model is held against the first: "
        "faster, slower, the same within the margin, or not to be told. Models that do not take the same input are refused, "
        "and so is a device that the studio does not run on. With `dry_run` the answer is the plan.",
        request=ComparisonRequestSerializer,
        answers={200: PlanSerializer, 201: ComparisonSerializer},
        problems=SUBMITTING,
        examples=[
            asked(
                "A model and its variant",
                {
                    "models": ["0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11", "5d3c1b7e-90aa-4be2-8d10-6f2e4c9b7a44"],
                    "device_profile": "7a3b1c52-2a0e-4c55-8c8f-6c1a2e9d4b22",
                    "dataset": "c2f1d9e4-6b7a-4e0c-9d3f-5a8b7c6d3e33",
                    "threads": 1,
                    "margin": 0.02,
                    "max_seconds": 60,
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        user = actor(request)
        values = valid(ComparisonRequestSerializer(data=request.data))
        dry_run = values.pop("dry_run")
        wanted = service.ComparisonRequest(
            **values
            | {
                "models": _models(user, values["models"]),
                "device_profile": find_named(DeviceProfile.objects.visible_to(user), values, "device_profile"),
                "dataset": find_named(Dataset.objects.visible_to(user), values, "dataset"),
            }
        )
        if dry_run:
            plan = service.plan_comparison(user, request=wanted)
            wait = None if plan is None else wait_for_another(Queue.BENCHMARK, priority=wanted.priority)
            return planned(plan, wait=wait, quota=quotas.caution(quotas.needs_of(JobKind.COMPARISON)))
        job = service.submit_comparison(user, request=wanted)
        return created(ComparisonSerializer(job).data, reverse("api:comparison-detail", args=[job.pk]))


def _models(user: User, named: list[UUID]) -> list[Model]:
    """Find the models that a request names, each where it names it."""
    found = Model.objects.visible_to(user).in_bulk(named)
    unknown = [str(each) for each in named if each not in found]
    if unknown:
        raise UserInputError(
            f"There is no model {', '.join(unknown)}.",
            code="not_found",
            fix="Name models that you see.",
            field="models",
        )
    return [found[each] for each in named]


class ComparisonDetail(StudioView):
    """One comparison."""

    @documented(
        "get_comparison",
        tag=TAG,
        summary="One comparison",
        description="Ask until `status` is `completed`, `failed` or `cancelled`. `result.pairs` has the verdict on "
        "each pair, about *b* against *a*.",
        answers={200: ComparisonSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return JOBS.answer(JOBS.find(request, id))


ComparisonCancel, ComparisonRetry, ComparisonEvents = JOBS.cancel(), JOBS.retry(), JOBS.events()


class ComparisonSamples(StudioView):
    """Every raw sample of a comparison."""

    renderer_classes = [AnythingRenderer]

    @documented(
        "download_comparison_samples",
        tag=TAG,
        summary="Go to a signed link to every raw sample",
        description="Each latency of each model, by turn, as a file. Follow the redirect without your key.",
        answers={302: "The header Location has a link to a .npz that works for a few minutes, without a key."},
    )
    def get(self, request: Request, id: UUID) -> HttpResponse:
        return elsewhere(service.samples_url(actor(request), job=JOBS.find(request, id)))
