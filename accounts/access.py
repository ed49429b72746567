"""Doors of views: signed in, inside a workspace, allowed to write."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from accounts.models import ApiKey, Membership, User, Workspace
from config.errors import error_response
from edge_ai.engine.errors import UserInputError

View = Callable[..., HttpResponseBase]


class MemberRequest(HttpRequest):
    """What a view behind :func:`in_workspace` is given: a request of a member, inside a workspace."""

    user: User  # nobody anonymous gets here
    workspace: Workspace
    membership: Membership
    api_key: ApiKey | None


def in_workspace(view: View) -> View:
    """Let in who is signed in and inside a workspace; others go to the page that gets them there."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if request.workspace is None:  # type: ignore[attr-defined]
            return redirect("accounts:workspace-list")
        return view(request, *args, **kwargs)

    return guarded


def may_write(view: View) -> View:
    """Refuse viewers every method that changes something. Goes inside :func:`in_workspace`."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD", "OPTIONS"} and not request.membership.may_write:  # type: ignore[attr-defined]
            return error_response(request, viewers_only_look())
        return view(request, *args, **kwargs)

    return guarded


def viewers_only_look() -> UserInputError:
    """The refusal of a viewer who tries to change something."""
    return UserInputError(
        "As a viewer of this workspace you can look, but not change anything.",
        code="permission_denied",
        fix="Ask an admin of the workspace for the member role.",
    )
