"""What the shell of every page needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.features import anybody_signs_up, is_on, new_accounts
from accounts.middleware import memberships_of
from accounts.models import Membership
from config.features import Feature


def workspace(request: HttpRequest) -> dict[str, Any]:
    """The workspace, the membership, and the workspaces that one can switch to (asked for only when shown)."""
    user = getattr(request, "user", None)

    def switchable() -> list[Membership]:
        if user is None or not user.is_authenticated:
            return []
        known: list[Membership] | None = getattr(request, "memberships", None)
        return memberships_of(user) if known is None else known

    return {
        "workspace": getattr(request, "workspace", None),
        "membership": getattr(request, "membership", None),
        "single_sign_on": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
        "sign_up_open": SimpleLazyObject(anybody_signs_up),
        "sign_up_off": SimpleLazyObject(lambda: not new_accounts()),
        "features": SimpleLazyObject(lambda: {each.name.lower(): is_on(each) for each in Feature}),
        "switchable_memberships": SimpleLazyObject(switchable),
    }
