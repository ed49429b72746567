"""Workspaces: making one, its name, having it deleted, and keeping it after all."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import workspaces as rules
from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import Role
from config.errors import error_response, status_of
from edge_ai.engine.errors import EngineError
from edge_ai.models import WorkspaceExport
from edge_ai.services import exports
from edge_ai.services import workspaces as service
from edge_ai.web.forms import add_domain_error
from edge_ai.web.pages import UNPROCESSABLE, page, see_other
from edge_ai.web.workspace_forms import DeletionForm, RenameForm, WorkspaceForm


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def workspace_create(request: HttpRequest) -> HttpResponse:
    """Ask for a workspace of one's own."""
    form = WorkspaceForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                made = service.request_workspace(request.user, **form.cleaned_data)  # type: ignore[arg-type]  # signed in
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                messages.success(request, f"{made.name} is being made. That takes a few seconds.")
                return see_other("accounts:workspace-list")
    context = {"form": form, "possible": settings.WORKSPACE_CREATION}
    return page(request, "edge_ai/workspace_form.html", context, status=status)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def workspace_settings(request: MemberRequest) -> HttpResponse:
    """The workspace's name; admins and owners change it."""
    form = RenameForm(request.POST or None, initial={"name": request.workspace.name})
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                rules.rename(request.membership, name=form.cleaned_data["name"])
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                messages.success(request, "The workspace has its new name.")
                return see_other("edge_ai:workspace-settings")
    context = {
        "form": form,
        "manages": request.membership.may_administer,
        "owns": request.membership.role == Role.OWNER,
        "days": settings.WORKSPACE_GRACE_DAYS,
        "exports": exports.exports_of(request.membership),
        "export_days": settings.EXPORT_DAYS,
    }
    return page(request, "edge_ai/workspace_settings.html", context, status=status)


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def workspace_delete(request: MemberRequest) -> HttpResponse:
    """Have the workspace removed, after a time to think again."""
    form = DeletionForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = UNPROCESSABLE
        if form.is_valid():
            try:
                rules.have_deleted(request.membership, slug=form.cleaned_data["slug"])
            except EngineError as error:
                add_domain_error(form, error)
                status = status_of(error.code)
            else:
                return see_other("edge_ai:workspace-settings")
    context = {"form": form, "days": settings.WORKSPACE_GRACE_DAYS}
    return page(request, "edge_ai/workspace_delete.html", context, status=status)


@in_workspace
@may_write
@require_POST
def workspace_keep(request: MemberRequest) -> HttpResponse:
    """Take a deletion back."""
    try:
        rules.keep(request.membership)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, "The workspace stays.")
    return see_other("edge_ai:workspace-settings")


@in_workspace
@may_write
@require_POST
def workspace_export(request: MemberRequest) -> HttpResponse:
    """Have everything that one sees written into a file."""
    try:
        exports.request_export(request.membership)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
    else:
        messages.success(request, "The export is being made. This page shows when it is there.")
    return see_other("edge_ai:workspace-settings")


@in_workspace
@require_safe
def workspace_export_download(request: MemberRequest, export_id: UUID) -> HttpResponse:
    """Lead to one's own export, by a signed link."""
    export = get_object_or_404(WorkspaceExport.objects.owned_by(request.user), pk=export_id)
    try:
        return HttpResponseRedirect(exports.export_url(request.membership, export=export))
    except EngineError as error:
        return error_response(request, error)
