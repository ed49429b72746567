"""How work in the engine tells how far it is, and what files it made. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Level = Literal["info", "warning", "error"]


class Progress(Protocol):
    """Who is told."""

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Say which stage has begun, and how much of the whole is done in percent."""

    def log(self, level: Level, message: str) -> None:
        """Say something worth keeping."""


class Growing:
    """Progress that never falls back, whoever reports it: what comes in between tries knows nothing of their number."""

    def __init__(self, told: Progress) -> None:
        self._told = told
        self._percent = 0

    def stage(self, name: str, progress: int, message: str = "") -> None:
        """Say which stage has begun, and the most of the whole that was done so far in percent."""
        self._percent = max(self._percent, progress)
        self._told.stage(name, self._percent, message)

    def log(self, level: Level, message: str) -> None:
        """Say something worth keeping."""
        self._told.log(level, message)


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file that the work made; ``path`` is relative to the work folder."""

    role: str
    path: str
    name: str
    mime_type: str = "application/octet-stream"
    format: str | None = None
