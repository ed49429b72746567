"""Remove a workspace for good."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from edge_ai.engine.errors import EngineError
from edge_ai.services.workspace_removal import remove_workspace


class Command(BaseCommand):
    """``manage.py remove_workspace SLUG [--now]``."""

    requires_system_checks = ()  # the web processes run them; here they would only cost time
    help = (
        "Remove a workspace whose deletion was asked for and whose time to think again is over: its files, its schema, "
        "and who belonged to it. Workers do so by themselves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="Short name of the workspace.")
        parser.add_argument("--now", action="store_true", help="At once, whether anybody asked for it or not.")

    def handle(self, *args: Any, **options: Any) -> None:
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
        try:
            remove_workspace(options["slug"], now=options["now"])
        except EngineError as error:
            raise CommandError(f"{error.message} {error.fix}") from error
        self.stdout.write(f"The workspace {options['slug']} is gone.")
