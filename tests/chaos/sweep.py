"""What a supervisor does every ten minutes, now and without the time of grace: ``python -m tests.chaos.sweep``."""

from __future__ import annotations

import os
from datetime import timedelta


def main() -> None:
    """Sweep every workspace."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.conf import settings

    from config.database.identity import workspace_as_system
    from edge_ai.services.leftovers import clear_leftovers
    from edge_ai.services.schemas import complete_schemas
    from edge_ai.storage import sweep

    for schema in complete_schemas():
        clear_leftovers(settings.WORK_DIR, schema)
        with workspace_as_system(schema):
            sweep(grace=timedelta(0))


if __name__ == "__main__":
    main()
