"""Things to take away."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.models import Artifact, ArtifactType, Model, seen
from edge_ai.services.artifacts import artifact_url, count_download, delete_artifact
from edge_ai.web.bulk import bulk_for
from edge_ai.web.bulk_actions import BULK_ARTIFACTS
from edge_ai.web.listing import listing
from edge_ai.web.lists import ARTIFACTS
from edge_ai.web.pages import comes_back, list_page, page, see_other
from edge_ai.web.usage import quoted, usage_of

RECIPES_SHOWN = 4


@in_workspace
@comes_back(ARTIFACTS.address)
@require_safe
def artifact_list(request: MemberRequest) -> HttpResponse:
    """Every artifact that one sees."""
    found = listing(request, Artifact.objects.visible_to(request.user).with_seen("model"), ARTIFACTS)
    return list_page(request, "edge_ai/artifact_list.html", found, {"bulk": bulk_for(request, BULK_ARTIFACTS)})


@in_workspace
@require_safe
def artifact_detail(request: MemberRequest, artifact_id: UUID) -> HttpResponse:
    """What an artifact is, where it came from and how it is used."""
    rows = Artifact.objects.visible_to(request.user)
    artifact = get_object_or_404(
        rows.with_seen("owner", "model__parent", "optimization_job__model", "benchmark", "device_profile"),
        pk=artifact_id,
    )
    model: Model | None = seen(artifact, "model")
    recipes = rows.filter(model=artifact.model_id, artifact_type=ArtifactType.RECIPE).exclude(pk=artifact.pk)
    context = {
        "artifact": artifact,
        "mine": artifact.owner_id == request.user.pk,
        "usage": usage_of(artifact, runs_here=model is not None and model.format in RUNS_HERE),
        "check": f"sha256sum -c <<< {quoted(f'{artifact.sha256}  {artifact.file_name}')}",
        "recipes": recipes.order_by("file_name")[:RECIPES_SHOWN],
    }
    return page(request, "edge_ai/artifact_detail.html", context)


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
