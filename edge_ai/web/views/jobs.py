"""Watching jobs, stopping them and running them again."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.models import (
    HOUSEKEEPING,
    AnalysisJob,
    Artifact,
    ArtifactType,
    BenchmarkRun,
    ComparisonJob,
    DiagnosisJob,
    EventKind,
    ImportJob,
    Job,
    JobEvent,
    JobKind,
    JobStatus,
    Model,
    OptimizationJob,
    PackagingJob,
    seen,
)
from edge_ai.services.jobs import cancel_job, retry_job
from edge_ai.services.optimizations import run_afresh
from edge_ai.services.waiting import wait_of
from edge_ai.web.before_after import MEASURED, compared_on, figures_of, pairs_of
from edge_ai.web.bulk import bulk_for
from edge_ai.web.bulk_actions import BULK_JOBS
from edge_ai.web.listing import listing
from edge_ai.web.lists import JOBS
from edge_ai.web.outcome import is_doubtful, outcome_of
from edge_ai.web.pages import comes_back, list_page, page, see_other, wants_fragment
from edge_ai.web.remedies import Remedies
from edge_ai.web.stages import planned, seconds_taken, stepper
from edge_ai.web.time_left import time_left
from edge_ai.web.views.gains import gains_of
from edge_ai.web.views.packaging import bundle_of

EVENTS_SHOWN = 500
RUNS_SHOWN = 5
_KINDS: dict[str, Any] = {
    JobKind.ANALYSIS: (AnalysisJob, ("model",)),
    JobKind.OPTIMIZATION: (OptimizationJob, ("model", "device_profile", "dataset", "answered_by")),
    JobKind.BENCHMARK: (BenchmarkRun, ("model", "device_profile", "dataset", "baseline")),
    JobKind.COMPARISON: (ComparisonJob, ("device_profile", "dataset")),
    JobKind.PACKAGING: (PackagingJob, ("model",)),
    JobKind.DIAGNOSIS: (DiagnosisJob, ("model", "baseline", "device_profile", "dataset")),
    JobKind.DELETION: (Job, ()),
    JobKind.EXPORT: (Job, ()),
    JobKind.IMPORT: (ImportJob, ("made",)),
}


@in_workspace
@comes_back(JOBS.address)
@require_safe
def job_list(request: MemberRequest) -> HttpResponse:
    """Every job that one sees, of every kind."""
    jobs = Job.objects.visible_to(request.user).defer("result")
    if request.GET.get("kind") not in JobKind.values:
        jobs = jobs.exclude(kind__in=HOUSEKEEPING)
    found = listing(request, jobs, JOBS)
    now = timezone.now()
    context = {
        "rows": [{"job": job, "taken": seconds_taken(job, now)} for job in found],
        "bulk": bulk_for(request, BULK_JOBS),
    }
    return list_page(request, "edge_ai/job_list.html", found, context)


def whole_job(user: User, job_id: UUID, *, kind: str | None = None) -> Job:
    """Return a job that the user sees as what it is, with what belongs to it; anything else is not found.

    One query where the kind is known, else two.
    """
    kind = kind or Job.objects.visible_to(user).filter(pk=job_id).values_list("kind", flat=True).first()
    if kind is None:
        raise Http404
    table, related = _KINDS[kind]
    job: Job = get_object_or_404(table.objects.visible_to(user).with_seen(*related), pk=job_id)
    return job


def progress_of(job: Job, *, after: int = 0, user: User | None = None) -> dict[str, Any]:
    """Return what the live part of a job's page shows, with the events after the one numbered ``after``.

    With ``user`` the time that is left is told by the jobs that the user sees, where there are some like it, and a failure
    has what helps the user with it.
    """
    told = JobEvent.objects.filter(job=job.pk)
    events = list(told.filter(pk__gt=after).order_by("-pk")[:EVENTS_SHOWN])[::-1]
    before = told.filter(pk__lte=after).order_by("-pk").first() if after else None
    message = next((event.message for event in reversed(events) if event.message), "")
    if not message and after:
        # Nothing new was said, so what was said last still holds.
        said = JobEvent.objects.filter(job=job.pk).exclude(message="").order_by("-pk")
        message = said.values_list("message", flat=True).first() or ""
    now = timezone.now()
    return {
        "job": job,
        "stages": stepper(job, planned(job)),
        "events": without_repeats(events, before),
        "last_event": events[-1].pk if events else after,
        "cut": not after and len(events) == EVENTS_SHOWN,
        "message": message,
        "wait": wait_of(job),
        "left": time_left(user, job, now),
        "remedies": Remedies(user, job).of(job.error) if user is not None and job.error else [],
        "seconds_taken": seconds_taken(job, now),
    }


def without_repeats(events: list[JobEvent], before: JobEvent | None) -> list[JobEvent]:
    """Leave out stages that say what the line before them said: the percent, which alone has changed, is seen elsewhere."""
    found = []
    for event in events:
        if event.kind != EventKind.STAGE or before is None or event.message != before.message:
            found.append(event)
        before = event
    return found


@in_workspace
@require_safe
def job_detail(request: MemberRequest, job_id: UUID) -> HttpResponse:
    """A job while it runs, and what came of it. Benchmarks, comparisons and diagnoses have pages of their own."""
    job = whole_job(request.user, job_id)
    if isinstance(job, DiagnosisJob):
        return redirect("edge_ai:diagnosis-detail", job.pk)
    if isinstance(job, BenchmarkRun):
        return redirect("edge_ai:benchmark-detail", job.pk)
    if isinstance(job, ComparisonJob):
        return redirect("edge_ai:comparison-detail", job.pk)
    mine = job.owner_id == request.user.pk
    context = progress_of(job, user=request.user) | {"mine": mine, "answered": job.answered_by_id is not None}
    if isinstance(job, OptimizationJob) and job.status == JobStatus.COMPLETED:
        context |= _outcome(request.user, job)
        remedies = Remedies(request.user, job)
        context["warnings"] = [(warning, remedies.of(warning)) for warning in context["warnings"]]
    if isinstance(job, OptimizationJob):
        context |= _benchmarks_of_variant(request.user, job)
    if isinstance(job, PackagingJob) and job.status == JobStatus.COMPLETED:
        context |= bundle_of(request.user, job)
    return page(request, "edge_ai/job_detail.html", context)


def _outcome(user: User, job: OptimizationJob) -> dict[str, Any]:
    # What a job was answered with was made by the one that it was answered from.
    ran = job.answered_by_id or job.pk
    variant = Model.objects.visible_to(user).filter(producer=ran).select_related("parent").first()
    gain = next(iter(gains_of(user, [variant], **MEASURED)), None) if variant is not None else None
    result = job.result or {}
    parity = result.get("parity") or {}
    source: Model | None = seen(job, "model")
    artifacts = list(
        Artifact.objects.visible_to(user).filter(optimization_job=ran).order_by("artifact_type", "file_name")
    )
    return {
        # Of somebody else's, row level security shows nothing.
        "earlier": job.answered_by,
        "variant": variant,
        "gain": gain,
        "pairs": pairs_of(
            size_before=None if source is None else source.size_bytes,
            size_after=int(result.get("size_bytes") or 0),
            measured=None if gain is None else gain.told,
            metric=parity.get("metric"),
        ),
        "figures": figures_of(parity),
        "compared_on": compared_on(parity),
        "artifacts": artifacts,
        "recipes": [each for each in artifacts if each.artifact_type == ArtifactType.RECIPE],
        "recipe_text": json.dumps(result.get("recipe"), indent=2, sort_keys=True),
        "runs_here": job.target_format in RUNS_HERE,
        "both_run_here": job.target_format in RUNS_HERE and source is not None and source.format in RUNS_HERE,
        "doubtful": is_doubtful(result),
    } | outcome_of(result)


def _benchmarks_of_variant(user: User, job: OptimizationJob) -> dict[str, Any]:
    """Return the benchmarks that were asked for before the variant was there, and whether one more may be."""
    runs = list(
        BenchmarkRun.objects.visible_to(user)
        .filter(variant_of=job)
        .defer("result")
        .order_by("-created_at")[:RUNS_SHOWN]
    )
    waits = any(run.owner_id == user.pk and not run.is_final for run in runs)
    return {
        "variant_runs": runs,
        "may_benchmark": not job.is_final and not waits and job.target_format in RUNS_HERE,
    }


@in_workspace
@require_safe
def job_events(request: MemberRequest, job_id: UUID) -> HttpResponse:
    """A job's story: as a page, or, for htmx, what is new since the event that it names."""
    job = whole_job(request.user, job_id)
    live = wants_fragment(request)
    given = request.GET.get("after", "")
    after = int(given) if live and given.isdecimal() and len(given) < 19 else 0
    response = page(
        request, "edge_ai/job_events.html", progress_of(job, after=after, user=request.user) | {"appending": live}
    )
    if live and job.is_final:
        # The result is more than this fragment shows.
        response["HX-Refresh"] = "true"
    return response


