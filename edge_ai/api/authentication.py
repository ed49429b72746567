"""Who asks: what :class:`accounts.middleware.WorkspaceMiddleware` found out, told to REST framework."""

from __future__ import annotations

from typing import cast

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from accounts.models import ApiKey, Membership, Role, User, Workspace

SCOPES = ("read", "write", "admin")


class StudioAuthentication(SessionAuthentication):
    """An API key, or the browser's session together with its CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey | None] | None:
        """Return who asks and the key they used; ``None`` for nobody."""
        key = api_key_of(request)
        if key is not None:
            return key.user, key
        if super().authenticate(request) is None:
            return None
        return cast(User, request._request.user), None

    def authenticate_header(self, request: Request) -> str:
        """Make the refusal of nobody a 401."""
        return 'Bearer realm="studio"'


def actor(request: Request) -> User:
    """Return who asks. Only behind :class:`edge_ai.api.permissions.MayUseStudio`, where nobody is anonymous."""
    return cast(User, request.user)


def api_key_of(request: Request) -> ApiKey | None:
    """Return the key that the request came with."""
    return cast("ApiKey | None", getattr(request._request, "api_key", None))


def workspace_of(request: Request) -> Workspace | None:
    """Return the workspace that the request is about."""
    return cast("Workspace | None", getattr(request._request, "workspace", None))


def membership_of(request: Request) -> Membership | None:
    """Return what the asker is in that workspace."""
    return cast("Membership | None", getattr(request._request, "membership", None))


def scopes_of(request: Request) -> list[str]:
    """Return what this request may do: what the role allows, and of that what the key allows."""
    membership, key = membership_of(request), api_key_of(request)
    if membership is None:
        return []
    by_role = {Role.VIEWER.value: SCOPES[:1], Role.MEMBER.value: SCOPES[:2]}.get(membership.role, SCOPES)
    return [scope for scope in by_role if key is None or key.allows(scope)]
