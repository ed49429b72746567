"""Asking for a measurement, and trusting its numbers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError
from edge_ai.models import BenchmarkRun, DeviceProfile, JobKind, Model, OptimizationJob, ResultKind
from edge_ai.services import quotas
from edge_ai.services.artifacts import samples_url
from edge_ai.services.benchmarks import BenchmarkRequest, of_variant, plan_benchmark, queue_of, submit_benchmark
from edge_ai.services.waiting import wait_for_another
from edge_ai.web.accuracy import judged_of
from edge_ai.web.again import benchmark_values, earlier_job, shown, tell_lost_dataset
from edge_ai.web.estimated import estimate_of
from edge_ai.web.forms import BenchmarkForm, add_domain_error
from edge_ai.web.listing import listing
from edge_ai.web.lists import benchmarks_of
from edge_ai.web.measured import chart_tables, runtime_of, treemap_of, verdict
from edge_ai.web.pages import UNPROCESSABLE, comes_back, list_page, page, see_other
from edge_ai.web.views.gains import with_numbers
from edge_ai.web.views.jobs import progress_of, whole_job
from edge_ai.web.views.models import visible_model

PERCENTILES = ("min", "p50", "p90", "p95", "p99", "max", "mean", "std")
FORM = "edge_ai/benchmark_form.html"


@in_workspace
@comes_back("edge_ai:benchmark-list")
@require_safe
def benchmark_list(request: MemberRequest) -> HttpResponse:
    """Every benchmark that one sees."""
    runs = BenchmarkRun.objects.visible_to(request.user).with_seen("model", "device_profile")
    found = listing(request, with_numbers(runs), benchmarks_of(request.user))
    return list_page(request, "edge_ai/benchmark_list.html", found, {})


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def benchmark_create(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Ask for a benchmark of a model. ``action=plan`` only says whether it can be done."""
    model = visible_model(request.user, model_id)
    if request.method != "POST":
        form = BenchmarkForm(user=request.user, model=model, initial=_initial(request))
        preview = BenchmarkForm(shown(form), user=request.user, model=model, offers=form.offers, runs=form.runs)
        return page(request, FORM, {"model": model, "form": form} | _plan(request, model, preview))
    form = BenchmarkForm(request.POST, user=request.user, model=model)
    if request.POST.get("action") == "plan":
        return page(request, FORM, {"model": model, "form": form} | _plan(request, model, form))
    if not form.is_valid():
        return page(request, FORM, {"model": model, "form": form}, status=UNPROCESSABLE)
    try:
        run = submit_benchmark(request.user, request=_request(model, form))
    except EngineError as error:
        add_domain_error(form, error)
        return page(request, FORM, {"model": model, "form": form, "refusal": error}, status=status_of(error.code))
    return see_other("edge_ai:benchmark-detail", run.pk)


def _initial(request: MemberRequest) -> dict[str, Any]:
    """Return what the form begins with: what an earlier benchmark was asked with, and what the address says."""
    named = {name: value for name in ("device_profile", "baseline") if (value := request.GET.get(name))}
    run = earlier_job(request, request.user, BenchmarkRun, "model", "device_profile", "variant_of")
    if run is None:
        return named
    tell_lost_dataset(request, run)
    return benchmark_values(run) | named


def _request(model: Model, form: BenchmarkForm) -> BenchmarkRequest:
    given = form.cleaned_data
    # What was left empty takes the request's own default.
    budget = {name: given[name] for name in ("batch_size", "min_seconds", "max_seconds") if given[name] is not None}
    return BenchmarkRequest(
        model=model,
        device_profile=given["device_profile"],
        dataset=given["dataset"],
        # The page offers one by itself; for a device that is not here there is nothing to compare, and the plan says so.
        baseline=given["baseline"] if given["device_profile"].is_host else None,
        threads=given["threads"],
        warmup=given["warmup"],
        profile_operators=given["profile_operators"],
        name=given["name"],
        priority=given["priority"],
        **budget,
    )


def _plan(request: MemberRequest, model: Model, form: BenchmarkForm) -> dict[str, Any]:
    if not form.is_valid():
        return {"incomplete": True}
    asked = _request(model, form)
    try:
        plan = plan_benchmark(request.user, request=asked)
    except EngineError as error:
        return {"refusal": error}
    wait = None if plan is None else wait_for_another(queue_of(asked.device_profile), priority=asked.priority)
    quota = quotas.caution(quotas.needs_of(JobKind.BENCHMARK))
    return {"plan": plan, "asked": asked, "wait": wait, "quota": quota}


@in_workspace
@may_write
@require_POST
def variant_benchmark(request: MemberRequest, job_id: UUID) -> HttpResponse:
    """Have what an optimization makes measured on this machine, as soon as it is made."""
    optimization = get_object_or_404(
        OptimizationJob.objects.visible_to(request.user).select_related("model"), pk=job_id
    )
    host = get_object_or_404(DeviceProfile.objects.visible_to(request.user), is_host=True, is_template=True)
    try:
        wanted = of_variant(request.user, optimization=optimization, device_profile=host)
        run = submit_benchmark(request.user, request=wanted)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
        return see_other("edge_ai:job-detail", optimization.pk)
    if run.variant_of_id is None:
        # It was made meanwhile.
        return see_other("edge_ai:benchmark-detail", run.pk)
    messages.success(request, "The variant will be measured as soon as it is made.")
    return see_other("edge_ai:job-detail", optimization.pk)


@in_workspace
@require_safe
def benchmark_detail(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """A benchmark while it runs, and its numbers."""
    job = whole_job(request.user, run_id, kind=JobKind.BENCHMARK)
    context = progress_of(job, user=request.user) | {"mine": job.owner_id == request.user.pk}
    result: dict[str, Any] | None = job.result
    if result is not None and isinstance(job, BenchmarkRun) and job.result_kind == ResultKind.ESTIMATED:
        context |= {"run": job, "result": result, "estimate": estimate_of(job)}
    elif result is not None and isinstance(job, BenchmarkRun):
        latency_ms = result["latency_ms"]
        against = job.baseline if job.baseline is not None and job.baseline.result else None
        then: dict[str, Any] = against.result["latency_ms"] if against is not None and against.result else {}
        context |= {
            "run": job,
            "result": result,
            "percentiles": [(name, latency_ms.get(name), then.get(name)) for name in PERCENTILES],
            "verdict": verdict(job),
            "judged": judged_of(result),
            "against": against,
            "tables": chart_tables(result.get("chart") or {}),
            "threads": (result.get("environment") or {}).get("threads"),
            "treemap": treemap_of(result.get("operators") or []),
            "conversions": sum(1 for row in result.get("operators") or [] if row.get("transition")),
            "runtime": runtime_of(result.get("environment") or {}),
        }
    return page(request, "edge_ai/benchmark_detail.html", context)


@in_workspace
@require_safe
def benchmark_samples(request: MemberRequest, run_id: UUID) -> HttpResponse:
    """Lead to every raw sample of a benchmark by a signed link."""
    run = get_object_or_404(BenchmarkRun.objects.visible_to(request.user), pk=run_id)
    try:
        return HttpResponseRedirect(samples_url(request.user, run=run))
    except EngineError as error:
        return error_response(request, error)
