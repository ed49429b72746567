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


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file that the work made; ``path`` is relative to the work folder."""

    role: str
    path: str
    name: str
    mime_type: str = "application/octet-stream"
    format: str | None = None
