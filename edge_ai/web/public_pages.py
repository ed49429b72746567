"""What search engines are told: which pages are for everybody, where they are, and that all others are not for them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.sitemaps import Sitemap
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.http import require_safe

from edge_ai.web import documentation

#: The names of the addresses whose pages may be found by a search engine; every other answer says that it may not.
INDEXED = frozenset({"edge_ai:landing", "edge_ai:sample", "edge_ai:error-codes", "docs:index", "docs:page"})
NOT_INDEXED = "noindex, nofollow"


def is_indexed(request: HttpRequest) -> bool:
    """Tell whether this is a page for everybody."""
    match = request.resolver_match
    return match is not None and match.view_name in INDEXED


def address_on_site(request: HttpRequest, path: str) -> str:
    """Return a path with the host under which people reach the studio."""
    return f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else request.build_absolute_uri(path)


def canonical(request: HttpRequest) -> dict[str, str]:
    """Give templates the one address of a page that may be indexed, and its picture; nothing of any other page."""
    if not is_indexed(request):
        return {}
    return {
        "canonical_url": address_on_site(request, request.path),
        "card_url": address_on_site(request, static("img/card.png")),
    }


class RobotsMiddleware:
    """Say on every answer but those of public pages that no search engine may keep it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not is_indexed(request) or response.status_code != 200:
            response.headers.setdefault("X-Robots-Tag", NOT_INDEXED)
        return response


class PublicPages(Sitemap[str]):
    """The landing page and the documentation."""

    def items(self) -> list[str]:
        return [
            reverse("edge_ai:landing"),
            reverse("edge_ai:sample"),
            reverse("docs:index"),
            *(f"/docs/{name}/" for name in documentation.pages()),
        ]

    def location(self, item: str) -> str:
        return item

    def get_protocol(self, protocol: str | None = None) -> str:
        return urlsplit(settings.PUBLIC_URL).scheme or super().get_protocol(protocol)

    def get_domain(self, site: object = None) -> str:
        return urlsplit(settings.PUBLIC_URL).netloc or super().get_domain(site)  # type: ignore[arg-type]


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """Keep crawlers off what answers programs, and lead them to the public pages."""
    lines = ["User-agent: *", "Disallow: /api/", "Disallow: /admin/", "Disallow: /files/", "Disallow: /docs/search/"]
    lines.append(f"Sitemap: {address_on_site(request, reverse('sitemap'))}")
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


@require_safe
def manifest(request: HttpRequest) -> HttpResponse:
    """Let a browser put the studio among its applications."""
    icons = [
        {"src": static("img/favicon.svg"), "type": "image/svg+xml", "sizes": "any"},
        *(
            {"src": static(f"img/icon-{size}.png"), "type": "image/png", "sizes": f"{size}x{size}", "purpose": purpose}
            for size in (192, 512)
            for purpose in ("any", "maskable")
        ),
    ]
    return JsonResponse(
        {
            "name": "Edge AI Accelerator Studio",
            "short_name": "Edge AI Studio",
            "description": "Smaller, faster models for edge devices, proven still right.",
            "id": "/",
            "start_url": reverse("edge_ai:overview"),
            "scope": "/",
            "display": "minimal-ui",
            "background_color": "#ffffff",
            "theme_color": "#0e3a42",
            "icons": icons,
        },
        content_type="application/manifest+json",
    )
