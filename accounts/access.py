"""Doors of views: signed in, inside a workspace, allowed to write."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from accounts.features import require
from accounts.models import ApiKey, Membership, User, Workspace
from config.errors import error_response
from config.features import needed
from config.permissions import Least, door_of, is_enough
from edge_ai.engine.errors import UserInputError

View = Callable[..., HttpResponseBase]


class MemberRequest(HttpRequest):
    """What a view behind :func:`in_workspace` is given: a request of a member, inside a workspace."""

    user: User  # nobody anonymous gets here
    workspace: Workspace
    membership: Membership
    api_key: ApiKey | None


def in_workspace(view: View) -> View:
    """Let in who is signed in, inside a workspace, and what :mod:`config.permissions` asks for.

    Who is not signed in, or in no workspace, is led to the page that gets them there.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if request.workspace is None:  # type: ignore[attr-defined]
            return redirect("accounts:workspace-list")
        match, membership = request.resolver_match, request.membership  # type: ignore[attr-defined]
        rule = door_of(match.view_name if match else "", request.method or "GET")
        if not is_enough(membership.role, rule.least):
            return error_response(request, too_little(membership, rule.least))
        try:
            require(needed(match.view_name if match else "", request.method or "GET"))
        except UserInputError as error:
            return error_response(request, error)
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


def too_little(membership: Membership, least: Least) -> UserInputError:
    """The refusal of a member whose role is too small."""
    if not membership.may_write:
        return viewers_only_look()
    return UserInputError(
        f"This takes the role of {'an owner' if least == Least.OWNER else 'an admin or owner'} of the workspace.",
        code="permission_denied",
        fix="Ask an owner of the workspace.",
    )


def viewers_only_look() -> UserInputError:
    """The refusal of a viewer who tries to change something."""
    return UserInputError(
        "As a viewer of this workspace you can look, but not change anything.",
        code="permission_denied",
        fix="Ask an admin of the workspace for the member role.",
    )
