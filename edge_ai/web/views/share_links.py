"""Links by which people outside see a comparison: making them, listing and revoking one's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import MemberRequest, in_workspace, may_write
from config.errors import error_response
from edge_ai.engine.errors import EngineError, UserInputError
from edge_ai.models import ComparisonJob, ShareLink
from edge_ai.services.share_links import revoke, share_comparison, share_runs
from edge_ai.web.pages import page, see_other
from edge_ai.web.public_pages import address_on_site
from edge_ai.web.share_links import SHOWN, ids_of, listed_link


@in_workspace
@may_write
@require_http_methods(["GET", "HEAD", "POST"])
def share_list(request: MemberRequest) -> HttpResponse:
    """One's own links; a post makes one.

    The answer to the post carries the link: its token is kept nowhere, so there is no page to redirect to that could show it.
    """
    made: dict[str, Any] | None = None
    if request.method == "POST":
        try:
            link, token = _made(request)
        except EngineError as error:
            return error_response(request, error)
        made = {"link": link, "address": address_on_site(request, reverse("shared-comparison", args=[token]))}
    links = [listed_link(link) for link in ShareLink.objects.visible_to(request.user).order_by("-created_at")[:SHOWN]]
    return page(request, "edge_ai/share_list.html", {"links": links, "made": made})


def _made(request: MemberRequest) -> tuple[ShareLink, str]:
    asked: dict[str, Any] = {"workspace": request.workspace, "lifetime": request.POST.get("lifetime", "")}
    if comparison := request.POST.get("comparison"):
        found = ComparisonJob.objects.visible_to(request.user).filter(pk=ids_of([comparison])[0]).first()
        if found is None:
            raise UserInputError(
                "There is no such comparison.", code="not_found", fix="It may have been deleted with its models."
            )
        return share_comparison(request.user, job=found, **asked)
    against = request.POST.get("against")
    return share_runs(
        request.user,
        run_ids=ids_of(request.POST.getlist("run")),
        against=ids_of([against])[0] if against else None,
        **asked,
    )


@in_workspace
@may_write
@require_POST
def share_revoke(request: MemberRequest, link_id: UUID) -> HttpResponse:
    """End a link at once."""
    link = get_object_or_404(ShareLink.objects.owned_by(request.user), pk=link_id)
    revoke(request.user, link=link)
    messages.success(request, f"The link to “{link.title}” is revoked: it leads nowhere now.")
    return see_other("edge_ai:share-list")
