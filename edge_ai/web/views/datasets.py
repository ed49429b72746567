"""Calibration and evaluation data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from config.errors import status_of
from config.middleware import max_body
from edge_ai.engine.dataset_header import LABELS
from edge_ai.engine.errors import EngineError
from edge_ai.models import Dataset, DatasetKind, Visibility
from edge_ai.services.datasets import (
    dataset_url,
    delete_dataset,
    header_of,
    jobs_with,
    update_dataset,
    upload_dataset,
)
from edge_ai.web.bulk import bulk_for
from edge_ai.web.bulk_actions import BULK_DATASETS
from edge_ai.web.dataset_forms import DatasetForm
from edge_ai.web.forms import DatasetUploadForm, add_domain_error
from edge_ai.web.listing import ListOf, listing
from edge_ai.web.lists import DATASETS
from edge_ai.web.pages import UNPROCESSABLE, comes_back, forget_view, list_page, page, see_other

#: The jobs on a data set's page.
JOBS = ListOf(
    address="edge_ai:dataset-detail",
    one="job",
    many="jobs",
    columns={"name": "name", "kind": "kind", "status": "status", "created": "created_at"},
    default="-created",
)
#: So many times as many samples of one class as of another are worth a word.
UNEVEN = 3
STEP_NAMES = {
    "input": "Input",
    "size": "Height and width",
    "mode": "How it is fitted",
    "shorter": "Shorter side first to",
    "interpolation": "Interpolation",
    "pad_value": "Filled with",
    "layout": "Layout",
    "color_order": "Colours",
    "scale": "Scale",
    "mean": "Mean",
    "std": "Standard deviation",
    "dtype": "Type",
    "sample_rate": "Sample rate in Hz",
    "length": "Samples of a sound",
}


@in_workspace
@comes_back(DATASETS.address)
@require_safe
def dataset_list(request: MemberRequest) -> HttpResponse:
    """The drop zone, and every data set that one sees."""
    return _list_page(request, DatasetUploadForm())


@max_body(lambda: int(settings.MAX_DATASET_BYTES))
@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def dataset_upload(request: MemberRequest) -> HttpResponse:
    """Take a data set in; a file that is refused is explained above the drop zone."""
    if request.method != "POST":
        return redirect("edge_ai:dataset-list")
    form = DatasetUploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _list_page(request, form, status=UNPROCESSABLE)
    given = form.cleaned_data
    try:
        dataset = upload_dataset(
            request.user,
            file=given["file"],
            name=given["name"],
            kind=given["kind"] or DatasetKind.BOTH,
            visibility=given["visibility"] or Visibility.PRIVATE,
        )
    except EngineError as error:
        error.field = error.field or "file"
        add_domain_error(form, error)
        return _list_page(request, form, status=status_of(error.code))
    messages.success(request, f"“{dataset.name}” is here: {dataset.sample_count:,} samples.")
    return forget_view(request, see_other("edge_ai:dataset-detail", dataset.pk), DATASETS.address)


def _list_page(request: MemberRequest, form: DatasetUploadForm, *, status: int = 200) -> HttpResponse:
    found = listing(request, Dataset.objects.visible_to(request.user), DATASETS)
    context = {"form": form, "limit_bytes": settings.MAX_DATASET_BYTES, "bulk": bulk_for(request, BULK_DATASETS)}
    return list_page(request, "edge_ai/dataset_list.html", found, context, status=status)


@in_workspace
@require_safe
def dataset_detail(request: MemberRequest, dataset_id: UUID) -> HttpResponse:
    """What a data set holds, how it is prepared, and which jobs were given it."""
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user).select_related("owner"), pk=dataset_id)
    header = header_of(dataset)
    details = dataset.header.get("details")
    labels = (details or {}).get("labels")
    jobs = listing(request, jobs_with(request.user, dataset=dataset), JOBS, path=request.path)
    context = {
        "dataset": dataset,
        "header": header,
        "inputs": [array for array in header.arrays if array.name != LABELS] if header else [],
        "details": details,
        "labels": _label_rows(labels, dataset.sample_count) if labels else None,
        "preprocess": _steps((details or {}).get("preprocess") or {}),
        "listing": jobs,
        "mine": dataset.owner_id == request.user.pk,
    }
    return page(request, "edge_ai/dataset_detail.html", context)


def _label_rows(labels: Mapping[str, Any], samples: int) -> dict[str, Any]:
    rows = [row | {"share": row["count"] / max(1, samples)} for row in labels["rows"]]
    most, least = (rows[0]["count"], rows[-1]["count"]) if rows else (0, 0)
    return {
        "rows": rows,
        "classes": labels["classes"],
        "left_out": labels["classes"] - len(rows),
        # Of labels of which each stands once there is nothing to see.
        "telling": most > 1,
        "uneven": labels["classes"] == len(rows) and most >= UNEVEN * least,
    }


def _steps(preprocess: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = []
    for name, value in preprocess.items():
        words = ", ".join(f"{each:g}" for each in value) if isinstance(value, (list, tuple)) else value
        shown.append((STEP_NAMES.get(name, name), f"{words:.6g}" if isinstance(words, float) else str(words)))
    return shown


@in_workspace
@require_safe
def dataset_download(request: MemberRequest, dataset_id: UUID) -> HttpResponseRedirect:
    """Lead to a data set's file by a signed link."""
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user), pk=dataset_id)
    return HttpResponseRedirect(dataset_url(request.user, dataset=dataset))


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def dataset_update(request: MemberRequest, dataset_id: UUID) -> HttpResponse:
    """Change what people call one's data set, what it is for, and who sees it."""
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user).owned_by(request.user), pk=dataset_id)
    initial = {name: getattr(dataset, name) for name in ("name", "description", "kind", "visibility")}
    form = DatasetForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        update_dataset(request.user, dataset=dataset, fields=form.cleaned_data)
        messages.success(request, "Saved.")
        return see_other("edge_ai:dataset-detail", dataset.pk)
    status = UNPROCESSABLE if form.errors else 200
    return page(request, "edge_ai/dataset_update.html", {"dataset": dataset, "form": form}, status=status)


@in_workspace
@may_write
@require_POST
def dataset_delete(request: MemberRequest, dataset_id: UUID) -> HttpResponse:
    """Remove one's data set; the page that posts here has asked."""
    dataset = get_object_or_404(Dataset.objects.visible_to(request.user), pk=dataset_id)
    try:
        delete_dataset(request.user, dataset=dataset)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, f"“{dataset.name}” is deleted.")
    return see_other("edge_ai:dataset-list")
