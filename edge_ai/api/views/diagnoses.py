"""``diagnoses/``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import DiagnosisFilters
from edge_ai.api.schema import LISTING, SUBMITTING, asked, documented
from edge_ai.api.serializers.diagnoses import (
    DiagnosisRequestSerializer,
    DiagnosisSerializer,
    DiagnosisSummarySerializer,
)
from edge_ai.api.views.base import StudioListView, StudioView, created, find_named, valid
from edge_ai.api.views.jobs import JobViews
from edge_ai.models import Dataset, DeviceProfile, DiagnosisJob, Model
from edge_ai.services import diagnoses as service

TAG = "diagnoses"
JOBS = JobViews(table=DiagnosisJob, serializer=DiagnosisSerializer, tag=TAG, name="diagnosis", words="a diagnosis")


class DiagnosisList(StudioListView[DiagnosisJob]):
    """The diagnoses that one sees."""

    serializer_class = DiagnosisSummarySerializer
    filterset_class = DiagnosisFilters
    ordering_fields = ("created_at", "updated_at", "finished_at", "name", "status")

    def get_queryset(self) -> Any:
        return DiagnosisJob.objects.visible_to(self.request.user).defer("result")

    @documented(
        "list_diagnoses",
        tag=TAG,
        summary="List diagnoses, newest first",
        description="Your own and those that colleagues share. Results are left out, so that a page stays small; ask for the "
        "one that you need.",
        answers={200: DiagnosisSummarySerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "create_diagnosis",
        tag=TAG,
        summary="Find out why a variant is slower, or wrong",
        description="Both models are measured by turns and answer the same samples, which decides the question. Then their "
        "graphs, their times by operator and their values layer by layer are held against each other. Each cause that is found "
        "comes with its evidence, and where there is one with a request to `optimization-jobs/` that may mend it. Without "
        "`baseline` the variant is held against the model that it was made from.",
        request=DiagnosisRequestSerializer,
        answers={201: DiagnosisSerializer},
        problems=SUBMITTING,
        examples=[
            asked(
                "Why is it slower?",
                {
                    "model": "0f0d5f0a-5b8e-4a53-9f3e-3b1e1f6d2c11",
                    "device_profile": "7a3b1c52-2a0e-4c55-8c8f-6c1a2e9d4b22",
                    "dataset": "c2f1d9e4-6b7a-4e0c-9d3f-5a8b7c6d3e33",
                    "threads": 1,
                },
            )
        ],
    )
    def post(self, request: Request) -> Response:
        user = actor(request)
        values = valid(DiagnosisRequestSerializer(data=request.data))
        rows = {
            "model": find_named(Model.objects.visible_to(user), values, "model"),
            "baseline": find_named(Model.objects.visible_to(user), values, "baseline"),
            "device_profile": find_named(DeviceProfile.objects.visible_to(user), values, "device_profile"),
            "dataset": find_named(Dataset.objects.visible_to(user), values, "dataset"),
        }
        job = service.submit_diagnosis(user, request=service.DiagnosisRequest(**values | rows))
        return created(DiagnosisSerializer(job).data, reverse("api:diagnosis-detail", args=[job.pk]))


class DiagnosisDetail(StudioView):
    """One diagnosis."""

    @documented(
        "get_diagnosis",
        tag=TAG,
        summary="One diagnosis",
        description="Ask until `status` is `completed`, `failed` or `cancelled`. `result.findings` says what is "
        "wrong and why; where `fix_job` is there, it is the body of an optimization that mends it.",
        answers={200: DiagnosisSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return JOBS.answer(JOBS.find(request, id))


DiagnosisCancel, DiagnosisRetry, DiagnosisEvents = JOBS.cancel(), JOBS.retry(), JOBS.events()
