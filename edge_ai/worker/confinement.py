"""At which level of the sandbox jobs run on this host, or why none may run."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

from django.conf import settings

from edge_ai.sandbox import Level, SandboxError
from edge_ai.sandbox.probe import find

log = logging.getLogger(__name__)


def establish() -> dict[str, Any]:
    """Find the level by attacks, for the workers that this process starts; returns what a cluster's row says of it.

    What was found goes to the workers in their environment: each of them would find the same.
    """
    found = find(settings.SANDBOX_LEVEL, allow_none=settings.SANDBOX_ALLOW_NONE)
    os.environ["SANDBOX_PROBED"] = f"{settings.SANDBOX_LEVEL}:{found.level}:{found.refused}"
    if found.refused:
        log.error("Jobs are refused. %s", found.refused)
    elif found.level is Level.NONE:
        log.error("Jobs run without a sandbox, as SANDBOX_ALLOW_NONE allows: a hostile model can do what workers can.")
    elif found.level is Level.PARTIAL:
        log.warning("The sandbox is only partial: bubblewrap holds alone. The page “Sandbox” says what is missing.")
    else:
        log.info("The sandbox level is %s.", found.level)
    return {"sandbox_level": found.level.value, "sandbox_report": found.report()}


def level() -> Level:
    """Return the level that jobs run at.

    Raises
    ------
    SandboxError
        No job may begin here.
    """
    wanted, _, found = settings.SANDBOX_PROBED.partition(":")
    if wanted != settings.SANDBOX_LEVEL:
        found = _probed(settings.SANDBOX_LEVEL, settings.SANDBOX_ALLOW_NONE)
    name, _, refused = found.partition(":")
    if refused:
        raise SandboxError(f"No job can begin here. {refused}")
    return Level(name)


@functools.cache
def _probed(wanted: str, allow_none: bool) -> str:
    """Find out in a process that no supervisor has started."""
    found = find(wanted, allow_none=allow_none)
    return f"{found.level}:{found.refused}"
