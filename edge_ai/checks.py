"""System checks of the studio's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register(deploy=True)
def sandbox_settings(app_configs: Sequence[Any] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when settings let jobs run without being held. Whether a level works is tried by supervisors alone."""
    found: list[CheckMessage] = []
    if settings.SANDBOX_ALLOW_NONE:
        found.append(
            Warning(
                "SANDBOX_ALLOW_NONE lets jobs run where nothing holds them.",
                hint="A hostile model could then do whatever workers can. See docs/sandbox.md for how to raise the level.",
                id="edge_ai.W002",
            )
        )
    if settings.SANDBOX_LEVEL in {"partial", "none"}:
        found.append(
            Warning(
                f"SANDBOX_LEVEL is {settings.SANDBOX_LEVEL}, which holds jobs less well than this host may be able to.",
                hint="Leave it unset: the best level that works is then used.",
                id="edge_ai.W003",
            )
        )
    return found


@register(deploy=True)
def not_root(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when a production studio runs as root."""
    if os.geteuid() == 0 and not settings.EMBEDDED_DATABASE:
        return [
            Warning(
                "The studio runs as root.",
                hint="Run web and workers as an ordinary user: children of root have more within reach.",
                id="edge_ai.W001",
            )
        ]
    return []
