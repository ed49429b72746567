"""``models/``."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import ModelFilters
from edge_ai.api.negotiation import AnythingRenderer
from edge_ai.api.schema import CHANGING, JSON, LISTING, MULTIPART, WRITING, WRITING_FROM_UPLOAD, asked, documented
from edge_ai.api.serializers.compatibility import CompatibilitySerializer
from edge_ai.api.serializers.models import (
    ModelChangesSerializer,
    ModelFromUploadSerializer,
    ModelUploadSerializer,
    StoredModelSerializer,
)
from edge_ai.api.views.base import (
    StudioView,
    UploadView,
    created,
    elsewhere,
    find,
    gone,
    made_of_upload,
    require_owner,
    valid,
)
from edge_ai.engine.spec import refuse
from edge_ai.models import DeviceCategory, Model
from edge_ai.services import models as service
from edge_ai.services.compatibility import TARGET_FORMATS, compatibility_of

TAG = "models"
CATEGORY = OpenApiParameter(
    "category",
    {"type": "string", "enum": list(DeviceCategory.values)},
    OpenApiParameter.QUERY,
    description="Only devices of this category.",
)
TARGET_FORMAT = OpenApiParameter(
    "target_format",
    {"type": "string", "enum": list(TARGET_FORMATS)},
    OpenApiParameter.QUERY,
    description="Only this target format.",
)


class ModelList(UploadView[Model]):
    """The models that one sees."""

    serializer_class = StoredModelSerializer
    filterset_class = ModelFilters
    ordering_fields = ("created_at", "updated_at", "name", "size_bytes", "format", "status")
    max_body_bytes = staticmethod(lambda: settings.MAX_UPLOAD_BYTES)

    def get_queryset(self) -> QuerySet[Model]:
        return Model.objects.visible_to(self.request.user)

    @documented(
        "list_models",
        tag=TAG,
        summary="List models, newest first",
        description="Your own and those that colleagues share with the workspace, variants among them. Filter by "
        "`parent` for the variants of one model, by `status`, `format`, `precision` or `tag`.",
        answers={200: StoredModelSerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)

    @documented(
        "upload_model",
        tag=TAG,
        summary="Upload a model",
        description="Send the file as multipart/form-data; it is streamed to disk. What it is, is decided by its content. "
        "The answer's status is `uploaded`; its analysis follows, and ends in `ready` or `failed`. An ONNX model that keeps "
        "its weights in other files comes as one .zip, or with them as `external_data`.",
        request={MULTIPART: ModelUploadSerializer, JSON: ModelFromUploadSerializer},
        answers={200: "It was made of this upload before.", 201: StoredModelSerializer},
        problems=WRITING_FROM_UPLOAD,
        examples=[
            asked(
                "A model with a name and a tag",
                {"file": "(the bytes of digits.onnx)", "name": "digits", "tags": ["demo"]},
                media_type=MULTIPART,
            ),
            asked(
                "Of a finished resumable upload", {"upload": "0b6ac3f2-52a7-4a2c-9a0b-3f2f6c1f8e11", "name": "digits"}
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        if isinstance(request.data, dict) and "upload" in request.data and "file" not in request.data:
            values = valid(ModelFromUploadSerializer(data=request.data))
            made = service.model_from_upload(actor(request), **values)
            return made_of_upload(
                made, StoredModelSerializer(made.row).data, reverse("api:model-detail", args=[made.row.pk])
            )
        values = valid(ModelUploadSerializer(data=request.data))
        beside = [each for each in request.FILES.getlist("file") if each is not values["file"]]
        beside += values.pop("external_data")
        model = service.upload_model(actor(request), beside=beside, **values)
        return created(StoredModelSerializer(model).data, reverse("api:model-detail", args=[model.pk]))


class ModelDetail(StudioView):
    """One model."""

    @documented(
        "get_model",
        tag=TAG,
        summary="One model",
        description="What the file is, as its content tells: format, inputs and outputs, operators, parameters, "
        "MACs, precision. `analysis` is null until the status is `ready`.",
        answers={200: StoredModelSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(StoredModelSerializer(_model(request, id)).data)

    @documented(
        "update_model",
        tag=TAG,
        summary="Change a model's name, description, tags or visibility",
        description="Send what changes. The file itself never does: another file is another model. With `If-Match` "
        "nobody's change is lost.",
        request=ModelChangesSerializer,
        answers={200: StoredModelSerializer},
        problems=WRITING,
        examples=[asked("Share it under another name", {"name": "Digits, 2nd try", "visibility": "workspace"})],
    )
    def patch(self, request: Request, id: UUID) -> Response:
        model = _model(request, id)
        require_owner(actor(request), model)
        changes = ModelChangesSerializer(data=request.data, partial=True)
        valid(changes)
        model = service.update_model(actor(request), model=model, fields=changes.changes())
        return Response(StoredModelSerializer(model).data)

    @documented(
        "delete_model",
        tag=TAG,
        summary="Remove a model with its jobs, benchmarks and artifacts",
        description="Variants that were made from it stay, without a parent. Its owner alone may do this; what is "
        "gone does not come back.",
        answers={204: "Removed."},
        problems=CHANGING,
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        service.delete_model(actor(request), model=_model(request, id))
        return gone()


class ModelCompatibility(StudioView):
    """What a model can become."""

    @documented(
        "get_model_compatibility",
        tag=TAG,
        summary="What a model can become, and on which devices that runs",
        description="For every target format and precision: whether it works, needs a data set, or is refused and why; first "
        "whatever the device, then for each device that you see. Nothing is converted: the answers are those that an "
        "optimization would be planned or refused with.",
        answers={200: CompatibilitySerializer},
        problems=LISTING,
        parameters=[CATEGORY, TARGET_FORMAT],
    )
    def get(self, request: Request, id: UUID) -> Response:
        category = request.query_params.get("category", "")
        if category and category not in DeviceCategory.values:
            raise refuse("category", "There is no such category.", f"There are {', '.join(DeviceCategory.values)}.")
        target = request.query_params.get("target_format", "")
        if target and target not in TARGET_FORMATS:
            raise refuse("target_format", "Nothing here makes that format.", f"There are {', '.join(TARGET_FORMATS)}.")
        model = _model(request, id)
        found = compatibility_of(actor(request), model=model, category=category, target_format=target)
        return Response(found.to_json())


class ModelDownload(StudioView):
    """A model's file."""

    renderer_classes = [AnythingRenderer]

    @documented(
        "download_model",
        tag=TAG,
        summary="Go to a signed link to the model's file",
        description="The very bytes that were uploaded, or that a job made. Follow the redirect without your key, "
        "and check what arrives against `sha256`.",
        answers={302: "The header Location has a link that works for a few minutes, without a key."},
    )
    def get(self, request: Request, id: UUID) -> HttpResponse:
        return elsewhere(service.model_url(actor(request), model=_model(request, id)))


def _model(request: Request, model_id: UUID) -> Model:
    found: Model = find(Model.objects.visible_to(actor(request)), model_id)
    return found
