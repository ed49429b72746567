"""The levels of the sandbox, and which layers each is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How well a child is held."""

    STRONG = "strong"
    STANDARD = "standard"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What a level is made of, besides the limits, the watchdog and the scrubbed environment, which all have."""

    bubblewrap: bool
    landlock: bool
    seccomp: bool


LAYERS = {
    Level.STRONG: Layers(bubblewrap=True, landlock=True, seccomp=True),
    Level.STANDARD: Layers(bubblewrap=False, landlock=True, seccomp=True),
    Level.PARTIAL: Layers(bubblewrap=True, landlock=False, seccomp=False),
    Level.NONE: Layers(bubblewrap=False, landlock=False, seccomp=False),
}
#: From the best to the worst.
BEST_FIRST = (Level.STRONG, Level.STANDARD, Level.PARTIAL)
