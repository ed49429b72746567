"""Who is asking, and in which workspace: decided once for each request, before any view runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers

from accounts.actor import acted_by, actor_of
from accounts.models import ApiKey, Domain, Membership, User, Workspace, enterable
from accounts.sessions import note_seen
from config.database.backend.base import SYSTEM
from config.database.identity import acting_as_system, current
from config.errors import error_response, is_api
from config.logs import about
from edge_ai.engine.errors import UserInputError

SESSION_KEY = "workspace"
HEADER = "X-Tenant-ID"
PARAMETER = "tenant_id"
INVITATIONS = "/invitations/"
#: Pages that no cache may keep: recovery codes, secrets of apps, links from mails.
NEVER_KEPT = ("/accounts/", "/settings/account/")


class WorkspaceMiddleware:
    """Sets ``request.workspace``, ``membership``, ``memberships``, ``api_key`` and the actor; leaves nothing behind.

    The workspace is the one named by the ``X-Tenant-ID`` header, else by ``?tenant_id=``, else by the host, else the one
    chosen in the session, else the only one that the user belongs to. A workspace that does not exist and one that the
    user is no member of are the same answer: 404.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        wrapper = current()
        wrapper.reset_to_public()
        request.workspace = None  # type: ignore[attr-defined]  # what this middleware adds to every request
        request.membership = None  # type: ignore[attr-defined]
        request.api_key = None  # type: ignore[attr-defined]
        # Those of the user, once they were asked for: also the shell of every page shows them.
        request.memberships = None  # type: ignore[attr-defined]
        try:
            if request.path != "/health/":
                refusal = self._enter(request)
                if refusal is not None:
                    return refusal
                with acted_by(actor_of(request)), about(user=request.user.pk, workspace=_slug(request)):
                    response = self.get_response(request)
            else:
                response = self.get_response(request)
            if request.path.startswith(NEVER_KEPT):
                add_never_cache_headers(response)
            return response
        finally:
            wrapper.reset_to_public()

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Let allauth's pages act for the studio: they look for people who are nobody yet, and ask for the user's rows."""
        if view.__module__.partition(".")[0] == "allauth":
            current().set_identity(SYSTEM)

    def _enter(self, request: HttpRequest) -> HttpResponse | None:
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        # Keys open the API alone: pages know no scopes, and one of them makes keys.
        if scheme.lower() == "bearer" and is_api(request):
            with acting_as_system():
                key = ApiKey.objects.get_queryset().find(presented.strip())  # type: ignore[attr-defined]
                if key is None:
                    return error_response(request, _bad_key())
                key.note_use()
            request.user = key.user
            request._cached_user = key.user  # type: ignore[attr-defined]  # what django.contrib.auth keeps
            request.api_key = key  # type: ignore[attr-defined]
            named = named_slug(request)
            if named and named != key.workspace.slug:
                return error_response(request, no_workspace())
            _settle(request, key.user, key.workspace, key.membership)
            return None
        if not request.user.is_authenticated:
            return None
        user = request.user
        current().set_user(user.pk)
        note_seen(request)
        if request.path.startswith(INVITATIONS):
            # Whoever is invited is no member yet, whatever workspace the host, or a session, means.
            return None
        explicit, found = self._find(request, user)
        if explicit and found is None:
            return error_response(request, no_workspace())
        if found is not None:
            _settle(request, user, found.workspace, found)
        if user.is_staff and request.path.startswith("/admin/"):
            # The admin pages act for the studio; what they may show is decided by permissions, not by ownership.
            current().set_identity(SYSTEM)
        return None

    def _find(self, request: HttpRequest, user: User) -> tuple[bool, Membership | None]:
        """Return whether a workspace was asked for, and the membership in the one that is meant."""
        memberships = request.memberships = memberships_of(user)  # type: ignore[attr-defined]
        slug = named_slug(request)
        if slug:
            return True, next((each for each in memberships if each.workspace.slug == slug), None)
        host = request.get_host().rsplit(":", 1)[0]
        if host not in settings.PLAIN_HOSTS:
            domain = Domain.objects.filter(domain=host).values_list("tenant_id", flat=True).first()
            # An unknown workspace of our own host is asked for as much as a known one; other hosts may mean none.
            if domain is not None or any(host.endswith("." + plain) for plain in settings.PLAIN_HOSTS):
                return True, next((each for each in memberships if each.workspace_id == domain), None)
        chosen = request.session.get(SESSION_KEY)
        for membership in memberships:
            if str(membership.workspace_id) == chosen:
                return False, membership
        return False, memberships[0] if len(memberships) == 1 else None


def memberships_of(user: User) -> list[Membership]:
    """Return where a user may work, with the workspaces, by their names."""
    mine = Membership.objects.filter(enterable(), user=user).select_related("workspace")
    return list(mine.order_by("workspace__name"))


def _slug(request: Any) -> str:
    return request.workspace.slug if request.workspace else ""


def named_slug(request: HttpRequest) -> str:
    """Return the workspace that the request names outright, or an empty string."""
    return (request.headers.get(HEADER) or request.GET.get(PARAMETER) or "").strip()


def no_workspace() -> UserInputError:
    """The answer to a workspace that does not exist, and to one that is none of the asker's business."""
    return UserInputError(
        "There is no such workspace, or you are not a member of it.",
        code="not_found",
        fix="Check the workspace's short name.",
    )


def _bad_key() -> UserInputError:
    return UserInputError(
        "The API key is not valid: unknown, expired or revoked.",
        code="not_authenticated",
        fix="Make a new key under Settings, or with `manage.py create_workspace`.",
    )


def _settle(request: Any, user: User, workspace: Workspace, membership: Membership) -> None:
    request.workspace = workspace
    request.membership = membership
    connection.set_tenant(workspace)  # type: ignore[attr-defined]  # the tenant backend's
    current().set_user(user.pk)
