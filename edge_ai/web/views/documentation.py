"""The documentation, for anybody."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from edge_ai.web import documentation


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List every page with its first sentences."""
    return render(request, "edge_ai/docs_index.html", {"groups": documentation.groups()})


@require_safe
def page(request: HttpRequest, name: str) -> HttpResponse:
    """Show a page with its table of contents and its neighbours."""
    shown = documentation.pages().get(name)
    if shown is None:
        raise Http404
    before, after = documentation.neighbours(name)
    return render(
        request,
        "edge_ai/docs_page.html",
        {"page": shown, "before": before, "after": after, "groups": documentation.groups(), "current": name},
    )


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Find sections by their words."""
    query = request.GET.get("q", "").strip()[: documentation.MAX_QUERY_CHARACTERS]
    found = documentation.search(query)
    return render(
        request,
        "edge_ai/docs_search.html",
        {"query": query, "found": found, "limit": documentation.MAX_FOUND, "groups": documentation.groups()},
    )
