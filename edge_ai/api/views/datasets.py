"""``datasets/``."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import DatasetFilters
from edge_ai.api.schema import CHANGING, JSON, LISTING, MULTIPART, WRITING_FROM_UPLOAD, asked, documented
from edge_ai.api.serializers.datasets import DatasetFromUploadSerializer, DatasetSerializer, DatasetUploadSerializer
from edge_ai.api.views.base import StudioView, UploadView, created, find, gone, made_of_upload, valid
from edge_ai.models import Dataset
from edge_ai.services import datasets as service

TAG = "datasets"


class DatasetList(UploadView[Dataset]):
    """The data sets that one sees."""

    serializer_class = DatasetSerializer
    filterset_class = DatasetFilters
    ordering_fields = ("created_at", "updated_at", "name", "size_bytes", "sample_count")
    max_body_bytes = staticmethod(lambda: settings.MAX_DATASET_BYTES)

    def get_queryset(self) -> QuerySet[Dataset]:
        return Dataset.objects.visible_to(self.request.user)

    @documented(
        "list_datasets",
        tag=TAG,
        summary="List data sets, newest first",
        description="Your own and those that colleagues share with the workspace. What is in a data set is told by "
        "its detail.",
        answers={200: DatasetSerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "upload_dataset",
        tag=TAG,
        summary="Upload calibration or evaluation data",
        description="A .npz with one array for each model input, under the input's name; the first axis counts samples. "
        "An array `labels` lets benchmarks measure accuracy. Or a .zip of images (PNG, JPEG, BMP, WebP) or WAV files with "
        "`labels.csv`, and `preprocess.json` with what is to be done to them. At most 1 GB and 10,000 samples; "
        "docs/datasets.md tells every option and metric.",
        request={MULTIPART: DatasetUploadSerializer, JSON: DatasetFromUploadSerializer},
        answers={200: "It was made of this upload before.", 201: DatasetSerializer},
        problems=WRITING_FROM_UPLOAD,
        examples=[
            asked(
                "Samples with labels",
                {"file": "(the bytes of digits-eval.npz)", "name": "digits, held out", "kind": "both"},
                media_type=MULTIPART,
            ),
            asked(
                "Of a finished resumable upload", {"upload": "0b6ac3f2-52a7-4a2c-9a0b-3f2f6c1f8e11", "name": "digits"}
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        if isinstance(request.data, dict) and "upload" in request.data and "file" not in request.data:
            values = valid(DatasetFromUploadSerializer(data=request.data))
            made = service.dataset_from_upload(actor(request), **values)
            return made_of_upload(
                made, DatasetSerializer(made.row).data, reverse("api:dataset-detail", args=[made.row.pk])
            )
        dataset = service.upload_dataset(actor(request), **valid(DatasetUploadSerializer(data=request.data)))
        return created(DatasetSerializer(dataset).data, reverse("api:dataset-detail", args=[dataset.pk]))


class DatasetDetail(StudioView):
    """One data set."""

    @documented(
        "get_dataset",
        tag=TAG,
        summary="One data set",
        description="What is in it: arrays or files, samples, labels, the task that they are for, and what is to be "
        "done to them.",
        answers={200: DatasetSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(DatasetSerializer(_dataset(request, id)).data)

    @documented(
        "delete_dataset",
        tag=TAG,
        summary="Remove a data set",
        description="Jobs that used it keep their results. Its owner alone may remove it.",
        answers={204: "Removed."},
        problems=CHANGING,
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        service.delete_dataset(actor(request), dataset=_dataset(request, id))
        return gone()


def _dataset(request: Request, dataset_id: UUID) -> Dataset:
    found: Dataset = find(Dataset.objects.visible_to(actor(request)), dataset_id)
    return found
