"""What can be done to several rows of a list at once."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.access import MemberRequest, in_workspace, may_write
from edge_ai.models import HOUSEKEEPING, Artifact, Dataset, Job, Model
from edge_ai.web.bulk import chosen_ids, do_in_bulk
from edge_ai.web.bulk_actions import BULK_ARTIFACTS, BULK_DATASETS, BULK_JOBS, BULK_MODELS
from edge_ai.web.pages import see_other

COMPARED = (2, 8)


@in_workspace
@may_write
@require_POST
def model_bulk(request: MemberRequest) -> HttpResponse:
    """Share, make private or delete models; or lead to their comparison, or to what makes variants of all of them."""
    if request.POST.get("action") == "optimize" and (chosen := chosen_ids(request)):
        return see_other(f"{reverse('edge_ai:batch-create')}?{urlencode([('model', each) for each in chosen])}")
    if request.POST.get("action") == "compare":
        chosen = chosen_ids(request)
        fewest, most = COMPARED
        if fewest <= len(chosen) <= most:
            return see_other(
                f"{reverse('edge_ai:comparison-create')}?{urlencode([('model', each) for each in chosen])}"
            )
        messages.warning(request, f"A comparison takes {fewest} to {most} models; {len(chosen)} were chosen.")
        return see_other("edge_ai:model-list")
    return do_in_bulk(request, BULK_MODELS, Model.objects.visible_to(request.user).defer("analysis"))


@in_workspace
@may_write
@require_POST
def job_bulk(request: MemberRequest) -> HttpResponse:
    """Cancel jobs, or run them again."""
    jobs = Job.objects.visible_to(request.user).exclude(kind__in=HOUSEKEEPING).defer("result")
    return do_in_bulk(request, BULK_JOBS, jobs)


@in_workspace
@may_write
@require_POST
def artifact_bulk(request: MemberRequest) -> HttpResponse:
    """Delete artifacts."""
    return do_in_bulk(request, BULK_ARTIFACTS, Artifact.objects.visible_to(request.user))


@in_workspace
@may_write
@require_POST
def dataset_bulk(request: MemberRequest) -> HttpResponse:
    """Delete data sets."""
    return do_in_bulk(request, BULK_DATASETS, Dataset.objects.visible_to(request.user))
