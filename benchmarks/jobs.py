"""Running one job of the engine, or any command, and taking its time."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ai.engine.spec import Spec, spec_to_json
from edge_ai.sandbox import Child, Limits, WatchedChild, python_module

LIMITS = Limits(wall_seconds=1800, memory_bytes=12 << 30)
READ_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a job took, from the start of its process to its end, and what it said.

    Parameters
    ----------
    wall_s
        Wall time in seconds.
    answer
        The engine's last message.
    size_bytes
        Size of the file that was made; 0 when there is none.
    """

    wall_s: float
    answer: dict[str, Any] = field(default_factory=dict)
    size_bytes: int = 0


def engine_job(spec: Spec, files: Mapping[str, Path]) -> Taken:
    """Do ``spec`` as a worker does: in a sandboxed process of its own. ``files`` are put into its folder first."""
    with work_folder(files) as folder:
        told = json.dumps(spec_to_json(spec)).encode()
        began = time.monotonic()
        child = Child(python_module("edge_ai.engine", "run"), folder=folder, stdin=told, limits=LIMITS)
        answer = last_message(child)
        child.close()
        return _taken(time.monotonic() - began, answer)


def last_message(child: WatchedChild) -> dict[str, Any]:
    """Read a child to its end; returns the last message of its protocol."""
    last = "{}"
    while not child.finished:
        for stream, line in child.read(READ_SECONDS):
            if stream == "out":
                last = line
    if child.killed_for is not None:
        return {"type": "error", "code": child.killed_for.code, "message": str(child.killed_for)}
    answer: dict[str, Any] = json.loads(last)
    return answer


def command(argv: Sequence[str], *, folder: Path, environment: Mapping[str, str], made: Path | None = None) -> Taken:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        It failed.
    """
    began = time.monotonic()
    done = subprocess.run(
        list(argv), cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    wall_s = time.monotonic() - began
    if done.returncode or (made is not None and not made.is_file()):
        raise RuntimeError(f"{' '.join(argv)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    answer = json.loads(done.stdout.splitlines()[-1]) if made is None else {}
    return Taken(wall_s=wall_s, answer=answer, size_bytes=made.stat().st_size if made else 0)


@contextmanager
def work_folder(files: Mapping[str, Path]) -> Iterator[Path]:
    """Make a folder with copies of ``files`` under new names; it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        for target, source in files.items():
            shutil.copy(source, folder / target)
        yield folder


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def passes_of(answer: Mapping[str, Any]) -> str:
    """Say where an optimization spent its time."""
    passes = answer.get("result", {}).get("passes", [])
    return ", ".join(f"{item['name']} {item['seconds']:.2f}" for item in passes)


def _taken(wall_s: float, answer: dict[str, Any]) -> Taken:
    if answer.get("type") != "result":
        raise RuntimeError(f"The engine did not do it: {answer}")
    return Taken(wall_s=wall_s, answer=answer, size_bytes=int(answer["result"].get("size_bytes", 0)))
