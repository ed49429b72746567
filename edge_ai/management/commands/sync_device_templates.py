"""Bring device templates in line with the catalogue file and this machine, in every workspace."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from edge_ai.services.devices import sync_templates


class Command(BaseCommand):
    """``manage.py sync_device_templates``; part of ``bootstrap``, and safe to run at any time."""

    help = "Bring device templates in line with edge_ai/devices.toml and this machine, and every workspace with them."

    def handle(self, *args: Any, **options: Any) -> None:
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
        self.stdout.write(f"{sync_templates()} device profiles were brought up to date.")
