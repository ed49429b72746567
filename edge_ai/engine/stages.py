"""Finished stages: what one attempt leaves behind, and another takes up instead of doing it again.

A stage is a folder called after the SHA-256 of all that decides its outcome: the input's bytes, what is done to them, with
which options, by which code and which libraries. It holds files, a JSON value, and the hash of each file. Who keeps such
folders between attempts is not this module's affair: it writes to :data:`FINISHED` and reads from :data:`EARLIER`, both in
the work folder. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from edge_ai.engine.identity import code_sha256, content_key, library_versions
from edge_ai.engine.progress import Progress

FINISHED: Final = "stages"
"""Where stages are left, each complete from the moment when it has its name."""

EARLIER: Final = "earlier"
"""Where stages of earlier attempts lie when the work begins."""

DESCRIPTION: Final = "stage.json"
SCOPE: Final = "scope"
"""A file that says which requests a stage is of use for: empty for all, a target format, or ``format/precision``."""

COPIED_PER_SECOND: Final = 200 << 20
"""How many bytes are copied and hashed in a second, on a slow disk: what is done again more quickly is not kept."""

KEY: Final = re.compile(r"[0-9a-f]{64}")
_FILES: Final = "files"


@runtime_checkable
class StageListener(Protocol):
    """Progress that wants to know of finished stages while the work goes on."""

    def stage_done(self, key: str) -> None:
        """Say that the stage of this key is complete."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage that need not be done again.

    Parameters
    ----------
    files
        The folder with its files; they may be moved away.
    value
        What else came of it, as plain values.
    seconds
        How long it took when it was done.
    """

    files: Path
    value: dict[str, Any]
    seconds: float


class Stages:
    """The stages of one piece of work. Whatever is wrong with a kept one, it is done again: nothing rests on them.

    Parameters
    ----------
    workdir
        The work folder.
    active
        Without it nothing is taken and nothing is left.
    facts
        What is the same for all of them, such as the hash of the source.
    progress
        Told what is taken, and what is finished.

    Attributes
    ----------
    saved_seconds
        How long what was taken had taken when it was done.
    """

    def __init__(self, workdir: Path, *, active: bool, facts: Mapping[str, Any], progress: Progress) -> None:
        self.saved_seconds = 0.0
        self._finished = workdir / FINISHED
        self._earlier = workdir / EARLIER
        self._active = active
        self._progress = progress
        self._facts = dict(facts) | {
            "engine": code_sha256(),
            "libraries": library_versions(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "machine": platform.machine(),
        }

    def key(self, stage: str, **facts: Any) -> str:
        """Return the key of a stage, by all that decides its outcome besides what is the same for all."""
        return content_key(self._facts | {"stage": stage, "of": facts})

    def take(self, key: str, title: str) -> Stage | None:
        """Return the stage of this key where an earlier attempt finished it, and say so."""
        if not self._active:
            return None
        folder = self._earlier / key
        try:
            described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            stage = Stage(files=folder / _FILES, value=described["value"], seconds=float(described["seconds"]))
            if _hashes(stage.files) != described["files"]:
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        self.saved_seconds += stage.seconds
        saved = f"; {stage.seconds:.1f} s saved" if stage.seconds >= 0.05 else ""
        self._progress.log("info", f"Stage “{title}”: taken from an earlier attempt{saved}.")
        return stage

    def keep(
        self, key: str, *, value: Mapping[str, Any], seconds: float, files: Mapping[str, Path], scope: str = ""
    ) -> None:
        """Leave a finished stage behind, unless doing it again is quicker than copying it.

        Failing to, for want of room or because it has no plain form, harms nothing.

        Parameters
        ----------
        value
            What came of it, as plain values.
        files
            Files or folders, by the names that they get in the stage; they are copied.
        scope
            Which requests it is of use for; see :data:`SCOPE`.
        """
        if not self._active or (self._finished / key).exists():
            return
        if sum(map(_size_of, files.values())) > seconds * COPIED_PER_SECOND:
            return
        unfinished = self._finished / f"unfinished-{key[:16]}"
        try:
            held = unfinished / _FILES
            held.mkdir(parents=True)
            for name, path in files.items():
                copy_of(path, held / name)
            described = {"value": value, "seconds": round(seconds, 3), "files": _hashes(held)}
            (unfinished / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
            (unfinished / SCOPE).write_text(scope, encoding="utf-8")
            unfinished.rename(self._finished / key)
        except (OSError, TypeError, ValueError):
            shutil.rmtree(unfinished, ignore_errors=True)
            return
        if isinstance(self._progress, StageListener):
            self._progress.stage_done(key)


def copy_of(source: Path, target: Path) -> None:
    """Copy a file, or a folder with all that is in it."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def move(source: Path, target: Path) -> None:
    """Put what a stage holds where the work expects it; whatever lies there goes."""
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:  # not ours to move away
        copy_of(source, target)


def _size_of(path: Path) -> int:
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size if path.exists() else 0


def _hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder, by its path; folders without files count for nothing."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
