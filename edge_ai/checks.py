"""System checks of the studio's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register(deploy=True)
def not_root(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when a production studio runs as root."""
    if os.geteuid() == 0 and not settings.EMBEDDED_DATABASE:
        return [
            Warning(
                "The studio runs as root.",
                hint="Run web and workers as an ordinary user: root ignores the process limit of engine children.",
                id="edge_ai.W001",
            )
        ]
    return []
