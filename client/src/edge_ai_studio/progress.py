"""Bars on standard error. In a file or a log they are lines, so that nothing has to be overwritten there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[int, int], None]
"""Told of bytes as they pass: how many so far, and of how many."""

WIDTH = 24
#: Over less time, in seconds, a rate says nothing.
SHORTEST = 0.02


def megabytes(count: float) -> str:
    """Return a size in MB of 10^6 bytes."""
    return f"{count / 1e6:.3g} MB" if count < 1e9 else f"{count / 1e9:.3g} GB"


def _drawn(share: float) -> str:
    full = round(WIDTH * min(1.0, max(0.0, share)))
    return "█" * full + "░" * (WIDTH - full)


class JobBar:
    """The state of a job."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._last: tuple[str, str] | None = None

    def show(self, status: str, stage: str, percent: int) -> None:
        """Draw the state anew; in a log, when the stage is another."""
        words = f"{status}{f', {stage}' if stage and status == 'running' else ''}"
        if self._live:
            self._out.write(f"\r\x1b[K{_drawn(percent / 100)} {percent:3d} %  {words}")
            self._out.flush()
        elif (status, stage) != self._last:
            self._out.write(f"{percent:3d} %  {words}\n")
            self._out.flush()
        self._last = (status, stage)

    def close(self) -> None:
        """End the line."""
        if self._live and self._last:
            self._out.write("\n")
            self._out.flush()


class BytesBar:
    """Bytes on their way: how many, how fast, how long to go. An instance is a :data:`Progress`."""

    def __init__(self, out: TextIO, title: str) -> None:
        self._out = out
        self._title = title
        self._live = out.isatty()
        self._began: float | None = None
        self._first = 0
        self._shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began, self._first = now, done
        if done < total and (not self._live or now - self._shown < 0.1):
            return
        self._shown = now
        passed = now - self._began
        rate = (done - self._first) / passed if passed >= SHORTEST else 0.0
        left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
        speed = f", {megabytes(rate)}/s" if rate else ""
        line = f"{self._title}  {megabytes(done)} of {megabytes(total)}{speed}{left}"
        if self._live:
            self._out.write(f"\r\x1b[K{_drawn(done / total if total else 1)}  {line}" + ("\n" if done >= total else ""))
        else:
            self._out.write(line + "\n")
        self._out.flush()
