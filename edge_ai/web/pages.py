"""What views share: choices in the URL, fragments for htmx, redirects after a post."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse

from accounts.access import MemberRequest, View
from edge_ai.web.listing import Listing

UNPROCESSABLE = 422


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


def list_page(
    request: MemberRequest, template: str, found: Listing, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render a page with a list, or only the list when htmx asks for another part or order of it.

    The view that the address asks for is remembered by the browser until it is closed, for :func:`comes_back`. The cookie
    is signed for one person in one workspace, since a filter may name something that others do not see.
    """
    response = page(request, template, context | {"listing": found}, status=status)
    if request.method == "GET" and request.META.get("QUERY_STRING"):
        name, salt = _kept_under(request, found.of.address)
        if found.view:
            response.set_signed_cookie(
                name,
                urlencode(found.view),
                salt=salt,
                path=found.path,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        elif name in request.COOKIES:
            response.delete_cookie(name, path=found.path, samesite="Lax")
    return response


def comes_back(address: str) -> Callable[[View], View]:
    """Lead whoever asks for a list without saying how to the view of it that was looked at last.

    Goes inside ``in_workspace``; ``address`` is the name of the list's URL.
    """

    def around(view: View) -> View:
        @wraps(view)
        def guarded(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.META.get("QUERY_STRING"):
                name, salt = _kept_under(request, address)
                kept = request.get_signed_cookie(name, default="", salt=salt)
                if kept:
                    return redirect(f"{reverse(address)}?{kept}")
            return view(request, *args, **kwargs)

        return guarded

    return around


def forget_view(request: MemberRequest, response: HttpResponse, address: str) -> HttpResponse:
    """Have a list come back whole: the view that was looked at last may hide what has been added since."""
    response.delete_cookie(_kept_under(request, address)[0], path=reverse(address), samesite="Lax")
    return response


def _kept_under(request: MemberRequest, address: str) -> tuple[str, str]:
    name = f"view-{address.partition(':')[2]}"
    return name, f"{name}:{request.workspace.pk}:{request.user.pk}"


def see_other(to: Any, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
    """Redirect after a post: the browser gets the other page."""
    return HttpResponseRedirect(resolve_url(to, *args, **kwargs), status=303)
