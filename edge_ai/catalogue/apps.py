"""The catalogue app."""

from __future__ import annotations

from django.apps import AppConfig


class CatalogueConfig(AppConfig):
    """Device templates."""

    name = "edge_ai.catalogue"
    label = "catalogue"
    verbose_name = "Device catalogue"
    default_auto_field = "django.db.models.BigAutoField"
