"""Finding, adding, reading and removing models."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from config.errors import status_of
from config.middleware import max_body
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import NO_SOURCE, RUNS_HERE, targets_of
from edge_ai.engine.spec import Format
from edge_ai.models import (
    AnalysisJob,
    Artifact,
    BenchmarkRun,
    DiagnosisJob,
    JobStatus,
    Model,
    ModelFormat,
    ModelStatus,
    OptimizationJob,
    Visibility,
)
from edge_ai.services.history import history_of
from edge_ai.services.models import delete_model, model_url, update_model, upload_model
from edge_ai.web.forms import ModelForm, ModelUploadForm, add_domain_error
from edge_ai.web.history import chart_of
from edge_ai.web.pages import UNPROCESSABLE, chosen, listed, page, see_other, uploaded, wants_fragment
from edge_ai.web.views.gains import best_latencies, gains_of, lowest_estimates, with_numbers

COLUMNS = {"name": "name", "format": "format", "size": "size_bytes", "precision": "precision", "created": "created_at"}
TABS = ("overview", "operators", "variants", "benchmarks", "history", "files")
OPERATORS_SHOWN = 200
ROWS_SHOWN = 50


@in_workspace
@require_safe
def model_list(request: MemberRequest) -> HttpResponse:
    """The drop zone, and every model that one sees."""
    return _list_page(request, ModelUploadForm())


@max_body(lambda: int(settings.MAX_UPLOAD_BYTES))
@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def model_upload(request: MemberRequest) -> HttpResponse:
    """Take a model in and show its page; a file that is refused is explained above the drop zone."""
    if request.method != "POST":
        return redirect("edge_ai:model-list")
    form = ModelUploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _list_page(request, form, status=UNPROCESSABLE)
    given = form.cleaned_data
    try:
        model = upload_model(
            request.user,
            file=given["file"],
            name=given["name"],
            visibility=given["visibility"] or Visibility.PRIVATE,
        )
    except EngineError as error:
        add_domain_error(form, error if error.field else _at_file(error))
        return _list_page(request, form, status=status_of(error.code))
    messages.success(request, f"“{model.name}” is uploaded and being analysed.")
    return uploaded(request, "edge_ai:model-detail", model.pk)


def _at_file(error: EngineError) -> EngineError:
    error.field = "file"
    return error


def _list_page(request: MemberRequest, form: ModelUploadForm, *, status: int = 200) -> HttpResponse:
    filters = {
        "search": request.GET.get("search", "").strip()[:200],
        "format": chosen(request, "format", ModelFormat.values),
        "status": chosen(request, "status", ModelStatus.values),
        "origin": chosen(request, "origin", ["original", "variant"]),
    }
    rows, ordering = listed(
        request,
        _filtered(Model.objects.visible_to(request.user), filters).select_related("parent"),
        columns=COLUMNS,
        default="-created",
    )
    best = best_latencies(request.user, [model.pk for model in rows])
    context = {
        "form": form,
        "rows": [{"model": model, "best": best.get(model.pk, [])} for model in rows],
        "page": rows,
        "ordering": ordering,
        "filters": filters,
        "filtered": any(filters.values()),
        "formats": ModelFormat.choices,
        "statuses": ModelStatus.choices,
        "limit_bytes": settings.MAX_UPLOAD_BYTES,
    }
    return page(request, "edge_ai/model_list.html", context, status=status)


def _filtered(rows: QuerySet[Model], filters: dict[str, str]) -> QuerySet[Model]:
    if filters["search"]:
        words = filters["search"]
        rows = rows.filter(
            Q(name__icontains=words) | Q(file_name__icontains=words) | Q(tags__contains=[words]) | Q(sha256=words)
        )
    if filters["format"]:
        rows = rows.filter(format=filters["format"])
    if filters["status"]:
        rows = rows.filter(status=filters["status"])
    if filters["origin"]:
        rows = rows.filter(parent__isnull=filters["origin"] == "original")
    return rows


def visible_model(user: User, model_id: UUID) -> Model:
    """Return a model that the user sees; anything else is not found."""
    return get_object_or_404(Model.objects.visible_to(user).select_related("parent", "owner", "producer"), pk=model_id)


@in_workspace
@require_safe
def model_detail(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """What is in a model, and what to do next."""
    model = visible_model(request.user, model_id)
    settled = model.status not in {ModelStatus.UPLOADED, ModelStatus.ANALYZING}
    tab = chosen(request, "tab", list(TABS)) or "overview"
    analysis: dict[str, Any] = model.analysis or {}
    context: dict[str, Any] = {"model": model, "settled": settled, "tab": tab, "analysis": analysis}
    if wants_fragment(request):
        response = page(request, "edge_ai/model_detail.html", context)
        if settled:
            response["HX-Refresh"] = "true"
        return response
    variants = Model.objects.visible_to(request.user).filter(parent=model).order_by("size_bytes")
    runs = BenchmarkRun.objects.visible_to(request.user).filter(model=model).order_by("-created_at")
    context |= {
        "mine": model.owner_id == request.user.pk,
        "analysis_job": AnalysisJob.objects.visible_to(request.user)
        .filter(model=model)
        .order_by("-created_at")
        .first(),
        "variant_count": variants.count(),
        "run_count": runs.count(),
        "tabs": [(name, name.capitalize()) for name in TABS],
        "best": best_latencies(request.user, [model.pk]).get(model.pk, []),
        "estimates": lowest_estimates(request.user, model.pk),
        "convertible": bool(targets_of(Format(model.format))),
        "no_source": NO_SOURCE.get(Format(model.format), ""),
        "runs_here": model.format in RUNS_HERE,
    }
    if tab == "operators":
        context["operators"] = _operators(analysis)
    elif tab == "variants":
        context["gains"] = gains_of(request.user, list(variants.select_related("parent")[:ROWS_SHOWN]))
        context["jobs"] = (
            OptimizationJob.objects.visible_to(request.user)
            .filter(model=model)
            .exclude(status=JobStatus.COMPLETED)
            .order_by("-created_at")[:ROWS_SHOWN]
        )
    elif tab == "benchmarks":
        context["runs"] = with_numbers(runs).select_related("device_profile")[:ROWS_SHOWN]
        context["diagnoses"] = (
            DiagnosisJob.objects.visible_to(request.user).filter(model=model).order_by("-created_at")[:ROWS_SHOWN]
        )
    elif tab == "history":
        history = history_of(request.user, model=model)
        context |= {"history": history, "charts": [chart_of(series) for series in history.series]}
    elif tab == "files":
        context["artifacts"] = (
            Artifact.objects.visible_to(request.user).filter(model=model).order_by("-created_at")[:ROWS_SHOWN]
        )
    return page(request, "edge_ai/model_detail.html", context)


def _operators(analysis: dict[str, Any]) -> list[dict[str, Any]]:
    counts: dict[str, int] = analysis.get("operators") or {}
    macs: dict[str, int] = analysis.get("macs_by_operator") or {}
    weights: dict[str, int] = analysis.get("weight_bytes_by_operator") or {}
    most = max(counts.values(), default=1)
    return [
        {"name": name, "count": number, "share": number / most, "macs": macs.get(name), "bytes": weights.get(name)}
        for name, number in list(counts.items())[:OPERATORS_SHOWN]
    ]


@in_workspace
@require_safe
def model_download(request: MemberRequest, model_id: UUID) -> HttpResponseRedirect:
    """Lead to the model's file by a signed link."""
    model = get_object_or_404(Model.objects.visible_to(request.user), pk=model_id)
    return HttpResponseRedirect(model_url(request.user, model=model))


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def model_update(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Change what people call one's model, and who sees it."""
    model = get_object_or_404(Model.objects.visible_to(request.user).owned_by(request.user), pk=model_id)
    initial = {name: getattr(model, name) for name in ("name", "description", "visibility")}
    form = ModelForm(request.POST or None, initial=initial | {"tags": ", ".join(model.tags)})
    if request.method == "POST" and form.is_valid():
        update_model(request.user, model=model, fields=form.cleaned_data)
        messages.success(request, "Saved.")
        return see_other("edge_ai:model-detail", model.pk)
    status = UNPROCESSABLE if form.errors else 200
    return page(request, "edge_ai/model_update.html", {"model": model, "form": form}, status=status)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def model_delete(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Name what goes with a model, ask once, and remove it."""
    model = get_object_or_404(Model.objects.visible_to(request.user).owned_by(request.user), pk=model_id)
    refusal: EngineError | None = None
    if request.method == "POST":
        try:
            delete_model(request.user, model=model)
        except EngineError as error:
            refusal = error
        else:
            messages.success(request, f"“{model.name}” is deleted.")
            return see_other("edge_ai:model-list")
    context = {
        "model": model,
        "refusal": refusal,
        "optimizations": OptimizationJob.objects.visible_to(request.user).filter(model=model).count(),
        "benchmarks": BenchmarkRun.objects.visible_to(request.user).filter(model=model).count(),
        "artifacts": Artifact.objects.visible_to(request.user).filter(model=model).count(),
        "variants": Model.objects.visible_to(request.user).filter(parent=model).count(),
    }
    status = status_of(refusal.code) if refusal else 200
    return page(request, "edge_ai/model_delete.html", context, status=status)
