"""Finding, adding, reading and removing models."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

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
from edge_ai.services.counts import counts_of
from edge_ai.services.history import history_of
from edge_ai.services.imports import ImportRequest, s3_prefix, submit_import
from edge_ai.services.layers import read_layers
from edge_ai.services.models import delete_model, model_url, update_model, upload_model
from edge_ai.web.bulk import bulk_for
from edge_ai.web.bulk_actions import BULK_MODELS
from edge_ai.web.family import family_context
from edge_ai.web.forms import ModelForm, ModelImportForm, ModelUploadForm, add_domain_error
from edge_ai.web.graph import graph_of
from edge_ai.web.history import chart_of
from edge_ai.web.layers import layers_context
from edge_ai.web.listing import listing
from edge_ai.web.lists import MODELS
from edge_ai.web.pages import UNPROCESSABLE, chosen, comes_back, forget_view, list_page, page, see_other, wants_fragment
from edge_ai.web.tag_forms import TagsForm
from edge_ai.web.views.gains import best_latencies, latencies_of, with_numbers

TABS = ("overview", "graph", "operators", "layers", "variants", "benchmarks", "history", "files")
OPERATORS_SHOWN = 200
ROWS_SHOWN = 50


@in_workspace
@comes_back(MODELS.address)
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
            beside=given["external_data"],
            name=given["name"],
            visibility=given["visibility"] or Visibility.PRIVATE,
        )
    except EngineError as error:
        add_domain_error(form, error if error.field else _at_file(error))
        return _list_page(request, form, status=status_of(error.code))
    messages.success(request, f"“{model.name}” is uploaded and being analysed.")
    return forget_view(request, see_other("edge_ai:model-detail", model.pk), MODELS.address)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def model_import(request: MemberRequest) -> HttpResponse:
    """Have a model fetched from a link or the operator's bucket, and show the job that does it."""
    if request.method != "POST":
        return redirect("edge_ai:model-list")
    form = ModelImportForm(request.POST, s3_prefix=s3_prefix(request.workspace))
    if not form.is_valid():
        return _list_page(request, ModelUploadForm(), importing=form, status=UNPROCESSABLE)
    given = form.cleaned_data | {"visibility": form.cleaned_data["visibility"] or Visibility.PRIVATE}
    try:
        job = submit_import(request.user, request=ImportRequest(**given))
    except EngineError as error:
        add_domain_error(form, error)
        return _list_page(request, ModelUploadForm(), importing=form, status=status_of(error.code))
    return see_other("edge_ai:job-detail", job.pk)


def _at_file(error: EngineError) -> EngineError:
    error.field = "file"
    return error


def _list_page(
    request: MemberRequest, form: ModelUploadForm, *, importing: ModelImportForm | None = None, status: int = 200
) -> HttpResponse:
    found = listing(request, Model.objects.visible_to(request.user).select_related("parent").defer("analysis"), MODELS)
    best = best_latencies(request.user, [model.pk for model in found])
    context = {
        "form": form,
        "importing": importing or ModelImportForm(s3_prefix=s3_prefix(request.workspace)),
        "bucket": bool(settings.IMPORT_S3_BUCKET),
        "rows": [{"model": model, "best": best.get(model.pk, [])} for model in found],
        "formats_by_value": dict(ModelFormat.choices),
        "limit_bytes": settings.MAX_UPLOAD_BYTES,
        "bulk": bulk_for(request, BULK_MODELS),
    }
    return list_page(request, "edge_ai/model_list.html", found, context, status=status)


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
    best, estimates = latencies_of(request.user, model.pk)
    context |= {
        "mine": model.owner_id == request.user.pk,
        "analysis_job": AnalysisJob.objects.visible_to(request.user)
        .filter(model=model)
        .order_by("-created_at")
        .first(),
        "counts": counts_of(variants=variants, runs=runs),
        "tabs": [(name, name.capitalize()) for name in TABS],
        "best": best,
        "estimates": estimates,
        "convertible": bool(targets_of(Format(model.format))),
        "no_source": NO_SOURCE.get(Format(model.format), ""),
        "runs_here": model.format in RUNS_HERE,
    }
    if tab in {"graph", "operators"}:
        context["operators"] = _operators(analysis)
    if tab == "graph":
        context["graph"] = graph_of(request.user, model)
        shown = page(request, "edge_ai/model_detail.html", context)
        # The only page that shows a frame, and only one of our own.
        csp_update({"frame-src": [f"{request.scheme}://{request.get_host()}/graph/"]})(lambda _: shown)(request)
        return shown
    if tab == "layers":
        context |= layers_context(request, model)
    elif tab == "variants":
        context |= family_context(request.user, model)
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


@in_workspace
@may_write
@require_POST
def model_layers_read(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Read one's model again, for the layers that its first analysis did not keep."""
    model = get_object_or_404(Model.objects.visible_to(request.user), pk=model_id)
    try:
        read_layers(request.user, model=model)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    return HttpResponseRedirect(f"{reverse('edge_ai:model-detail', args=[model.pk])}?tab=layers", status=303)


def _operators(analysis: dict[str, Any]) -> list[dict[str, Any]]:
    counts: dict[str, int] = analysis.get("operators") or {}
    macs: dict[str, int] = analysis.get("macs_by_operator") or {}
    weights: dict[str, int] = analysis.get("weight_bytes_by_operator") or {}
    # By what costs most, where it is known; nodes without multiplications follow by number.
    total = sum(macs.values())
    most = max(counts.values(), default=1)
    ordered = sorted(counts.items(), key=lambda each: (-macs.get(each[0], 0), -each[1], each[0]))
    return [
        {
            "name": name,
            "count": number,
            "share": macs.get(name, 0) / total if total else number / most,
            "percent": 100 * macs.get(name, 0) / total if total else None,
            "macs": macs.get(name),
            "bytes": weights.get(name),
        }
        for name, number in ordered[:OPERATORS_SHOWN]
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
@require_POST
def model_tags(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Change the tags of one's model; the page that posts here shows them."""
    model = get_object_or_404(Model.objects.visible_to(request.user).owned_by(request.user), pk=model_id)
    form = TagsForm(request.POST)
    if form.is_valid():
        update_model(request.user, model=model, fields=form.cleaned_data)
    else:
        messages.error(request, " ".join(map(str, form.errors.get("tags", []))))
    return see_other("edge_ai:model-detail", model.pk)


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
        **counts_of(
            optimizations=OptimizationJob.objects.visible_to(request.user).filter(model=model),
            benchmarks=BenchmarkRun.objects.visible_to(request.user).filter(model=model),
            artifacts=Artifact.objects.visible_to(request.user).filter(model=model),
            variants=Model.objects.visible_to(request.user).filter(parent=model),
        ),
    }
    status = status_of(refusal.code) if refusal else 200
    return page(request, "edge_ai/model_delete.html", context, status=status)
