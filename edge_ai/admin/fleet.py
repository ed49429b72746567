"""What the studio works with and on: clusters, converters, the sandbox of each host."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from edge_ai.admin import across
from edge_ai.fleet.models import Cluster
from edge_ai.services.converters import converters
from edge_ai.services.sandboxes import hosts


def converters_page(request: HttpRequest) -> HttpResponse:
    """Which converters and runtimes are installed, in which version, and what needs them."""
    return across.studio_page(request, "admin/converters.html", "converters", {"converters": converters()})


def sandbox_page(request: HttpRequest) -> HttpResponse:
    """How the children of each host's workers are held, what stopped which attack, and how to raise the level."""
    return across.studio_page(request, "admin/sandbox.html", "sandbox", {"hosts": hosts()})


@admin.register(Cluster)
class ClusterAdmin(admin.ModelAdmin[Cluster]):
    """Which clusters were heard of lately."""

    list_display = ("queue", "host", "pid", "workers", "ready", "sandbox_level", "restarts", "seen_at")

    def get_urls(self) -> list[URLPattern]:
        """Add the pages that have no rows of their own, and those of all workspaces."""
        wrap = self.admin_site.admin_view
        return [
            path("converters/", wrap(converters_page), name="edge_ai_converters"),
            path("sandbox/", wrap(sandbox_page), name="edge_ai_sandbox"),
            *across.urls(),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Cluster | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Cluster | None = None) -> bool:
        return False
