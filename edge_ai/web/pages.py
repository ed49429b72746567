"""What views share: pages of a list, sorting through the URL, fragments for htmx, redirects after a post."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Model as DjangoModel
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url

PAGE_SIZE = 25
UNPROCESSABLE = 422

M = TypeVar("M", bound=DjangoModel)


def listed(
    request: HttpRequest, rows: QuerySet[M], *, columns: Mapping[str, str], default: str, page_size: int = PAGE_SIZE
) -> tuple[Page[M], str]:
    """Return the page of a list that the URL asks for, and how it is sorted.

    Parameters
    ----------
    columns
        The names that the URL may sort by, and the field behind each. Rows that are equal are told apart by their key, so
        that no row is on two pages.
    default
        How the list is sorted when the URL says nothing, or something that is not known.
    """
    ordering = request.GET.get("ordering", "")
    if ordering.removeprefix("-") not in columns:
        ordering = default
    field = columns[ordering.removeprefix("-")]
    sign = "-" if ordering.startswith("-") else ""
    found = Paginator(rows.order_by(f"{sign}{field}", "pk"), page_size).get_page(request.GET.get("page"))
    return found, ordering


def chosen(request: HttpRequest, name: str, values: list[str]) -> str:
    """Return the value of a filter in the URL, or an empty string for one that is not known."""
    value = request.GET.get(name, "")
    return value if value in values else ""


def wants_fragment(request: HttpRequest) -> bool:
    """Tell whether htmx asks, for the live block of a page."""
    return bool(getattr(request, "htmx", False))


def page(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """Render a page, or only its live block when htmx asks."""
    context["layout"] = "fragment.html" if wants_fragment(request) else "base.html"
    response = render(request, template, context, status=status)
    response["Cache-Control"] = "private, no-store"
    response["Vary"] = "HX-Request, Cookie"
    return response


def see_other(to: Any, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
    """Redirect after a post: the browser gets the other page."""
    return HttpResponseRedirect(resolve_url(to, *args, **kwargs), status=303)


def uploaded(request: HttpRequest, to: Any, *args: Any) -> HttpResponse:
    """Lead to what an upload became. A script is told where, since it would follow a redirect and use the message up."""
    if request.headers.get("X-Upload"):
        return HttpResponse(status=201, headers={"Location": resolve_url(to, *args)})
    return see_other(to, *args)
