"""Keeping conversions off the processors while a benchmark measures on their host.

Where BENCHMARK_CPUS sets processors apart, conversions never run on them. Where all are measured on, there is no other place
to go: conversions stand still for as long as the host's slot is taken, though never for long at a stretch.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

import psutil
from django.conf import settings
from django.db import InterfaceError, OperationalError

from edge_ai.fleet.models import BenchmarkSlot
from edge_ai.sandbox import WatchedChild
from edge_ai.worker.story import Story

#: After standing still for so long a conversion runs for as long, measured beside or not; the measurement tells of noise.
MAX_PAUSE_SECONDS = 120.0


class Room:
    """Stops a child and lets it go on. What it stood still does not count as its time.

    Parameters
    ----------
    measures
        The child is what the others make room for.
    """

    def __init__(self, story: Story, *, measures: bool) -> None:
        self._story = story
        self._needed = not measures and settings.BENCHMARK_CPUS is None
        self._since: float | None = None
        self._not_before = 0.0
        self._told = False

    def make(self, child: WatchedChild) -> None:
        """Look whether a benchmark is measured on this host, and stop the child or let it go on."""
        if not self._needed:
            return
        now = time.monotonic()
        try:
            measured = BenchmarkSlot.objects.is_taken(socket.gethostname())
        except (OperationalError, InterfaceError):
            # Whoever keeps the lease notices as well, and deals with it.
            return
        if self._since is None:
            if measured and now >= self._not_before:
                self._since = now
                if not self._told:
                    self._story.log("info", "Stands still while a benchmark measures on this machine.")
                    self._told = True
                _signal(child, signal.SIGSTOP)
        elif not measured or now - self._since > MAX_PAUSE_SECONDS:
            if measured:
                self._not_before = now + MAX_PAUSE_SECONDS
            self.leave(child)

    def leave(self, child: WatchedChild) -> None:
        """Let the child go on, if it stands still."""
        if self._since is not None:
            child.extend(time.monotonic() - self._since)
            self._since = None
            _signal(child, signal.SIGCONT)


def _signal(child: WatchedChild, number: signal.Signals) -> None:
    """Send a signal to a child and everything below it, from the top, so that none starts another meanwhile."""
    if child.pid is None:
        return
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(child.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(leader.pid, number)
        for process in leader.children(recursive=True):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
