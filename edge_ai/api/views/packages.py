"""``packages/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import PackagingFilters
from edge_ai.api.schema import LISTING, SUBMITTING, asked, documented
from edge_ai.api.serializers.packages import (
    PackageRequestSerializer,
    PackagingJobSerializer,
    PackagingJobSummarySerializer,
)
from edge_ai.api.views.base import StudioListView, StudioView, created, find_named, valid
from edge_ai.api.views.jobs import JobViews
from edge_ai.models import Model, PackagingJob
from edge_ai.services import packaging as service

TAG = "packages"
JOBS = JobViews(table=PackagingJob, serializer=PackagingJobSerializer, tag=TAG, name="package", words="a packaging job")


class PackageList(StudioListView[PackagingJob]):
    """The packaging jobs that one sees."""

    serializer_class = PackagingJobSummarySerializer
    filterset_class = PackagingFilters
    ordering_fields = ("created_at", "updated_at", "finished_at", "name", "status")

    def get_queryset(self) -> Any:
        return PackagingJob.objects.visible_to(self.request.user).defer("result")

    @documented(
        "list_packages",
        tag=TAG,
        summary="List packaging jobs, newest first",
        description="Your own and those that colleagues share. Results are left out, so that a page stays small; ask for the "
        "one that you need.",
        answers={200: PackagingJobSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_package",
        tag=TAG,
        summary="Make a bundle of a model",
        description="One zip archive with the model's files, a model card, its recipe where it has one, checksums, and, where "
        "the format runs here, a program that runs it. The job's result names the artifact that it is downloaded as. A model "
        "that is still being analysed is waited for.",
        request=PackageRequestSerializer,
        answers={201: PackagingJobSerializer},
        problems=SUBMITTING,
        examples=[asked("A bundle", {"model": "0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11", "name": "For the demo"})],
    )
    def post(self, request: Request) -> Response:
        user = actor(request)
        values = valid(PackageRequestSerializer(data=request.data))
        model = find_named(Model.objects.visible_to(user), values, "model")
        job = service.submit_packaging(user, request=service.PackagingRequest(**values | {"model": model}))
        return created(PackagingJobSerializer(job).data, reverse("api:package-detail", args=[job.pk]))


class PackageDetail(StudioView):
    """One packaging job."""

    @documented(
        "get_package",
        tag=TAG,
        summary="One packaging job",
        description="Ask until `status` is `completed`, `failed` or `cancelled`. `result` names the artifact to "
        "download then.",
        answers={200: PackagingJobSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return JOBS.answer(JOBS.find(request, id))


PackageCancel, PackageRetry, PackageEvents = JOBS.cancel(), JOBS.retry(), JOBS.events()
