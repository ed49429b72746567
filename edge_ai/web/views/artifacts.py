"""Things to take away."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from edge_ai.engine.errors import EngineError
from edge_ai.models import Artifact, ArtifactType
from edge_ai.services.artifacts import artifact_url, count_download, delete_artifact
from edge_ai.web.pages import chosen, listed, page, see_other

COLUMNS = {
    "name": "file_name",
    "type": "artifact_type",
    "size": "size_bytes",
    "downloads": "download_count",
    "created": "created_at",
}


@in_workspace
@require_safe
def artifact_list(request: MemberRequest) -> HttpResponse:
    """Every artifact that one sees."""
    filters = {
        "search": request.GET.get("search", "").strip()[:200],
        "type": chosen(request, "type", ArtifactType.values),
    }
    artifacts = Artifact.objects.visible_to(request.user).select_related("model")
    if filters["search"]:
        artifacts = artifacts.filter(file_name__icontains=filters["search"])
    if filters["type"]:
        artifacts = artifacts.filter(artifact_type=filters["type"])
    rows, ordering = listed(request, artifacts, columns=COLUMNS, default="-created")
    context = {
        "page": rows,
        "ordering": ordering,
        "filters": filters,
        "filtered": any(filters.values()),
        "types": ArtifactType.choices,
    }
    return page(request, "edge_ai/artifact_list.html", context)


@in_workspace
@require_safe
def artifact_download(request: MemberRequest, artifact_id: UUID) -> HttpResponseRedirect:
    """Lead to an artifact's file by a signed link. Counting is all that it writes, as a log would."""
    artifact = get_object_or_404(Artifact.objects.visible_to(request.user), pk=artifact_id)
    if request.method == "GET":
        count_download(artifact)
    return HttpResponseRedirect(artifact_url(request.user, artifact=artifact))


@in_workspace
@may_write
@require_POST
def artifact_delete(request: MemberRequest, artifact_id: UUID) -> HttpResponse:
    """Remove one's artifact; the page that posts here has asked."""
    artifact = get_object_or_404(Artifact.objects.visible_to(request.user), pk=artifact_id)
    try:
        delete_artifact(request.user, artifact=artifact)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, f"“{artifact.file_name}” is deleted.")
    return see_other("edge_ai:artifact-list")
