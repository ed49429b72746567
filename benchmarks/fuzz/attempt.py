"""One file, taken in as the studio takes it in: sniffed in this process, then opened by a child in the sandbox."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import CODES, EngineError
from edge_ai.engine.sniff import read_dataset_header, sniff_model
from edge_ai.sandbox import Child, Limits, WatchedChild, python_module
from edge_ai.sandbox.warm import WarmProcess as WarmProcess

READ_SECONDS: Final = 0.25
MODEL: Final = "model.bin"
DATASET: Final = "dataset.npz"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended.

    Parameters
    ----------
    step
        Where: "upload" for what the web process refuses, else what the child was told to do.
    code
        "accepted", or the code of the error that a person sees.
    detail
        The error's message.
    signal
        The number of the signal that ended the child by its own fault, 0 where none did.
    seconds
        How long it took; processor seconds where the web process sniffs, which nothing stops.
    words
        All that the child said, on both streams.
    message
        Its last message.
    """

    step: str
    code: str
    detail: str = ""
    signal: int = 0
    seconds: float = 0.0
    words: str = ""
    message: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Nothing was found fault with."""
        return self.code == "accepted"

    def faults(self, *, limit_seconds: float) -> list[str]:
        """Return what must not be, whatever the file is."""
        found = []
        if self.code == "internal_error":
            found.append("internal_error")
        elif self.code not in CODES and not self.accepted:
            found.append("unknown code")
        if "Traceback (most recent call last)" in self.words and self.code != "internal_error":
            found.append("traceback")
        if self.seconds > limit_seconds:
            found.append("too slow")
        return found


def sniff(path: Path, *, dataset: bool = False) -> tuple[Ending, str]:
    """Look at a file as the web process does; returns the format that it is taken for, too."""
    # Of this thread: what others do on the machine is no fault of the file.
    began = time.thread_time()
    format = ""
    try:
        if dataset:
            read_dataset_header(path)
        else:
            format = sniff_model(path).format.value
        code, detail = "accepted", ""
    except EngineError as error:
        code, detail = error.code, error.message
    except Exception as error:
        # Whatever else is raised would be a page that says only that something unexpected happened.
        code, detail = "internal_error", f"{type(error).__name__}: {error}"
    return Ending(step="upload", code=code, detail=detail, seconds=time.thread_time() - began), format


def attempt(
    request: Mapping[str, Any], *, step: str, folder: Path, limits: Limits, warm: WarmProcess | None = None
) -> Ending:
    """Give a request to a child, a fork of ``warm`` or a new process, and follow it to its end as a worker does."""
    began = time.monotonic()
    told = json.dumps(request).encode()
    child: WatchedChild
    if warm is None:
        child = Child(python_module("edge_ai.engine", "run"), folder=folder, stdin=told, limits=limits)
    else:
        child = warm.child(folder=folder, stdin=told, limits=limits)
    words: list[str] = []
    message: dict[str, Any] = {}
    try:
        while not child.finished:
            for stream, line in child.read(READ_SECONDS):
                words.append(line)
                if stream == "out":
                    message = _message(line) or message
    finally:
        child.close()
    code, detail, signal = _ending(child, message)
    return Ending(
        step=step,
        code=code,
        detail=detail,
        signal=signal,
        seconds=time.monotonic() - began,
        words="\n".join(words),
        message=message,
    )


def emptied(folder: Path) -> Path:
    """Make ``folder`` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _message(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("type") in {"result", "error"} else None


def _ending(child: WatchedChild, message: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return code, detail and signal; see :meth:`edge_ai.worker.babysitter.Babysitter`, which tells people the same."""
    if child.killed_for is not None:
        return child.killed_for.code, str(child.killed_for), 0
    status = child.returncode or 0
    if message.get("type") == "result" and status == 0:
        return "accepted", "", 0
    if message.get("type") == "error":
        return str(message["code"]), str(message["message"]), 0
    return "engine_crashed", f"The engine ended without an answer (status {status}).", max(0, -status)
