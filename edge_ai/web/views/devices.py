"""Devices to make models for, with where each number is from."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from edge_ai.models import DeviceCategory, DeviceProfile
from edge_ai.web.pages import chosen, page

# Field, what it is called, and its unit.
NUMBERS = (
    ("cpu_cores", "CPU cores", ""),
    ("cpu_frequency_mhz", "Highest clock", "MHz"),
    ("memory_mb", "Memory", "MiB"),
    ("memory_bandwidth_gb_s", "Memory bandwidth", "GB/s"),
    ("peak_gflops_fp32", "CPU peak, fp32", "GFLOP/s"),
    ("peak_gflops_fp16", "CPU peak, fp16", "GFLOP/s"),
    ("peak_tops_int8", "CPU peak, int8", "TOP/s"),
    ("tdp_w", "Power", "W"),
)
_ADDRESS = re.compile(r"https://[^\s,;]+")


@in_workspace
@require_safe
def device_list(request: MemberRequest) -> HttpResponse:
    """Cards of all devices, the machine that measures first."""
    filters = {
        "search": request.GET.get("search", "").strip()[:200],
        "category": chosen(request, "category", DeviceCategory.values),
    }
    devices = DeviceProfile.objects.visible_to(request.user)
    if filters["search"]:
        words = filters["search"]
        devices = devices.filter(Q(name__icontains=words) | Q(vendor__icontains=words) | Q(cpu_model__icontains=words))
    if filters["category"]:
        devices = devices.filter(category=filters["category"])
    context = {
        "devices": list(devices),
        "filters": filters,
        "categories": DeviceCategory.choices,
    }
    return page(request, "edge_ai/device_list.html", context)


@in_workspace
@require_safe
def device_detail(request: MemberRequest, device_id: UUID) -> HttpResponse:
    """What is known about a device, and where each number is from."""
    device = get_object_or_404(DeviceProfile.objects.visible_to(request.user), pk=device_id)
    sources: dict[str, str] = device.sources or {}
    context = {
        "device": device,
        "numbers": [
            {"title": title, "value": getattr(device, name), "unit": unit, "source": _source(sources.get(name, ""))}
            for name, title, unit in NUMBERS
        ],
        "accelerators": [
            each | {"source": _source(sources.get(f"accelerators.{place}.peak_tops_int8", ""))}
            for place, each in enumerate(device.accelerators)
        ],
        "texts": _source(sources.get("texts", "")),
    }
    return page(request, "edge_ai/device_detail.html", context)


def _source(text: str) -> list[dict[str, Any]]:
    """Cut a source into plain text and addresses, so that a page can link them."""
    parts, at = [], 0
    for match in _ADDRESS.finditer(text):
        parts.append({"text": text[at : match.start()], "address": match[0]})
        at = match.end()
    if text[at:]:
        parts.append({"text": text[at:], "address": ""})
    return parts
