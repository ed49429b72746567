"""Picking a device, a goal and data, and seeing the plan before anything runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_http_methods

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from config.errors import status_of
from edge_ai.engine.errors import EngineError
from edge_ai.models import JobKind, Model, OptimizationJob, OptimizationLevel, Precision
from edge_ai.services import quotas
from edge_ai.services.optimizations import (
    OptimizationRequest,
    earlier_answer,
    estimated_time,
    expected_wait,
    plan_optimization,
    submit_optimization,
)
from edge_ai.web.again import earlier_job, optimization_values, overrides, shown, tell_lost_dataset
from edge_ai.web.changes import address_of, changed_request, words_of
from edge_ai.web.forms import OptimizationForm, add_domain_error
from edge_ai.web.pages import UNPROCESSABLE, page, see_other
from edge_ai.web.views.models import visible_model

TEMPLATE = "edge_ai/optimization_form.html"


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def optimization_create(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Ask, plan, submit. ``action=plan`` only plans: it is what changing the form sends, and what the button does."""
    model = visible_model(request.user, model_id)
    planning = request.POST.get("action") == "plan"
    if request.method != "POST":
        form = OptimizationForm(user=request.user, model=model, initial=_initial(request))
        # What the form shows at first is planned as if it had been sent.
        preview = OptimizationForm(shown(form), user=request.user, model=model, offers=form.offers)
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
        told = {"refusal": error, "nearest": _nearest(request.user, _request(model, form), error)}
        add_domain_error(form, error)
        return page(request, TEMPLATE, {"model": model, "form": form} | told, status=status_of(error.code))
    return see_other("edge_ai:job-detail", job.pk)


def _initial(request: MemberRequest) -> dict[str, Any]:
    """Return what the form begins with: what an earlier job was asked with, and what the address says."""
    job = earlier_job(request, request.user, OptimizationJob, "model")
    if job is None:
        return overrides(request.GET)
    tell_lost_dataset(request, job)
    return optimization_values(job) | overrides(request.GET)


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


def _nearest(user: User, asked: OptimizationRequest, error: EngineError) -> dict[str, str] | None:
    """Return the nearest request that works as a link to this page and in words."""
    changed = changed_request(user, asked, (error.details or {}).get("nearest") or {})
    address = None if changed is None else address_of(changed)
    return None if changed is None or address is None else {"address": address, "words": words_of(asked, changed)}


def _plan(request: MemberRequest, model: Model, form: OptimizationForm) -> dict[str, Any]:
    """Return the plan, or the refusal, of what the form asks for."""
    if not form.is_valid():
        return {"incomplete": True}
    asked = _request(model, form)
    try:
        plan = plan_optimization(request.user, request=asked)
    except EngineError as error:
        return {"refusal": error, "nearest": _nearest(request.user, asked, error)}
    cached = earlier_answer(request.user, request=asked, plan=plan)
    return {
        "plan": plan,
        "asked": asked,
        "resolved": plan.precision if plan else None,
        "cached": cached,
        "quota": None if cached else quotas.caution(quotas.needs_of(JobKind.OPTIMIZATION, model)),
        "estimate": estimated_time(request.user, request=asked, plan=plan) if plan else None,
        "wait": None if cached else expected_wait(request=asked),
    }
