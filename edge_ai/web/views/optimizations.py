"""Picking a device, a goal and data, and seeing the plan before anything runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_http_methods

from accounts.access import MemberRequest, in_workspace, may_write
from config.errors import status_of
from edge_ai.engine.errors import EngineError
from edge_ai.models import Model, ModelFormat, OptimizationLevel, Precision
from edge_ai.services.optimizations import (
    OptimizationRequest,
    earlier_answer,
    estimated_time,
    plan_optimization,
    submit_optimization,
)
from edge_ai.web.forms import OptimizationForm, add_domain_error
from edge_ai.web.pages import UNPROCESSABLE, page, see_other
from edge_ai.web.views.models import visible_model
from edge_ai.web.wording import precision

TEMPLATE = "edge_ai/optimization_form.html"


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def optimization_create(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Ask, plan, submit. ``action=plan`` only plans: it is what changing the form sends, and what the button does."""
    model = visible_model(request.user, model_id)
    planning = request.POST.get("action") == "plan"
    if request.method != "POST":
        initial = {
            name: value
            for name in ("target_format", "precision", "device_profile", "dataset")
            if (value := request.GET.get(name))
        }
        form = OptimizationForm(user=request.user, model=model, initial=initial)
        # What the form shows at first is planned as if it had been sent.
        sent = {name: form[name].value() or "" for name in form.fields}
        preview = OptimizationForm(sent, user=request.user, model=model)
        return page(request, TEMPLATE, {"model": model, "form": form} | _plan(request, model, preview))
    sent_now = OptimizationForm.adjusted(request.POST) if planning else request.POST
    form = OptimizationForm(sent_now, user=request.user, model=model)
    if planning:
        return page(request, TEMPLATE, {"model": model, "form": form} | _plan(request, model, form))
    if not form.is_valid():
        return page(request, TEMPLATE, {"model": model, "form": form}, status=UNPROCESSABLE)
    try:
        job = submit_optimization(request.user, request=_request(model, form))
    except EngineError as error:
        add_domain_error(form, error)
        return page(request, TEMPLATE, {"model": model, "form": form, "refusal": error}, status=status_of(error.code))
    return see_other("edge_ai:job-detail", job.pk)


def _request(model: Model, form: OptimizationForm) -> OptimizationRequest:
    given = form.cleaned_data
    return OptimizationRequest(
        model=model,
        device_profile=given["device_profile"],
        dataset=given["dataset"],
        target_format=given["target_format"] or form.initial["target_format"],
        precision=given["precision"] or Precision.AUTO,
        optimization_level=given["optimization_level"] or OptimizationLevel.BALANCED,
        options=form.options(),
        name=given["name"],
        fresh=given["fresh"],
        priority=given["priority"],
    )


def _nearest(asked: OptimizationRequest, error: EngineError) -> dict[str, str] | None:
    """Return the nearest request that works as a link to this page and in words."""
    found = (error.details or {}).get("nearest") or {}
    changes = {name: str(found[name]) for name in ("target_format", "precision") if name in found}
    given = {"target_format": asked.target_format, "precision": asked.precision}
    if not changes or given | changes == given:
        return None
    query = given | {"device_profile": str(asked.device_profile.pk)} | changes
    if asked.dataset is not None:
        query["dataset"] = str(asked.dataset.pk)
    words = f"{precision(query['precision'])} as {ModelFormat(query['target_format']).label}"
    return {"query": urlencode(query), "words": words}


def _plan(request: MemberRequest, model: Model, form: OptimizationForm) -> dict[str, Any]:
    """Return the plan, or the refusal, of what the form asks for."""
    if not form.is_valid():
        return {"incomplete": True}
    asked = _request(model, form)
    try:
        plan = plan_optimization(request.user, request=asked)
    except EngineError as error:
        return {"refusal": error, "nearest": _nearest(asked, error)}
    return {
        "plan": plan,
        "asked": asked,
        "resolved": plan.precision if plan else None,
        "cached": earlier_answer(request.user, request=asked, plan=plan),
        "estimate": estimated_time(request.user, request=asked, plan=plan) if plan else None,
    }
