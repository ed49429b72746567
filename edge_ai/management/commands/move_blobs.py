"""Move all stored files from one storage to another while the studio runs."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from edge_ai.engine.errors import EngineError
from edge_ai.services.blob_moves import move


class Command(BaseCommand):
    """``manage.py move_blobs --to BACKEND [--from BACKEND] [--keep]``."""

    requires_system_checks = ()  # the web processes run them; here they would only cost time
    help = (
        "Move all stored files to STORAGE_BACKEND from STORAGE_FALLBACK_BACKEND while the studio runs with both set. Each is "
        "read back, and leaves its old place when links to it have run out. May be stopped and begun again at any time. The "
        "exit status is 1 when something could not be moved."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        backends = settings.STORAGE_BACKENDS
        parser.add_argument("--to", required=True, choices=backends, help="Where to; what STORAGE_BACKEND says.")
        parser.add_argument(
            "--from", dest="source", choices=backends, help="Where from; what STORAGE_FALLBACK_BACKEND says."
        )
        parser.add_argument("--keep", action="store_true", help="Leave the files in their old place, too.")

    def handle(self, *args: Any, **options: Any) -> None:
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
        target, source = settings.STORAGE_BACKEND, settings.STORAGE_FALLBACK_BACKEND
        if options["to"] != target or source == "none" or (options["source"] or source) != source:
            raise CommandError(
                f"STORAGE_BACKEND is {target} and STORAGE_FALLBACK_BACKEND {source}. Set them to where the files are to go "
                "and where they are now, for every process of the studio and for this command, and restart."
            )
        try:
            moved = move(keep=options["keep"], say=self.stdout.write)
        except EngineError as error:
            raise CommandError(f"{error.message} {error.fix}") from error
        self.stdout.write(
            f"{moved.copied} files ({moved.size_bytes / 1e6:.1f} MB) were copied to {target}; {moved.removed} were removed "
            f"from {source}."
        )
        for name in moved.damaged:
            self.stdout.write(f"  not moved, as it is not what its name says: {name}")
        for name in moved.left:
            self.stdout.write(f"  left, as no row means it: {name}")
        if moved.damaged:
            self.stdout.write("`manage.py verify_blobs` tells what needs them.")
            sys.exit(1)
        if not options["keep"]:
            self.stdout.write(f"Nothing is read from {source} any more: unset STORAGE_FALLBACK_BACKEND, and restart.")
