"""What the process that measures cannot see of where it runs: the container around the sandbox, and the studio itself."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from django.conf import settings

from edge_ai.engine.measure.environment import read_container

MAX_LINKS = 5


def surroundings(sandbox_level: str) -> dict[str, object]:
    """Return what is added to the environment of a measurement that ran at that level of the sandbox."""
    return {
        "container": read_container(),
        "sandbox_level": sandbox_level or None,
        "studio_version": read_version(settings.BASE_DIR),
        "studio_commit": read_commit(settings.BASE_DIR),
    }


@cache
def read_version(root: Path) -> str | None:
    """Return the studio's version, from its project file; null where that was not brought along."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = project.get("project", {}).get("version")
    return version if isinstance(version, str) else None


@cache
def read_commit(root: Path) -> str | None:
    """Return the commit that is checked out, read as git keeps it; null where the studio is no git checkout.

    Changes that were not committed are not looked for.
    """
    try:
        folder = _git_folder(root / ".git")
        shared = folder / "commondir"
        common = (folder / shared.read_text().strip()).resolve() if shared.exists() else folder
        told = (folder / "HEAD").read_text().strip()
        for _ in range(MAX_LINKS):
            if not told.startswith("ref: "):
                break
            told = _named(told.removeprefix("ref: "), folder, common)
    except (OSError, ValueError):
        return None
    return told if len(told) in (40, 64) and set(told) <= set("0123456789abcdef") else None


def _git_folder(path: Path) -> Path:
    """Return git's folder; that of another work tree is only named by a file."""
    if path.is_dir():
        return path
    return (path.parent / path.read_text().strip().removeprefix("gitdir: ")).resolve()


def _named(name: str, folder: Path, common: Path) -> str:
    """Return what a reference holds: in a file of its own, or among the packed ones."""
    for place in (folder, common):
        if (place / name).is_file():
            return (place / name).read_text().strip()
    for line in (common / "packed-refs").read_text().splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            return commit
    raise ValueError(name)