@in_workspace
@may_write
@require_POST
def job_cancel(request: MemberRequest, job_id: UUID) -> HttpResponse:
    """Stop a job."""
    job = whole_job(request.user, job_id)
    try:
        done = cancel_job(request.user, job=job)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        said = "is cancelled" if done.is_final else "is being stopped, which takes a few seconds"
        messages.success(request, f"“{job.name}” {said}.")
    return see_other("edge_ai:job-detail", job.pk)


@in_workspace
@may_write
@require_POST
def job_retry(request: MemberRequest, job_id: UUID) -> HttpResponse:
    """Run a failed or cancelled job again."""
    job = whole_job(request.user, job_id)
    try:
        retry_job(request.user, job=job)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, f"“{job.name}” is queued again.")
    return see_other("edge_ai:job-detail", job.pk)


@in_workspace
@may_write
@require_POST
def job_afresh(request: MemberRequest, job_id: UUID) -> HttpResponse:
    """Run an optimization's request once more, whatever has the answer already."""
    job = whole_job(request.user, job_id)
    if not isinstance(job, OptimizationJob):
        raise Http404
    try:
        fresh = run_afresh(request.user, job=job)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
        return see_other("edge_ai:job-detail", job.pk)
    return see_other("edge_ai:job-detail", fresh.pk)
