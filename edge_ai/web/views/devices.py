"""Devices to make models for, with where each number is from."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from config.errors import status_of
from edge_ai.engine.errors import EngineError
from edge_ai.models import BenchmarkRun, ComparisonJob, DeviceProfile, OptimizationJob
from edge_ai.services import devices as service
from edge_ai.services.device_models import models_for
from edge_ai.web.device_forms import DeviceForms
from edge_ai.web.device_table import NUMBERS, side_by_side
from edge_ai.web.forms import add_domain_error
from edge_ai.web.listing import listing
from edge_ai.web.lists import DEVICES, devices_with
from edge_ai.web.pages import UNPROCESSABLE, comes_back, list_page, page, see_other
from edge_ai.web.views.gains import with_numbers

FEWEST, MOST = 2, 6
ROWS_SHOWN = 8
_ADDRESS = re.compile(r"https://[^\s,;]+")


@in_workspace
@comes_back(DEVICES.address)
@require_safe
def device_list(request: MemberRequest) -> HttpResponse:
    """All devices as cards or as a table, the machine that measures first."""
    devices = DeviceProfile.objects.visible_to(request.user)
    found = listing(request, devices, devices_with(**_offered(devices)))
    return list_page(request, "edge_ai/device_list.html", found, {"most": MOST})


def _offered(devices: QuerySet[DeviceProfile]) -> dict[str, list[str]]:
    """Return what there is to filter by, of all devices that one sees."""
    vendors, runtimes, kinds = set[str](), set[str](), set[str]()
    for vendor, runs, accelerators in devices.values_list("vendor", "runtimes", "accelerators"):
        vendors.add(vendor)
        runtimes.update(runs)
        kinds.update(each["kind"] for each in accelerators)
    return {"vendors": sorted(filter(None, vendors)), "runtimes": sorted(runtimes), "accelerators": sorted(kinds)}


@in_workspace
@require_safe
def device_compare(request: MemberRequest) -> HttpResponse:
    """Devices side by side, as the address names them."""
    wanted = list(dict.fromkeys(filter(None, map(_id, request.GET.getlist("device")))))
    choices = list(DeviceProfile.objects.visible_to(request.user)[: service.MAX_SHOWN])
    known = {device.pk: device for device in choices}
    beyond = [key for key in wanted if key not in known]
    if beyond:
        known |= DeviceProfile.objects.visible_to(request.user).in_bulk(beyond[:MOST])
    found = [known[key] for key in wanted if key in known]
    shown = found[:MOST] if len(found) >= FEWEST else []
    rows = side_by_side(shown) if shown else []
    only = request.GET.get("show") == "differences"
    context = {
        "columns": [{"device": device, "without": _without(request.GET, device.pk)} for device in shown],
        "rows": [row for row in rows if row.differs or not only],
        "compared": bool(shown),
        "only": only,
        "choices": choices,
        "chosen": {device.pk for device in found},
        "lost": len(wanted) - len(found),
        "too_many": len(found) > MOST,
        "fewest": FEWEST,
        "most": MOST,
    }
    return page(request, "edge_ai/device_compare.html", context)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _without(query: QueryDict, device_id: UUID) -> str:
    """Return the page's address without a device."""
    left = query.copy()
    left.setlist("device", [each for each in query.getlist("device") if _id(each) != device_id])
    return f"?{left.urlencode()}"


@in_workspace
@require_safe
def device_detail(request: MemberRequest, device_id: UUID) -> HttpResponse:
    """What is known about a device, where each number is from, and what was done for it."""
    user = request.user
    device = _visible(user, device_id)
    sources: dict[str, str] = device.sources or {}
    of_device = {"device_profile": device}
    context = {
        "device": device,
        "mine": not device.is_template and device.owner_id == user.pk,
        "numbers": [
            {"title": title, "value": getattr(device, name), "unit": unit, "source": _source(sources.get(name, ""))}
            for name, title, unit in NUMBERS
        ],
        "accelerators": [
            each | {"source": _source(sources.get(f"accelerators.{place}.peak_tops_int8", ""))}
            for place, each in enumerate(device.accelerators)
        ],
        "texts": _source(sources.get("texts", "")),
        "models": models_for(user, device=device),
        "runs": with_numbers(BenchmarkRun.objects.visible_to(user).filter(**of_device).with_seen("model")).order_by(
            "-created_at"
        )[:ROWS_SHOWN],
        "optimizations": OptimizationJob.objects.visible_to(user)
        .filter(**of_device)
        .with_seen("model")
        .defer("result")
        .order_by("-created_at")[:ROWS_SHOWN],
        "comparisons": ComparisonJob.objects.visible_to(user)
        .filter(**of_device)
        .defer("result")
        .order_by("-created_at")[:ROWS_SHOWN],
    }
    return page(request, "edge_ai/device_detail.html", context)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def device_create(request: MemberRequest) -> HttpResponse:
    """Add a device of one's own, from nothing or from what is known of another."""
    given = request.GET.get("like", "")
    like = _visible(request.user, _id(given)) if given else None
    forms = DeviceForms(request.POST if request.method == "POST" else None, known=like)
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if forms.is_valid():
            device = service.create_profile(request.user, fields=forms.facts(), like=like)
            messages.success(request, f"“{device.name}” is added.")
            return see_other("edge_ai:device-detail", device.pk)
    known = DeviceProfile.objects.visible_to(request.user).only("pk", "name")[: service.MAX_SHOWN]
    return page(request, "edge_ai/device_form.html", {"forms": forms, "like": like, "known": known}, status=status)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def device_update(request: MemberRequest, device_id: UUID) -> HttpResponse:
    """Change a device of one's own."""
    device = _own(request.user, device_id)
    forms = DeviceForms(request.POST if request.method == "POST" else None, known=device)
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if forms.is_valid():
            try:
                service.update_profile(request.user, profile=device, fields=forms.facts())
            except EngineError as error:
                add_domain_error(forms.form, error)
                status = status_of(error.code)
            else:
                messages.success(request, "Saved.")
                return see_other("edge_ai:device-detail", device.pk)
    return page(request, "edge_ai/device_form.html", {"forms": forms, "device": device}, status=status)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def device_delete(request: MemberRequest, device_id: UUID) -> HttpResponse:
    """Ask once, and remove a device of one's own."""
    device = _own(request.user, device_id)
    refusal: EngineError | None = None
    if request.method == "POST":
        try:
            service.delete_profile(request.user, profile=device)
        except EngineError as error:
            refusal = error
        else:
            messages.success(request, f"“{device.name}” is deleted.")
            return see_other("edge_ai:device-list")
    context = {"device": device, "refusal": refusal}
    return page(request, "edge_ai/device_delete.html", context, status=status_of(refusal.code) if refusal else 200)


def _visible(user: User, device_id: UUID | None) -> DeviceProfile:
    if device_id is None:
        raise Http404
    device: DeviceProfile = get_object_or_404(DeviceProfile.objects.visible_to(user), pk=device_id)
    return device


def _own(user: User, device_id: UUID) -> DeviceProfile:
    device: DeviceProfile = get_object_or_404(DeviceProfile.objects.owned_by(user), pk=device_id)
    return device


def _source(text: str) -> list[dict[str, Any]]:
    """Cut a source into plain text and addresses, so that a page can link them."""
    parts, at = [], 0
    for match in _ADDRESS.finditer(text):
        parts.append({"text": text[at : match.start()], "address": match[0]})
        at = match.end()
    if text[at:]:
        parts.append({"text": text[at:], "address": ""})
    return parts
