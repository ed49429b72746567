"""The audit trail of a workspace, for its owners and admins: read, narrowed down, and taken away as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe
from django_tenants.utils import schema_context

from accounts.access import MemberRequest, in_workspace
from config.database.identity import acting_as_user
from config.errors import error_response
from edge_ai.engine.errors import UserInputError
from edge_ai.models import AuditEvent
from edge_ai.services.trail import (
    BATCH,
    TrailFilter,
    read_trail_filter,
    trail_context,
    trail_csv,
    trail_lines,
    trail_page,
)
from edge_ai.web.pages import page


@in_workspace
@require_safe
def audit_list(request: MemberRequest) -> HttpResponse:
    """What changed, the newest first."""
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    wanted, given = read_trail_filter(request.GET)
    found = trail_page(
        wanted.narrow(AuditEvent.objects.visible_to(request.membership)),
        older_than=request.GET.get("older", ""),
        newer_than=request.GET.get("newer", ""),
    )
    return page(request, "edge_ai/audit_list.html", trail_context(found.events, given) | {"trail": found})


@in_workspace
@require_safe
def audit_export(request: MemberRequest) -> HttpResponseBase:
    """The trail as a table for spreadsheets, narrowed down as on the page, however long."""
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    wanted, _ = read_trail_filter(request.GET)
    response = StreamingHttpResponse(trail_csv(_batches(request, wanted)), content_type="text/csv; charset=utf-8")
    name = f"audit-{request.workspace.slug}-{timezone.now():%Y-%m-%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


@in_workspace
@require_safe
def audit_lines(request: MemberRequest) -> HttpResponseBase:
    """The same for programs: as JSON, one event a line."""
    if not request.membership.may_administer:
        return error_response(request, _admins_only())
    wanted, _ = read_trail_filter(request.GET)
    response = StreamingHttpResponse(
        trail_lines(_batches(request, wanted)), content_type="application/x-ndjson; charset=utf-8"
    )
    name = f"audit-{request.workspace.slug}-{timezone.now():%Y-%m-%d}.jsonl"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _batches(request: MemberRequest, wanted: TrailFilter) -> Iterator[Sequence[AuditEvent]]:
    """Read batch by batch. The middleware has left the workspace when the first line is sent, so each enters it again."""
    older_than = ""
    while True:
        with schema_context(request.workspace.schema_name), acting_as_user(request.user.pk):
            events = wanted.narrow(AuditEvent.objects.visible_to(request.membership))
            found = trail_page(events, older_than=older_than, size=BATCH)
        if found.events:
            yield found.events
        if not found.older:
            return
        older_than = found.older


def _admins_only() -> UserInputError:
    return UserInputError(
        "The audit trail shows what everybody in the workspace did, which takes an admin or owner.",
        code="permission_denied",
        fix="Ask an admin of the workspace.",
    )
