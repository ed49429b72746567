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
from edge_ai.models import ComparisonJob, JobStatus, Model, ModelStatus
from edge_ai.services.comparisons import ComparisonRequest, plan_comparison, samples_url, submit_comparison
from edge_ai.web.compared import as_csv, chart_of, headline, matrix_of, rows_of, sentences
from edge_ai.web.comparison_form import ComparisonForm
from edge_ai.web.forms import add_domain_error
from edge_ai.web.pages import UNPROCESSABLE, chosen, listed, page, see_other
from edge_ai.web.views.jobs import progress_of, whole_job

COLUMNS = {"name": "name", "status": "status", "created": "created_at"}
FORM = "edge_ai/comparison_form.html"
OFFERED = 60


@in_workspace
@require_safe
def comparison_list(request: MemberRequest) -> HttpResponse:
    """Every comparison that one sees."""
    filters = {
        "search": request.GET.get("search", "").strip()[:200],
        "status": chosen(request, "status", JobStatus.values),
    }
    jobs = ComparisonJob.objects.visible_to(request.user).select_related("device_profile")
    if filters["search"]:
        jobs = jobs.filter(name__icontains=filters["search"])
    if filters["status"]:
        jobs = jobs.filter(status=filters["status"])
    # Of a result, which is long, only the pairs are read.
    shown = jobs.defer("result").annotate(pairs=F("result__pairs")).prefetch_related("compared__model")
    rows, ordering = listed(request, shown, columns=COLUMNS, default="-created")
    context = {
        "page": rows,
        "rows": [{"job": job, "models": [each.model for each in job.compared.all()]} for job in rows],
        "ordering": ordering,
        "filters": filters,
        "filtered": any(filters.values()),
        "statuses": JobStatus.choices,
    }
    return page(request, "edge_ai/comparison_list.html", context)


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
    search = request.GET.get("search", "").strip()[:200]
    offered = _offered(candidates, named, search)
    if request.method != "POST":
        initial = {"model": [str(each) for each in named], "first": str(named[0]) if named else None}
        form = ComparisonForm(user=request.user, models=candidates, initial=initial)
        sent = {name: form[name].value() or "" for name in form.fields if name != "model"}
        preview = ComparisonForm(
            sent | {"model": initial["model"]},
            user=request.user,
            models=candidates,
        )
        context = {"form": form, "offered": offered, "named": named, "search": search}
        return page(request, FORM, context | _plan(request, preview))
    form = ComparisonForm(request.POST, user=request.user, models=candidates)
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
    family = candidates.filter(pk__in=named).values_list("pk", "parent_id")
    kin = {key for pair in family for key in pair if key is not None}
    rows = candidates.filter(Q(pk__in=named) | Q(name__icontains=search)) if search else candidates
    order = Case(
        *(When(pk=key, then=Value(place)) for place, key in enumerate(named)),
        When(Q(pk__in=kin) | Q(parent__in=kin), then=Value(len(named))),
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
    return {"plan": plan, "asked": asked, "waits": plan is None}


@in_workspace
@require_safe
def comparison_detail(request: MemberRequest, comparison_id: UUID) -> HttpResponse:
    """A comparison while it runs, and what came of it."""
    found = get_object_or_404(ComparisonJob.objects.visible_to(request.user), pk=comparison_id)
    job = whole_job(request.user, found.pk)
    models = list(
        Model.objects.visible_to(request.user).filter(compared__comparison=job.pk).order_by("compared__place")
    )
    context = progress_of(job) | {
        "mine": job.owner_id == request.user.pk,
        "comparison": job,
        "models": models,
        "seen": {str(model.pk) for model in models},
        "again": "&".join(f"model={model.pk}" for model in models),
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
