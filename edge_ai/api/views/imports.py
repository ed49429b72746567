"""``models/imports/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import ImportFilters
from edge_ai.api.schema import LISTING, SUBMITTING, asked, documented
from edge_ai.api.serializers.imports import ImportJobSerializer, ImportJobSummarySerializer, ImportRequestSerializer
from edge_ai.api.views.base import StudioListView, StudioView, created, valid
from edge_ai.api.views.jobs import JobViews
from edge_ai.models import ImportJob
from edge_ai.services import imports as service

TAG = "imports"
JOBS = JobViews(table=ImportJob, serializer=ImportJobSerializer, tag=TAG, name="import", words="an import")


class ImportList(StudioListView[ImportJob]):
    """The imports that one sees."""

    serializer_class = ImportJobSummarySerializer
    filterset_class = ImportFilters
    ordering_fields = ("created_at", "updated_at", "finished_at", "name", "status")

    def get_queryset(self) -> Any:
        return ImportJob.objects.visible_to(self.request.user).defer("result", "closed_url")

    @documented(
        "list_imports",
        tag=TAG,
        summary="List imports, newest first",
        description="Your own and those that colleagues share. Results are left out, so that a page stays small; ask for the "
        "one that you need.",
        answers={200: ImportJobSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_import",
        tag=TAG,
        summary="Fetch a model from a link or a bucket",
        description="A worker fetches the file, checks it against `sha256` where that is given, and makes a model of it, once; "
        "its analysis follows. Addresses that are not public are refused, and so are redirects to such; at most 3 are "
        "followed. The file counts against the workspace's quota as soon as its size is known.",
        request=ImportRequestSerializer,
        answers={201: ImportJobSerializer},
        problems=SUBMITTING,
        examples=[
            asked(
                "By a link, with its checksum",
                {"url": "https://example.com/models/digits.onnx", "sha256": "9f" * 32, "name": "digits"},
            ),
            asked("By a key of the operator's bucket", {"s3_key": "models/digits.onnx"}),
        ],
    )
    def post(self, request: Request) -> Response:
        values = valid(ImportRequestSerializer(data=request.data))
        job = service.submit_import(actor(request), request=service.ImportRequest(**values))
        return created(ImportJobSerializer(job).data, reverse("api:import-detail", args=[job.pk]))


class ImportDetail(StudioView):
    """One import."""

    @documented(
        "get_import",
        tag=TAG,
        summary="One import",
        description="Ask until `status` is `completed`, `failed` or `cancelled`. `model` names the model then.",
        answers={200: ImportJobSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return JOBS.answer(JOBS.find(request, id))


ImportCancel, ImportRetry, ImportEvents = JOBS.cancel(), JOBS.retry(), JOBS.events()
