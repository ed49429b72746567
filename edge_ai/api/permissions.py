"""Who may use the API: members of a workspace, with a key whose scope covers the method; viewers only look."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.access import viewers_only_look
from accounts.models import ApiKeyScope
from edge_ai.api.authentication import api_key_of, membership_of, workspace_of
from edge_ai.engine.errors import UserInputError


class MayUseStudio(BasePermission):
    """The door of every address of the API but the public ones."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Refuse with the reason; ``False`` is left for those who are nobody, and becomes a 401."""
        if not request.user.is_authenticated:
            return False
        membership = membership_of(request)
        if workspace_of(request) is None or membership is None:
            raise UserInputError(
                "You belong to several workspaces, or to none, and the request does not say which one is meant.",
                code="workspace_required",
                fix="Send the header X-Tenant-ID with the workspace's short name.",
            )
        writes = request.method not in SAFE_METHODS
        needed = ApiKeyScope.WRITE.value if writes else ApiKeyScope.READ.value
        key = api_key_of(request)
        if key is not None and not key.allows(needed):
            raise UserInputError(
                f"The API key's scope does not cover this: it needs “{needed}” and has {', '.join(key.scopes)}.",
                code="permission_denied",
                fix="Use a key with more scope.",
            )
        if writes and not membership.may_write:
            raise viewers_only_look()
        return True
