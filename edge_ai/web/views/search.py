"""Finding anything by its name, digest or id."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from edge_ai.web.finding import LONGEST, SHOWN, SUGGESTED, find
from edge_ai.web.pages import page, wants_fragment


@in_workspace
@require_safe
def search(request: MemberRequest) -> HttpResponse:
    """Everything that matches, by kind; for htmx, which asks while somebody types, the first few of each as suggestions."""
    words = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST]
    suggesting = wants_fragment(request)
    context = {"searched": words, "groups": find(request.user, words, most=SUGGESTED if suggesting else SHOWN)}
    return page(request, "parts/suggestions.html" if suggesting else "edge_ai/search.html", context)
