"""Optimizing several models for several devices at once, and watching them side by side."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from config.errors import status_of
from edge_ai.engine.errors import EngineError
from edge_ai.models import FINAL, JobKind, Model, ModelStatus, OptimizationBatch, OptimizationJob, Queue, seen
from edge_ai.services import batches as service
from edge_ai.services import quotas
from edge_ai.services.waiting import wait_for_another
from edge_ai.web.again import shown
from edge_ai.web.batch_form import BatchForm
from edge_ai.web.hidden import device_name, model_name
from edge_ai.web.listing import listing
from edge_ai.web.lists import BATCHES
from edge_ai.web.pages import UNPROCESSABLE, comes_back, list_page, page, see_other
from edge_ai.web.row_fields import Offers

FORM = "edge_ai/batch_form.html"
OFFERED = 60
USABLE = (ModelStatus.UPLOADED, ModelStatus.ANALYZING, ModelStatus.READY)
#: What an address may choose beforehand.
SINGLE, SEVERAL = ("target_format", "optimization_level", "dataset", "name"), ("model", "device_profile", "precision")


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def batch_create(request: MemberRequest) -> HttpResponse:
    """Choose models, devices and precisions; ``?model=`` chooses some beforehand. ``action=plan`` only plans."""
    candidates = Model.objects.visible_to(request.user).filter(status__in=USABLE)
    offers = Offers.to(request.user)
    if request.method != "POST":
        initial = _initial(offers, request.GET)
        form = BatchForm(user=request.user, models=candidates, offers=offers, initial=initial)
        preview = BatchForm(shown(form), user=request.user, models=candidates, offers=offers)
        return page(request, FORM, _context(request, form, candidates) | _plan(preview))
    form = BatchForm(request.POST, user=request.user, models=candidates, offers=offers)
    context = _context(request, form, candidates)
    if request.POST.get("action") == "plan":
        return page(request, FORM, context | _plan(form))
    if not form.is_valid():
        return page(request, FORM, context, status=UNPROCESSABLE)
    key = form.cleaned_data["key"]
    try:
        made = service.submit_batch(request.user, request=form.request(), idempotency_key=str(key) if key else "")
    except EngineError as error:
        form.refuse(error)
        told = {"refusal": error, "refused": (error.details or {}).get("refused")}
        return page(request, FORM, context | told, status=status_of(error.code))
    return see_other("edge_ai:batch-detail", made.batch.pk)


def _initial(offers: Offers, query: QueryDict) -> dict[str, Any]:
    chosen: dict[str, Any] = {name: query.getlist(name) for name in SEVERAL if name in query}
    chosen |= {name: query[name] for name in SINGLE if name in query}
    if "device_profile" not in chosen:
        # The machine that the studio runs on comes first.
        chosen["device_profile"] = [str(device.pk) for device in offers.devices[:1]]
    return chosen


def _context(request: MemberRequest, form: BatchForm, candidates: Any) -> dict[str, Any]:
    named = _ids(form.chosen("model"))
    search = request.GET.get("search", "").strip()[:200]
    wanted = candidates.filter(Q(pk__in=named) | Q(name__icontains=search)) if search else candidates
    rows = list(wanted.select_related("parent").defer("analysis").order_by("-created_at", "pk")[:OFFERED])
    missing = set(named) - {model.pk for model in rows}
    if missing:
        rows = [*candidates.filter(pk__in=missing).select_related("parent").defer("analysis"), *rows]
    return {
        "form": form,
        "offered": sorted(rows, key=lambda model: model.pk not in named),
        "named": named,
        "search": search,
        "devices": form.offers.devices,
        "ticked_devices": form.chosen("device_profile"),
        "most": service.MOST_COMBINATIONS,
    }


def _ids(texts: set[str]) -> set[UUID]:
    found = set()
    for text in texts:
        try:
            found.add(UUID(text))
        except ValueError:
            continue
    return found


def _plan(form: BatchForm) -> dict[str, Any]:
    if not form.is_valid():
        return {"incomplete": True}
    asked = form.request()
    try:
        plan = service.plan_batch(form.user, request=asked)
    except EngineError as error:
        return {"refusal": error, "refused": (error.details or {}).get("refused")}
    wait = wait_for_another(Queue.STUDIO, priority=asked.priority, jobs=len(plan.planned))
    quota = quotas.caution(quotas.needs_of(JobKind.OPTIMIZATION, *(one.model for one, _ in plan.planned)))
    return {
        "plan": plan,
        "refused": plan.refused,
        "wait": wait,
        "wait_title": "The last one starts",
        "quota": quota,
    }


@in_workspace
@comes_back(BATCHES.address)
@require_safe
def batch_list(request: MemberRequest) -> HttpResponse:
    """Every batch that one sees."""
    found = listing(request, service.batches_of(request.user), BATCHES)
    rows = [{"batch": batch, **_standing(batch)} for batch in found]
    return list_page(request, "edge_ai/batch_list.html", found, {"rows": rows})


def _standing(batch: Any) -> dict[str, Any]:
    counts = service.counts_of(batch)
    return {"counts": counts, "status": service.standing_of(counts), "percent": service.percent_of(batch)}


@in_workspace
@require_safe
def batch_detail(request: MemberRequest, batch_id: UUID) -> HttpResponse:
    """A batch: how far it is, and every model on every device."""
    batch = _find(request.user, batch_id)
    jobs = service.jobs_of(request.user, batch=batch)
    standing = _standing(batch)
    ended = all(job.status in FINAL for job in jobs)
    counts = standing["counts"]
    return page(
        request,
        "edge_ai/batch_detail.html",
        {
            "batch": batch,
            "mine": batch.owner_id == request.user.pk,
            "counts": counts,
            "standing": standing["status"],
            "percent": standing["percent"],
            "told": _told(counts),
            "ended": ended,
            "again": _again(batch),
            **_matrix(batch, jobs),
        },
    )


def _told(counts: dict[str, int]) -> list[tuple[str, int]]:
    words = {"pending": "waiting for an analysis", "refused": "cannot work"}
    order = ("completed", "running", "queued", "pending", "failed", "cancelled", "refused")
    return [(words.get(name, name), counts[name]) for name in order if counts[name]]


def _again(batch: OptimizationBatch) -> str:
    """Return the form with what was asked for, as the query of its address."""
    asked: dict[str, Any] = batch.asked
    query = [("model", each) for each in asked["models"]]
    query += [("device_profile", each) for each in asked["device_profiles"]]
    query += [("precision", each) for each in asked["precisions"]]
    query += [(name, asked[name]) for name in ("target_format", "optimization_level", "dataset") if asked[name]]
    return urlencode(query)


def _matrix(batch: OptimizationBatch, jobs: list[OptimizationJob]) -> dict[str, Any]:
    """Return models by devices, each cell with its jobs and with what was refused, as far as there are still any of a model."""
    devices: dict[str, str] = {}
    models: dict[str, tuple[str, UUID | None]] = {}
    made: dict[tuple[str, str], list[OptimizationJob]] = defaultdict(list)
    refused: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for job in jobs:
        model, device = str(job.model_id), str(job.device_profile_id)
        devices.setdefault(device, device_name(job, begins=True))
        models.setdefault(model, (model_name(job, begins=True), None if seen(job, "model") is None else job.model_id))
        made[model, device].append(job)
    for each in batch.refused:
        devices.setdefault(each["device_profile"], each["device_name"])
        models.setdefault(each["model"], (each["model_name"], None))
        refused[each["model"], each["device_profile"]].append(each)
    asked = batch.asked
    columns = [key for key in asked["device_profiles"] if key in devices]
    return {
        "device_names": [devices[key] for key in columns],
        "matrix": [
            {
                "name": models[key][0],
                "model_id": models[key][1],
                "cells": [{"jobs": made[key, column], "refused": refused[key, column]} for column in columns],
            }
            for key in asked["models"]
            if key in models
        ],
    }


def _find(user: User, batch_id: UUID) -> OptimizationBatch:
    batch: OptimizationBatch = get_object_or_404(service.batches_of(user), pk=batch_id)
    return batch


@in_workspace
@may_write
@require_POST
def batch_cancel(request: MemberRequest, batch_id: UUID) -> HttpResponse:
    """Stop every job of a batch."""
    batch = _find(request.user, batch_id)
    try:
        stopped = service.cancel_batch(request.user, batch=batch)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(
            request, f"{stopped} job{'' if stopped == 1 else 's'} cancelled; what runs stops in a few seconds."
        )
    return see_other("edge_ai:batch-detail", batch.pk)


@in_workspace
@may_write
@require_POST
def batch_retry(request: MemberRequest, batch_id: UUID) -> HttpResponse:
    """Run what failed again."""
    batch = _find(request.user, batch_id)
    try:
        again = service.retry_batch(request.user, batch=batch)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, f"{again} job{' is' if again == 1 else 's are'} queued again.")
    return see_other("edge_ai:batch-detail", batch.pk)
