"""What the shell of every page needs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership


def workspace(request: HttpRequest) -> dict[str, Any]:
    """The workspace, the membership, and the workspaces that one can switch to (asked for only when shown)."""
    user = getattr(request, "user", None)

    def switchable() -> list[Membership]:
        if user is None or not user.is_authenticated:
            return []
        return list(Membership.objects.filter(user=user).select_related("workspace").order_by("workspace__name"))

    return {
        "workspace": getattr(request, "workspace", None),
        "membership": getattr(request, "membership", None),
        "switchable_memberships": SimpleLazyObject(switchable),
    }
