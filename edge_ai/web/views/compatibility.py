"""What a model can become, and on which devices that runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from edge_ai.engine.errors import EngineError
from edge_ai.models import DeviceCategory, ModelFormat
from edge_ai.services.compatibility import MAX_DEVICES, TARGET_FORMATS, compatibility_of
from edge_ai.web.measured import RUNTIMES
from edge_ai.web.pages import chosen, page
from edge_ai.web.views.models import visible_model


@in_workspace
@require_safe
def model_compatibility(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Target formats and precisions of a model, whatever the device and for each device."""
    model = visible_model(request.user, model_id)
    category = chosen(request, "category", list(DeviceCategory.values))
    target = chosen(request, "target_format", list(TARGET_FORMATS))
    context: dict[str, Any] = {
        "model": model,
        "category": category,
        "categories": DeviceCategory.choices,
        "target": target,
        "target_formats": TARGET_FORMATS,
        "names": dict(ModelFormat.choices),
        "runtimes": RUNTIMES,
        "most": MAX_DEVICES,
    }
    try:
        context["found"] = compatibility_of(request.user, model=model, category=category, target_format=target)
    except EngineError as error:
        context["refusal"] = error
    return page(request, "edge_ai/model_compatibility.html", context)
