"""Calibration and evaluation data."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from config.errors import status_of
from config.middleware import max_body
from edge_ai.engine.errors import EngineError
from edge_ai.models import Dataset, DatasetKind, Visibility
from edge_ai.services.datasets import delete_dataset, upload_dataset
from edge_ai.web.forms import DatasetUploadForm, add_domain_error
from edge_ai.web.pages import UNPROCESSABLE, chosen, listed, page, see_other, uploaded

COLUMNS = {"name": "name", "size": "size_bytes", "samples": "sample_count", "created": "created_at"}


@in_workspace
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
    return uploaded(request, "edge_ai:dataset-list")


def _list_page(request: MemberRequest, form: DatasetUploadForm, *, status: int = 200) -> HttpResponse:
    filters = {
        "search": request.GET.get("search", "").strip()[:200],
        "kind": chosen(request, "kind", DatasetKind.values),
    }
    datasets = Dataset.objects.visible_to(request.user)
    if filters["search"]:
        datasets = datasets.filter(name__icontains=filters["search"])
    if filters["kind"]:
        datasets = datasets.filter(kind=filters["kind"])
    rows, ordering = listed(request, datasets, columns=COLUMNS, default="-created")
    context = {
        "form": form,
        "page": rows,
        "ordering": ordering,
        "filters": filters,
        "filtered": any(filters.values()),
        "kinds": DatasetKind.choices,
        "limit_bytes": settings.MAX_DATASET_BYTES,
    }
    return page(request, "edge_ai/dataset_list.html", context, status=status)


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
