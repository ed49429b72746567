"""``benchmarks/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import BenchmarkFilters
from edge_ai.api.negotiation import AnythingRenderer
from edge_ai.api.schema import LISTING, SUBMITTING, asked, documented
from edge_ai.api.serializers.jobs import (
    BenchmarkRequestSerializer,
    BenchmarkSerializer,
    BenchmarkSummarySerializer,
    PlanSerializer,
)
from edge_ai.api.views.base import StudioListView, StudioView, created, elsewhere, find_named, valid
from edge_ai.api.views.jobs import JobViews, planned
from edge_ai.engine.spec import refuse
from edge_ai.models import BenchmarkRun, Dataset, DeviceProfile, JobKind, Model, OptimizationJob
from edge_ai.services import artifacts, quotas
from edge_ai.services import benchmarks as service
from edge_ai.services.waiting import wait_for_another

TAG = "benchmarks"
RUNS = JobViews(table=BenchmarkRun, serializer=BenchmarkSerializer, tag=TAG, name="benchmark", words="a benchmark")


class BenchmarkList(StudioListView[BenchmarkRun]):
    """The benchmarks that one sees."""

    serializer_class = BenchmarkSummarySerializer
    filterset_class = BenchmarkFilters
    ordering_fields = ("created_at", "updated_at", "finished_at", "name", "status", "p50_ms")

    def get_queryset(self) -> Any:
        return BenchmarkRun.objects.visible_to(self.request.user).defer("result")

    @documented(
        "list_benchmarks",
        tag=TAG,
        summary="List benchmarks, newest first",
        description="Results are left out but for the median, `p50_ms`; ask for the one that you need.",
        answers={200: BenchmarkSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_benchmark",
        tag=TAG,
        summary="Measure a model on a device",
        description="On a device that the studio does not run on nothing can be measured: an ONNX or ORT model is estimated "
        "there, `kind` `estimated`, where the device's profile has a peak and a bandwidth, and refused where it has not. "
        "With `dry_run` the answer is the plan.",
        request=BenchmarkRequestSerializer,
        answers={200: PlanSerializer, 201: BenchmarkSerializer},
        problems=SUBMITTING,
        examples=[
            asked(
                "With accuracy, on one thread",
                {
                    "model": "0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11",
                    "device_profile": "7a3b1c52-2a0e-4c55-8c8f-6c1a2e9d4b22",
                    "dataset": "c2f1d9e4-6b7a-4e0c-9d3f-5a8b7c6d3e33",
                    "threads": 1,
                    "min_seconds": 1,
                    "max_seconds": 10,
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        user = actor(request)
        values = valid(BenchmarkRequestSerializer(data=request.data))
        dry_run = values.pop("dry_run")
        if (values["model"] is None) == (values["optimization_job"] is None):
            raise refuse("model", "Name either a model or an optimization_job.", "Send one of the two.")
        model = find_named(Model.objects.visible_to(user), values, "model")
        optimization = find_named(
            OptimizationJob.objects.visible_to(user).select_related("model"), values, "optimization_job"
        )
        fields = {name: value for name, value in values.items() if name not in {"model", "optimization_job"}}
        fields |= {
            "device_profile": find_named(DeviceProfile.objects.visible_to(user), values, "device_profile"),
            "dataset": find_named(Dataset.objects.visible_to(user), values, "dataset"),
            "baseline": find_named(BenchmarkRun.objects.visible_to(user), values, "baseline"),
        }
        wanted = (
            service.BenchmarkRequest(model=model, **fields)
            if optimization is None
            else service.of_variant(user, optimization=optimization, **fields)
        )
        if dry_run:
            plan = service.plan_benchmark(user, request=wanted)
            line = service.queue_of(wanted.device_profile)
            wait = None if plan is None else wait_for_another(line, priority=wanted.priority)
            return planned(plan, wait=wait, quota=quotas.caution(quotas.needs_of(JobKind.BENCHMARK)))
        run = service.submit_benchmark(user, request=wanted)
        return created(BenchmarkSerializer(run).data, reverse("api:benchmark-detail", args=[run.pk]))


class BenchmarkDetail(StudioView):
    """One benchmark."""

    @documented(
        "get_benchmark",
        tag=TAG,
        summary="One benchmark",
        description="Ask every second or two until `status` is `completed`, `failed` or `cancelled`; `result` has "
        "the numbers then, `error` the reason. With `If-None-Match` an answer that has not changed is a "
        "304.",
        answers={200: BenchmarkSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(BenchmarkSerializer(RUNS.find(request, id)).data)


BenchmarkCancel, BenchmarkRetry, BenchmarkEvents = RUNS.cancel(), RUNS.retry(), RUNS.events()


class BenchmarkSamples(StudioView):
    """Every raw sample of a benchmark."""

    renderer_classes = [AnythingRenderer]

    @documented(
        "download_benchmark_samples",
        tag=TAG,
        summary="Go to a signed link to every raw sample",
        description="Each latency that was measured, in the order of the measurement, as a file. Follow the redirect "
        "without your key.",
        answers={302: "The header Location has a link to a .npz that works for a few minutes, without a key."},
    )
    def get(self, request: Request, id: UUID) -> HttpResponse:
        return elsewhere(artifacts.samples_url(actor(request), run=RUNS.find(request, id)))
