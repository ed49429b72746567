"""What pages show of links to comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from accounts.access import MemberRequest
from edge_ai.engine.errors import UserInputError
from edge_ai.models import ShareLink
from edge_ai.services.share_links import LIFETIMES

SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A link as its maker sees it; ``address`` is where the same is seen from within."""

    link: ShareLink
    address: str
    ended: str


def ids_of(texts: list[str]) -> list[UUID]:
    """Read ids; what is none cannot be one of a benchmark."""
    try:
        return [UUID(text) for text in texts]
    except ValueError as error:
        raise UserInputError(
            "One of the benchmarks does not exist, or it is not yours to see.",
            code="not_found",
            fix="The address may be cut short. Choose again from the list.",
        ) from error


def listed_link(link: ShareLink) -> Listed:
    """Return a link with where it leads and how it ended, if it did."""
    if link.comparison_id is not None:
        address = reverse("edge_ai:comparison-detail", args=[link.comparison_id])
    else:
        query = QueryDict(mutable=True)
        query.setlist("run", [str(run) for run in link.runs])
        query["against"] = str(link.against)
        address = f"{reverse('edge_ai:run-comparison')}?{query.urlencode()}"
    ended = "revoked" if link.revoked_at else "expired" if link.expires_at <= timezone.now() else ""
    return Listed(link=link, address=address, ended=ended)


def share_context(request: MemberRequest, **subject: Any) -> dict[str, Any]:
    """Return what the part of a page needs that shares it: how long a link may last, and the links there are."""
    if not request.membership.may_write:
        return {}
    links = ShareLink.objects.open().visible_to(request.user).filter(**subject).order_by("-created_at")
    return {
        "lifetimes": [(name, words) for name, (words, _) in LIFETIMES.items()],
        "links": [listed_link(link) for link in links[:SHOWN]],
    }
