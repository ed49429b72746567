"""Who may use the API: members of a workspace, with a key whose scope covers the method; viewers only look."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.access import too_little
from accounts.features import require
from config.features import needed
from config.permissions import door_of, is_enough
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
        match = request.resolver_match
        rule = door_of(match.view_name if match else "", request.method or "GET")
        key = api_key_of(request)
        if key is not None and not key.allows(rule.scope):
            raise UserInputError(
                f"The API key's scope does not cover this: it needs “{rule.scope}” and has {', '.join(key.scopes)}.",
                code="permission_denied",
                fix="Use a key with more scope.",
            )
        if not is_enough(membership.role, rule.least):
            raise too_little(membership, rule.least)
        require(needed(match.view_name if match else "", request.method or "GET"))
        return True
