"""Choosing a workspace, and keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.forms import ApiKeyForm
from accounts.middleware import SESSION_KEY
from accounts.models import ApiKey, Membership, User, enterable
from accounts.proof import ask_for_proof, proof_address, proven
from accounts.signals import AccountAction, state_changed


@login_required
@require_http_methods(["GET"])
def workspace_list(request: HttpRequest) -> HttpResponse:
    """Choose among the workspaces that one belongs to."""
    theirs = Membership.objects.filter(user=cast(User, request.user), workspace__made_at__isnull=True)
    context = {
        "making": theirs.select_related("workspace").order_by("created_at"),
        "creation": settings.WORKSPACE_CREATION,
    }
    return render(request, "accounts/workspace_list.html", context)


@login_required
@require_POST
def switch_workspace(request: HttpRequest) -> HttpResponse:
    """Work in another workspace from now on."""
    membership = get_object_or_404(
        Membership, enterable(), user=request.user, workspace__slug=request.POST.get("workspace", "")
    )
    request.session[SESSION_KEY] = str(membership.workspace_id)
    target = request.POST.get("next", "")
    own = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    # A bare word is a relative address to a browser, and the name of a view to redirect().
    response = redirect(target if own and target.startswith("/") else "edge_ai:overview")
    response.status_code = 303
    return response


@in_workspace
@may_write
@require_http_methods(["GET", "POST"])
def api_key_list(request: MemberRequest) -> HttpResponse:
    """One's own keys in this workspace, and a form for a new one.

    Whoever makes a key has to prove once more who he is: a key lasts longer than a session that was left open.
    The answer to the form carries the secret: it is kept nowhere, so there is no page to redirect to that could show it.
    """
    form = ApiKeyForm(request.POST or None)
    new_key = None
    if request.method == "POST" and not proven(request):
        return ask_for_proof(request, request.path)
    if request.method == "POST" and form.is_valid():
        days: int = form.cleaned_data["days"]
        with transaction.atomic():
            key, secret = ApiKey.issue(
                user=request.user,
                workspace=request.workspace,
                name=form.cleaned_data["name"],
                scopes=[form.cleaned_data["scope"]],
                expires_at=timezone.now() + timedelta(days=days) if days else None,
                rate_per_minute=form.cleaned_data["rate"],
            )
            told = {"scopes": key.scopes, "expires_at": key.expires_at, "rate_per_minute": key.rate}
            _tell(AccountAction.API_KEY_CREATED, key, after=told)
        new_key = {"name": key.name, "secret": secret}
        form = ApiKeyForm()
    keys = ApiKey.objects.filter(user=request.user, workspace=request.workspace).order_by("-created_at")
    found = {"keys": keys, "form": form, "new_key": new_key}
    if not proven(request):
        found["proof_address"] = proof_address(request, request.path)
    response = render(request, "accounts/api_key_list.html", found)
    response["Cache-Control"] = "no-store"
    return response


@in_workspace
@require_POST
def revoke_api_key(request: MemberRequest, key_id: UUID) -> HttpResponse:
    """End a key at once. Viewers too may: they may have made it when they were more."""
    key = get_object_or_404(ApiKey, pk=key_id, user=request.user, workspace=request.workspace)
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now()):
            _tell(AccountAction.API_KEY_REVOKED, key)
    messages.success(request, f"The key “{key.name}” no longer works.")
    response = redirect("accounts:api-key-list")
    response.status_code = 303
    return response


def _tell(action: AccountAction, key: ApiKey, **fields: Any) -> None:
    state_changed.send(ApiKey, action=action, subject=key, workspace=key.workspace, **fields)
