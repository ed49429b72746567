"""The studio: models, devices, jobs and results of one workspace."""

from __future__ import annotations

from django.apps import AppConfig


class EdgeAiConfig(AppConfig):
    """The edge_ai app."""

    name = "edge_ai"
    verbose_name = "Edge AI studio"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from edge_ai import checks  # noqa: F401 - registers the system checks
        from edge_ai.services import audit  # noqa: F401 - listens to what accounts tell
