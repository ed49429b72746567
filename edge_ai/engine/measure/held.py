"""A model that is kept loaded in a process of its own and measured in blocks, from the parent's side."""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from edge_ai.engine.errors import ResourceError
from edge_ai.engine.measure.child import end_of, start_runner

_ALLOWANCE_SECONDS: Final = 120.0
"""For loading a model, and for an inference that outlasts its block."""


class HeldModel:
    """A process that holds a model; `ask` is answered when it has done what it was told.

    Parameters
    ----------
    task
        What `edge_ai.engine.measure.runner` reads, with the task ``blocks``.
    workdir
        The process' current folder.
    """

    def __init__(self, task: Mapping[str, Any], workdir: Path) -> None:
        self._task = task
        self._workdir = workdir
        self._pending = b""
        self._process = start_runner(workdir)
        self._send(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # What could not be written to a process that is gone is lost with it.
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def ready(self) -> None:
        """Wait until the model is loaded.

        Raises
        ------
        EngineError
            As `edge_ai.engine.measure.child.run_task`.
        """
        self._read(_ALLOWANCE_SECONDS)

    def warm_up(self, max_seconds: float) -> int:
        """Run until the latency has settled, for about so long at most; returns what one inference takes, in ns."""
        return int(self._ask({"do": "warm_up", "max_seconds": max_seconds}, max_seconds)["run_ns"])

    def block(self, milliseconds: float) -> int:
        """Run a block of about that length, at least one inference; returns its median latency in ns."""
        return int(self._ask({"do": "block", "ms": milliseconds}, milliseconds / 1e3)["median_ns"])

    def finish(self) -> dict[str, Any]:
        """End the process; returns what it says of its runtime and of the noise. Its samples are in its file then."""
        result: dict[str, Any] = self._ask({"do": "finish"}, 0.0)["result"]
        return result

    def _ask(self, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        self._send(command)
        return self._read(seconds + _ALLOWANCE_SECONDS)

    def _send(self, command: Mapping[str, Any]) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(json.dumps(dict(command)).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # It has ended; why is told by what it wrote last, which is read next.
            return

    def _read(self, timeout_s: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._line(time.monotonic() + timeout_s) or b"{}")
        if message.get("type") in ("done", "result"):
            return message
        raise end_of(self._process, message or None, self._task, self._workdir)

    def _line(self, deadline_s: float) -> bytes:
        """Return the next line, or nothing when the process has ended."""
        stdout = self._process.stdout
        if stdout is None:
            return b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise ResourceError(
                        "A model took far longer for its inferences than its time budget and was stopped.",
                        code="resource_limit",
                        fix="Give it more seconds, or a smaller batch.",
                    )
                chunk = os.read(stdout.fileno(), 1 << 16)
                if not chunk:
                    return b""
                self._pending += chunk
        line, self._pending = self._pending.split(b"\n", 1)
        return line
