"""Which levels of the sandbox can be tested here. What cannot is skipped with the reason, for everybody to see."""

from __future__ import annotations

import functools

import pytest

from edge_ai.sandbox import Level
from edge_ai.sandbox.probe import Trial, try_level


@functools.cache
def trial(level: Level) -> Trial:
    """Try a level once."""
    return try_level(level)


def need(level: Level) -> None:
    """Skip the test where a level does not work on this host, and say why."""
    if level is not Level.NONE and not trial(level).works:
        pytest.skip(f"The sandbox level “{level}” does not work here. {trial(level).why}")
