"""Pages that look across workspaces: what each uses, every job, every webhook delivery, and all audit trails as one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Workspace
from config.database.identity import acting_as_system
from edge_ai.engine.errors import EngineError
from edge_ai.models import TEST_EVENT, DeliveryStatus, Event, JobKind, JobStatus, WebhookEvent
from edge_ai.services import across, usage
from edge_ai.services.schemas import complete_schemas
from edge_ai.services.trail import read_trail_filter, trail_context

WORKSPACES_SHOWN = 25


def studio_page(request: HttpRequest, template: str, tab: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page of the admin in the studio's look."""
    response = render(request, template, context | {"tab": tab})
    response["Cache-Control"] = "private, no-store"
    return response


@require_safe
def workspaces_page(request: HttpRequest) -> HttpResponse:
    """Every workspace with what it has and does."""
    search = _text(request, "search")
    with acting_as_system():
        rows = Workspace.objects.filter(schema_name__in=complete_schemas()).order_by("slug")
        if search:
            rows = rows.filter(Q(slug__icontains=search) | Q(name__icontains=search))
        page = Paginator(rows, WORKSPACES_SHOWN).get_page(request.GET.get("page"))
        spaces = list(page)
    context = {"page": page, "usage": usage.usage_of(spaces), "search": search, "days": usage.DAYS}
    return studio_page(request, "admin/workspaces.html", "workspaces", context)


@require_safe
def jobs_page(request: HttpRequest) -> HttpResponse:
    """Jobs of every workspace, the newest first."""
    filters = {
        "workspace": _text(request, "workspace"),
        "status": _chosen(request, "status", JobStatus.values),
        "kind": _chosen(request, "kind", JobKind.values),
        "search": _text(request, "search"),
    }
    found = across.all_jobs(
        slug=filters["workspace"],
        status=filters["status"],
        kind=filters["kind"],
        search=filters["search"],
        **_places(request),
    )
    context = _listed(found, filters) | {"statuses": JobStatus.choices, "kinds": JobKind.choices}
    return studio_page(request, "admin/jobs.html", "jobs", context)


@require_safe
def deliveries_page(request: HttpRequest) -> HttpResponse:
    """Webhook deliveries of every workspace, the newest first."""
    events = [*WebhookEvent.values, TEST_EVENT]
    filters = {
        "workspace": _text(request, "workspace"),
        "status": _chosen(request, "status", DeliveryStatus.values),
        "event": _chosen(request, "event", events),
        "search": _text(request, "search"),
    }
    found = across.all_deliveries(
        slug=filters["workspace"],
        status=filters["status"],
        event=filters["event"],
        search=filters["search"],
        **_places(request),
    )
    context = _listed(found, filters) | {"statuses": DeliveryStatus.choices, "events": events}
    return studio_page(request, "admin/deliveries.html", "deliveries", context)


@require_safe
def audit_page(request: HttpRequest) -> HttpResponse:
    """The audit trails of all workspaces as one."""
    wanted, given = read_trail_filter(request.GET)
    slug = _text(request, "workspace")
    conditions = across.Conditions()
    conditions.named(wanted.actor, key="actor_id", names=("r.actor",))
    conditions.named(wanted.subject, key="object_id", names=("r.object_name",))
    conditions.equal(action=wanted.action)
    if wanted.since is not None:
        conditions.add("r.at >= %s", wanted.since)
    if wanted.until is not None:
        conditions.add("r.at < %s", wanted.until)
    found = across.all_events(slug=slug, wanted=conditions, **_places(request))
    context = trail_context(found.rows, given) | {"trail": found, "across": True, "workspace_slug": slug}
    context["filtered"] = context["filtered"] or bool(slug)
    return studio_page(request, "admin/audit.html", "audit", context)


@require_safe
def queues_page(request: HttpRequest) -> HttpResponse:
    """How the queues are served, and what waits in them."""
    states = usage.queues()
    unserved = [state.name for state in states if not state.workers]
    return studio_page(request, "admin/queues.html", "queues", {"queues": states, "unserved": unserved})


@require_safe
def use_page(request: HttpRequest) -> HttpResponse:
    """What people did in all workspaces, by day."""
    slug = _text(request, "workspace")
    days = usage.use_by_day(until=timezone.now().date(), slug=slug)
    rows = [
        {
            "name": label,
            "event": event,
            "total": sum(each.events.get(event, 0) for each in days),
            "days": [each.events.get(event, 0) for each in days],
        }
        for event, label in Event.choices
    ]
    context = {
        "days": days,
        "rows": [row for row in rows if row["total"]],
        "use_data": {"days": [each.day for each in days], "rows": [row for row in rows if row["total"]]},
        "workspace_slug": slug,
    }
    return studio_page(request, "admin/use.html", "use", context)


@require_POST
def job_cancel(request: HttpRequest, slug: str, job_id: UUID) -> HttpResponse:
    """Cancel somebody's job."""
    return _done(request, "admin:edge_ai_jobs", lambda: across.cancel_anywhere(slug, job_id), "“{}” is told to stop.")


@require_POST
def job_retry(request: HttpRequest, slug: str, job_id: UUID) -> HttpResponse:
    """Run somebody's job again."""
    return _done(request, "admin:edge_ai_jobs", lambda: across.retry_anywhere(slug, job_id), "“{}” is run again.")


@require_POST
def redeliver(request: HttpRequest, slug: str, delivery_id: UUID) -> HttpResponse:
    """Send somebody's delivery again."""
    return _done(
        request,
        "admin:edge_ai_deliveries",
        lambda: across.redeliver_anywhere(slug, delivery_id),
        "“{}” is sent again.",
    )


def urls() -> list[URLPattern]:
    """Return the addresses of these pages, for staff alone."""
    wrap = admin.site.admin_view
    return [
        path("workspaces/", wrap(workspaces_page), name="edge_ai_workspaces"),
        path("jobs/", wrap(jobs_page), name="edge_ai_jobs"),
        path("jobs/<slug:slug>/<uuid:job_id>/cancel/", wrap(job_cancel), name="edge_ai_job_cancel"),
        path("jobs/<slug:slug>/<uuid:job_id>/retry/", wrap(job_retry), name="edge_ai_job_retry"),
        path("deliveries/", wrap(deliveries_page), name="edge_ai_deliveries"),
        path("deliveries/<slug:slug>/<uuid:delivery_id>/redeliver/", wrap(redeliver), name="edge_ai_redeliver"),
        path("audit/", wrap(audit_page), name="edge_ai_audit"),
        path("use/", wrap(use_page), name="edge_ai_use"),
        path("queues/", wrap(queues_page), name="edge_ai_queues"),
    ]


def _done(request: HttpRequest, name: str, act: Any, said: str) -> HttpResponse:
    try:
        row = act()
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, said.format(row))
    target = request.POST.get("next", "")
    own = target.startswith(reverse(name)) and url_has_allowed_host_and_scheme(target, {request.get_host()})
    return HttpResponseRedirect(target if own else reverse(name), status=303)


def _listed(found: across.AcrossPage, filters: dict[str, str]) -> dict[str, Any]:
    return {"rows": found.rows, "trail": found, "filters": filters, "filtered": any(filters.values())}


def _places(request: HttpRequest) -> dict[str, str]:
    return {"older_than": request.GET.get("older", ""), "newer_than": request.GET.get("newer", "")}


def _text(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:200]


def _chosen(request: HttpRequest, name: str, values: list[str]) -> str:
    value = request.GET.get(name, "")
    return value if value in values else ""
