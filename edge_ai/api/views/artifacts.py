"""``artifacts/``."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.filters import ArtifactFilters
from edge_ai.api.negotiation import AnythingRenderer
from edge_ai.api.schema import CHANGING, LISTING, documented
from edge_ai.api.serializers.artifacts import ArtifactSerializer
from edge_ai.api.views.base import StudioListView, StudioView, elsewhere, find, gone
from edge_ai.models import Artifact
from edge_ai.services import artifacts as service

TAG = "artifacts"


class ArtifactList(StudioListView[Artifact]):
    """The artifacts that one sees."""

    serializer_class = ArtifactSerializer
    filterset_class = ArtifactFilters
    ordering_fields = ("created_at", "updated_at", "file_name", "size_bytes", "artifact_type", "download_count")

    def get_queryset(self) -> QuerySet[Artifact]:
        return Artifact.objects.visible_to(self.request.user)

    @documented(
        "list_artifacts",
        tag=TAG,
        summary="List artifacts, newest first",
        description="Bundles, reports and whatever else jobs left behind as files. Filter by the model or the job "
        "that they are of, by their type, or by the device.",
        answers={200: ArtifactSerializer(many=True)},
        problems=LISTING,
    )
    def get(self, request: Request) -> Response:
        return self.list_rows(request)


class ArtifactDetail(StudioView):
    """One artifact."""

    @documented(
        "get_artifact",
        tag=TAG,
        summary="One artifact",
        description="What it is, what it was made from, its size and SHA-256, how often it was downloaded, and until "
        "when it is kept.",
        answers={200: ArtifactSerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response(ArtifactSerializer(_artifact(request, id)).data)

    @documented(
        "delete_artifact",
        tag=TAG,
        summary="Remove an artifact",
        description="The model that it was made from stays. Its owner alone may do this; what is gone does not come "
        "back.",
        answers={204: "Removed."},
        problems=CHANGING,
    )
    def delete(self, request: Request, id: UUID) -> HttpResponse:
        service.delete_artifact(actor(request), artifact=_artifact(request, id))
        return gone()


class ArtifactDownload(StudioView):
    """An artifact's file."""

    renderer_classes = [AnythingRenderer]

    @documented(
        "download_artifact",
        tag=TAG,
        summary="Go to a signed link to the artifact's file",
        description="Follow the redirect without your key. Counts as a download when the owner asks. Check what "
        "arrives against `sha256`.",
        answers={302: "The header Location has a link that works for a few minutes, without a key."},
    )
    def get(self, request: Request, id: UUID) -> HttpResponse:
        artifact = _artifact(request, id)
        url = service.artifact_url(actor(request), artifact=artifact)
        service.count_download(artifact)
        return elsewhere(url)


def _artifact(request: Request, artifact_id: UUID) -> Artifact:
    found: Artifact = find(Artifact.objects.visible_to(actor(request)), artifact_id)
    return found
