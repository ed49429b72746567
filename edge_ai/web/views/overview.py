"""What is going on in the workspace."""

from __future__ import annotations

from dataclasses import asdict

from django.db.models import F, Sum
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from accounts.models import User
from edge_ai.models import HOUSEKEEPING, UNFINISHED, Artifact, Blob, Dataset, Job, JobKind, Model
from edge_ai.services.activity import activity
from edge_ai.services.counts import counts_of
from edge_ai.web.pages import page, wants_fragment
from edge_ai.web.stages import seconds_left
from edge_ai.web.views.gains import Gain, gains_of

ACTIVITY_DAYS = 30
RUNNING_SHOWN, LATEST_SHOWN, GAINS_SHOWN, VARIANTS_LOOKED_AT = 8, 8, 5, 50


@in_workspace
@require_safe
def overview(request: MemberRequest) -> HttpResponse:
    """Running jobs, last results, best gains, storage used."""
    theirs = Job.objects.visible_to(request.user).exclude(kind__in=HOUSEKEEPING)
    active = list(theirs.filter(status__in=UNFINISHED).order_by("-created_at")[:RUNNING_SHOWN])
    now = timezone.now()
    context = {
        "running": [{"job": job, "seconds_left": seconds_left(job, now)} for job in active],
        # Once nothing runs any more, the whole page is asked for again, and shows what came of it.
        "was_running": "active" in request.GET,
    }
    if wants_fragment(request):
        response = page(request, "edge_ai/overview.html", context)
        if not active and context["was_running"]:
            response["HX-Refresh"] = "true"
        return response
    latest = (
        theirs.exclude(kind=JobKind.ANALYSIS)
        .filter(finished_at__isnull=False)
        .select_related("benchmarkrun", "optimizationjob__model")
        .defer("result", "benchmarkrun__result", "optimizationjob__result")
        .annotate(made_bytes=F("result__size_bytes"))
        .order_by("-finished_at")[:LATEST_SHOWN]
    )
    seen = Model.objects.visible_to(request.user)
    days = activity(until=timezone.now().date(), days=ACTIVITY_DAYS)
    ended = any(each.jobs or each.uploaded or each.downloaded or each.shared for each in days)
    context |= {
        "activity": days if ended else [],
        "activity_data": [asdict(each) for each in days],
        "latest": list(latest),
        "gains": _best_gains(request.user),
        "counts": counts_of(
            models=seen,
            variants=seen.filter(parent__isnull=False),
            datasets=Dataset.objects.visible_to(request.user),
            artifacts=Artifact.objects.visible_to(request.user),
        ),
        "stored_bytes": Blob.objects.aggregate(total=Sum("size_bytes"))["total"] or 0,
    }
    return page(request, "edge_ai/overview.html", context)


def _best_gains(user: User) -> list[Gain]:
    variants = (
        Model.objects.visible_to(user)
        .filter(parent__isnull=False)
        .select_related("parent")
        .order_by("-created_at")[:VARIANTS_LOOKED_AT]
    )
    gains = gains_of(user, list(variants))
    return sorted(gains, key=lambda gain: gain.speed_ratio + gain.size_ratio, reverse=True)[:GAINS_SHOWN]
