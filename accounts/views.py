"""Signing in, choosing a workspace, and keys."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.forms import ApiKeyForm
from accounts.middleware import SESSION_KEY
from accounts.models import ApiKey, Membership


class SignInView(LoginView):
    """Address and password."""

    template_name = "accounts/login.html"
    redirect_authenticated_user = True


@login_required
@require_http_methods(["GET"])
def workspace_list(request: HttpRequest) -> HttpResponse:
    """Choose among the workspaces that one belongs to."""
    return render(request, "accounts/workspace_list.html")


@login_required
@require_POST
def switch_workspace(request: HttpRequest) -> HttpResponse:
    """Work in another workspace from now on."""
    membership = get_object_or_404(Membership, user=request.user, workspace__slug=request.POST.get("workspace", ""))
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

    The answer to the form carries the secret: it is kept nowhere, so there is no page to redirect to that could show it.
    """
    form = ApiKeyForm(request.POST or None)
    new_key = None
    if request.method == "POST" and form.is_valid():
        days: int = form.cleaned_data["days"]
        key, secret = ApiKey.issue(
            user=request.user,
            workspace=request.workspace,
            name=form.cleaned_data["name"],
            scopes=[form.cleaned_data["scope"]],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        new_key = {"name": key.name, "secret": secret}
        form = ApiKeyForm()
    keys = ApiKey.objects.filter(user=request.user, workspace=request.workspace).order_by("-created_at")
    response = render(request, "accounts/api_key_list.html", {"keys": keys, "form": form, "new_key": new_key})
    response["Cache-Control"] = "no-store"
    return response


@in_workspace
@may_write
@require_POST
def revoke_api_key(request: MemberRequest, key_id: UUID) -> HttpResponse:
    """End a key at once."""
    key = get_object_or_404(ApiKey, pk=key_id, user=request.user, workspace=request.workspace)
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
    messages.success(request, f"The key “{key.name}” no longer works.")
    response = redirect("accounts:api-key-list")
    response.status_code = 303
    return response
