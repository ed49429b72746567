#!/usr/bin/env python
"""Django's command line. Commands that change the schema connect as the role that owns it."""

from __future__ import annotations

import os
import sys

OWNER_COMMANDS = frozenset(
    {
        "bootstrap",
        "create_workspace",
        "migrate",
        "migrate_schemas",
        "remove_workspace",
        "showmigrations",
        "sqlflush",
        "sync_device_templates",
    }
)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if len(sys.argv) > 1 and sys.argv[1] in OWNER_COMMANDS:
        os.environ["STUDIO_DATABASE_IDENTITY"] = "owner"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
