"""Comparing models: choosing them, and seeing which is faster, smaller and more accurate."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Case, F, IntegerField, Q, Value, When
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.models import ComparedModel, ComparisonJob, Job, JobKind, Model, ModelStatus, Queue
from edge_ai.services import quotas
from edge_ai.services.comparisons import ComparisonRequest, plan_comparison, samples_url, submit_comparison
from edge_ai.services.waiting import wait_for_another
from edge_ai.web.again import comparison_values, earlier_job, shown, tell_lost_dataset
from edge_ai.web.compared import as_csv, chart_of, headline, matrix_of, rows_of, sentences
from edge_ai.web.comparison_form import ComparisonForm
from edge_ai.web.forms import add_domain_error
from edge_ai.web.hidden import model_name
from edge_ai.web.listing import listing
from edge_ai.web.lists import COMPARISONS
from edge_ai.web.pages import UNPROCESSABLE, comes_back, list_page, page, see_other
from edge_ai.web.share_links import share_context
from edge_ai.web.views.jobs import progress_of, whole_job

FORM = "edge_ai/comparison_form.html"
OFFERED = 60


@in_workspace
@comes_back(COMPARISONS.address)
@require_safe
def comparison_list(request: MemberRequest) -> HttpResponse:
    """Every comparison that one sees."""
    # Of a result, which is long, only the pairs are read.
    jobs = ComparisonJob.objects.visible_to(request.user).with_seen("device_profile").defer("result")
    rows = jobs.annotate(pairs=F("result__pairs")).prefetch_related("compared__model")
    # All that the list is narrowed and sorted by is of every job.
    keys = Job.objects.visible_to(request.user).filter(kind=JobKind.COMPARISON)
    found = listing(request, rows, COMPARISONS, keys=keys)
    context = {
        "rows": [
            {
                "job": job,
                "models": [{"pk": each.model_id, "name": model_name(each, begins=True)} for each in job.compared.all()],
            }
            for job in found
        ]
    }
    return list_page(request, "edge_ai/comparison_list.html", found, context)


def comparable_models(user: User) -> Any:
    """Models that one sees and that run here."""
    return Model.objects.visible_to(user).filter(
        format__in=list(RUNS_HERE),
        status__in=[ModelStatus.UPLOADED, ModelStatus.ANALYZING, ModelStatus.READY],
    )


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def comparison_create(request: MemberRequest) -> HttpResponse:
    """Choose models to compare; ``?model=`` chooses some beforehand. ``action=plan`` only says whether it can be done."""
    candidates = comparable_models(request.user)
    named = _ids((request.POST if request.method == "POST" else request.GET).getlist("model"))
    earlier = None if request.method == "POST" else earlier_job(request, request.user, ComparisonJob)
    before = [] if earlier is None else _compared_before(earlier)
    named = named or before
    search = request.GET.get("search", "").strip()[:200]
    offered = _offered(candidates, named, search)
    if request.method != "POST":
        asked = {} if earlier is None else _asked_before(request, earlier, before, offered)
        offered_ids = {model.pk for model in offered}
        named = [each for each in named if each in offered_ids]
        chosen_models = {"model": [str(each) for each in named], "first": str(named[0]) if named else None}
        form = ComparisonForm(user=request.user, models=candidates, offered=offered, initial=asked | chosen_models)
        preview = ComparisonForm(shown(form), user=request.user, models=candidates, offered=offered, offers=form.offers)
        context = {"form": form, "offered": offered, "named": named, "search": search}
        return page(request, FORM, context | _plan(request, preview))
    form = ComparisonForm(request.POST, user=request.user, models=candidates, offered=offered)
    context = {"form": form, "offered": offered, "named": named, "search": search}
    if request.POST.get("action") == "plan":
        return page(request, FORM, context | _plan(request, form))
    if not form.is_valid():
        return page(request, FORM, context, status=UNPROCESSABLE)
    try:
        job = submit_comparison(request.user, request=_request(form))
    except EngineError as error:
        add_domain_error(form, error)
        return page(request, FORM, context | {"refusal": error}, status=status_of(error.code))
    return see_other("edge_ai:comparison-detail", job.pk)


def _compared_before(job: ComparisonJob) -> list[UUID]:
    """Return the models of an earlier comparison, the first one first."""
    return list(ComparedModel.objects.filter(comparison=job).order_by("place").values_list("model_id", flat=True))


def _asked_before(
    request: MemberRequest, job: ComparisonJob, compared: list[UUID], offered: list[Model]
) -> dict[str, Any]:
    """Return what an earlier comparison was asked with; models of it that are not offered any more are told."""
    known = {model.pk: model for model in offered}
    models = [known[each] for each in compared if each in known]
    missing = len(compared) - len(models)
    if missing:
        messages.warning(
            request, f"{missing} of the models of “{job.name}” cannot be chosen any more. The others are chosen."
        )
    tell_lost_dataset(request, job)
    return comparison_values(job, models)


def _ids(texts: list[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return list(dict.fromkeys(found))


def _offered(candidates: Any, named: list[UUID], search: str) -> list[Model]:
    """Return the models to choose from: those that are chosen, their relatives, and the newest."""
    family = candidates.filter(pk__in=named)
    parents = family.filter(parent__isnull=False).values("parent_id")
    kin = Q(parent__in=named) | Q(pk__in=parents) | Q(parent__in=parents)
    rows = candidates.filter(Q(pk__in=named) | Q(name__icontains=search)) if search else candidates
    order = Case(
        *(When(pk=key, then=Value(place)) for place, key in enumerate(named)),
        When(kin, then=Value(len(named))),
        default=Value(len(named) + 1),
        output_field=IntegerField(),
    )
    return list(rows.select_related("parent").order_by(order, "-created_at", "pk")[:OFFERED])


def _request(form: ComparisonForm) -> ComparisonRequest:
    given = form.cleaned_data
    # What was left empty takes the request's own default.
    budget = {"max_seconds": given["max_seconds"]} if given["max_seconds"] is not None else {}
    if given["margin"] is not None:
        budget["margin"] = given["margin"] / 100
    return ComparisonRequest(
        models=form.in_order(),
        device_profile=given["device_profile"],
        dataset=given["dataset"],
        threads=given["threads"],
        name=given["name"],
        priority=given["priority"],
        **budget,
    )


def _plan(request: MemberRequest, form: ComparisonForm) -> dict[str, Any]:
    if not form.is_valid():
        return {"incomplete": True}
    asked = _request(form)
    if len(asked.models) < 2:
        return {"few": True}
    try:
        plan = plan_comparison(request.user, request=asked)
    except EngineError as error:
        return {"refusal": error}
    wait = None if plan is None else wait_for_another(Queue.BENCHMARK, priority=asked.priority)
    quota = quotas.caution(quotas.needs_of(JobKind.COMPARISON))
    return {"plan": plan, "asked": asked, "waits": plan is None, "wait": wait, "quota": quota}


@in_workspace
@require_safe
def comparison_detail(request: MemberRequest, comparison_id: UUID) -> HttpResponse:
    """A comparison while it runs, and what came of it."""
    job = whole_job(request.user, comparison_id, kind=JobKind.COMPARISON)
    models = list(
        Model.objects.visible_to(request.user).filter(compared__comparison=job.pk).order_by("compared__place")
    )
    context = progress_of(job, user=request.user) | {
        "mine": job.owner_id == request.user.pk,
        "comparison": job,
        "models": models,
        "seen": {str(model.pk) for model in models},
    }
    result: dict[str, Any] | None = job.result
    if result:
        rows = rows_of(result)
        context |= {
            "result": result,
            "rows": rows,
            "metric": rows[0].metric,
            "headline": headline(result),
            "sentences": sentences(result) if len(rows) > 2 else [],
            "chart": chart_of(rows, margin=float(result["margin"])),
            "matrix": matrix_of(result) if len(rows) > 2 else [],
            "environment": result.get("environment") or {},
        }
        context |= share_context(request, comparison=job.pk)
    return page(request, "edge_ai/comparison_detail.html", context)


@in_workspace
@require_safe
def comparison_table(request: MemberRequest, comparison_id: UUID) -> HttpResponse:
    """The table of a comparison for spreadsheets."""
    job = get_object_or_404(ComparisonJob.objects.visible_to(request.user), pk=comparison_id)
    if not job.result:
        messages.error(request, "The comparison has no numbers yet. Wait until it has completed.")
        return see_other("edge_ai:comparison-detail", job.pk)
    # The mark tells spreadsheets that the text is UTF-8.
    response = HttpResponse("\ufeff" + as_csv(job.result), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="comparison-{job.pk}.csv"'
    response["Cache-Control"] = "private, no-store"
    return response


@in_workspace
@require_safe
def comparison_samples(request: MemberRequest, comparison_id: UUID) -> HttpResponse:
    """Lead to every raw sample of a comparison by a signed link."""
    job = get_object_or_404(ComparisonJob.objects.visible_to(request.user), pk=comparison_id)
    try:
        return HttpResponseRedirect(samples_url(request.user, job=job))
    except EngineError as error:
        return error_response(request, error)
