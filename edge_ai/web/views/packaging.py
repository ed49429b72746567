"""Asking for a bundle of a model, and finding what became of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.views.decorators.http import require_POST

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.models import Artifact, PackagingJob
from edge_ai.services.packaging import PackagingRequest, submit_packaging
from edge_ai.web.pages import see_other
from edge_ai.web.views.models import visible_model


@in_workspace
@may_write
@require_POST
def packaging_create(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Have a bundle of a model made."""
    model = visible_model(request.user, model_id)
    try:
        job = submit_packaging(request.user, request=PackagingRequest(model=model))
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
        return see_other("edge_ai:model-detail", model.pk)
    return see_other("edge_ai:job-detail", job.pk)


def bundle_of(user: User, job: PackagingJob) -> dict[str, Any]:
    """Return what the page of a completed packaging job shows: the archive, which may be gone since, and what is in it."""
    made = (job.result or {}).get("artifact")
    return {
        "bundle": Artifact.objects.visible_to(user).filter(pk=made).first() if made else None,
        "bundle_files": (job.result or {}).get("files") or [],
    }
