"""A running child as its parent sees it: what it says is read, what it uses is watched, and it is ended with all of it."""

from __future__ import annotations

import abc
import contextlib
import fcntl
import os
import selectors
import signal
import threading
import time
from pathlib import Path
from typing import Literal

from edge_ai.engine.errors import EngineError, ResourceError
from edge_ai.sandbox import places
from edge_ai.sandbox.levels import Level
from edge_ai.sandbox.limits import Limits
from edge_ai.sandbox.watchdog import Watchdog, at_home_in

MAX_LINE_BYTES = 4 << 20
READ_BYTES = 65_536
KILL_AFTER_SECONDS = 2.0

Stream = Literal["out", "err"]


class WatchedChild(abc.ABC):
    """A running child, however it was started: what it says is read, and it is ended with all that it started.

    Parameters
    ----------
    level
        How it is held.
    folder
        Where it works.
    uid
        Whom that folder was given to, if to anybody.
    limits
        What it may use.
    out, err
        The reading ends of its standard output and error; they are closed here.
    """

    def __init__(self, *, level: Level, folder: Path, uid: int | None, limits: Limits, out: int, err: int) -> None:
        self.level = level
        self.folder = folder
        self.limits = limits
        #: Why it was ended by us, or could not be begun as it has to be.
        self.killed_for: EngineError | None = None
        #: What it was forked from died, and it with that, by no fault of its own.
        self.abandoned = False
        self._uid = uid
        self._began = time.monotonic()
        self._logged = self._logged_lines = self._said = self._said_lines = 0
        self._buffers: dict[Stream, bytearray] = {"out": bytearray(), "err": bytearray()}
        self._pipes: tuple[int, ...] = (out, err)
        self._selector = selectors.DefaultSelector()
        self._selector.register(out, selectors.EVENT_READ, "out")
        self._selector.register(err, selectors.EVENT_READ, "err")
        #: Held where the process id must stay this child's: an id is free for others once its end was asked for.
        self._lock = threading.RLock()
        self._watchdog: Watchdog | None = None

    def _watch(self) -> None:
        """Begin to watch; the last thing that the making of a child does."""
        self._watchdog = Watchdog(
            leader=self._present, folder=self.folder, limits=self.limits, bite=self._kill_at_once_for
        )

    @property
    @abc.abstractmethod
    def pid(self) -> int | None:
        """Process id, which is also the id of its group and session; ``None`` as long as it is not known."""

    @property
    def began(self) -> bool:
        """It started on its work."""
        return self.pid is not None

    @property
    @abc.abstractmethod
    def returncode(self) -> int | None:
        """How it ended: negative is a signal; ``None`` while it runs."""

    @abc.abstractmethod
    def _wait(self, seconds: float) -> bool:
        """Wait for its end; tells whether it came."""

    @abc.abstractmethod
    def _present(self) -> int | None:
        """Return its process id as far as it is known, and is still its own. Called from any thread."""

    def read(self, timeout: float) -> list[tuple[Stream, str]]:
        """Return the complete lines that arrived within ``timeout`` seconds, and enforce the wall time.

        Standard error beyond ``log_bytes`` or ``log_lines`` is dropped.
        """
        lines: list[tuple[Stream, str]] = []
        if self._selector.get_map():
            for key, _ in self._selector.select(timeout):
                lines += self._take(key.data, key.fd)
        else:
            self._wait(timeout)
        if self.returncode is not None:
            lines += self._take_the_rest()
        elif time.monotonic() - self._began > self.limits.wall_seconds:
            self._kill_for(f"It ran longer than {self.limits.wall_seconds:.0f} seconds.")
        return lines

    def extend(self, seconds: float) -> None:
        """Let it run for longer than its limit says: it stood still for so long by no fault of its own."""
        self._began += seconds

    @property
    def finished(self) -> bool:
        """It has ended, and everything that it wrote has been read."""
        return not self._selector.get_map() and self.returncode is not None

    def _take_the_rest(self) -> list[tuple[Stream, str]]:
        """Read what the child left in its pipes when it ended, and let go of them.

        A process that it started may hold them open for as long as it likes, so their end is not waited for.
        """
        lines: list[tuple[Stream, str]] = []
        for key in list(self._selector.get_map().values()):
            os.set_blocking(key.fd, False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(fcntl.fcntl(key.fd, fcntl.F_GETPIPE_SZ) // READ_BYTES + 1):
                    lines += self._take(key.data, key.fd)
                    if key.fd not in self._selector.get_map():
                        break
            if key.fd in self._selector.get_map():
                lines += self._let_go(key.data, key.fd)
        return lines

    def _let_go(self, stream: Stream, descriptor: int) -> list[tuple[Stream, str]]:
        self._selector.unregister(descriptor)
        buffer = self._buffers[stream]
        rest = bytes(buffer)
        buffer.clear()
        return [(stream, rest.decode(errors="replace"))] if rest else []

    def _take(self, stream: Stream, descriptor: int) -> list[tuple[Stream, str]]:
        data = os.read(descriptor, READ_BYTES)
        buffer = self._buffers[stream]
        if not data:
            return self._let_go(stream, descriptor)
        if stream == "err":
            room = max(0, self.limits.log_bytes - self._logged)
            self._logged += len(data)
            data = data[:room]
        else:
            self._said += len(data)
        buffer += data
        if len(buffer) > MAX_LINE_BYTES:
            self._kill_for("It wrote a line without end.")
            buffer.clear()
        *complete, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        return [(stream, line.decode(errors="replace")) for line in self._count(stream, complete)]

    def _count(self, stream: Stream, lines: list[bytes]) -> list[bytes]:
        """Leave out empty lines, and those that are too many."""
        lines = [line for line in lines if line.strip()]
        if stream == "err":
            room = max(0, self.limits.log_lines - self._logged_lines)
            self._logged_lines += len(lines)
            return lines[:room]
        room = max(0, self.limits.out_lines - self._said_lines)
        self._said_lines += len(lines)
        if len(lines) > room or self._said > self.limits.out_bytes:
            self._kill_for("It said more than anybody could read.")
        return lines[:room]

    # -- ending it ----------------------------------------------------------------------------------------------------
    def _blame(self, reason: str) -> None:
        if self.killed_for is None:
            self.killed_for = ResourceError(
                f"The engine was stopped. {reason}",
                code="resource_limit",
                fix="Try a smaller model, a smaller data set or a shorter budget.",
            )

    def _kill_for(self, reason: str) -> None:
        self._blame(reason)
        self.kill()

    def _kill_at_once_for(self, reason: str) -> None:
        """End everything without asking: it takes what others need. Called by the watchdog."""
        with self._lock:
            if self._present() is not None:
                self._blame(reason)
                self._end_everything()

    def kill(self) -> None:
        """End the child and everything in its group: asked first, then for certain. Returns when it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal_group(number)
            if self._wait(KILL_AFTER_SECONDS):
                break

    def _end_everything(self) -> None:
        """Kill all that the child started. Its own id must still be its own.

        The filter of system calls keeps everything in one group, and a process namespace ends with its first process. The
        level that has neither is searched for what left the group.
        """
        self._signal_group(signal.SIGKILL)
        if self.level is Level.NONE:
            for pid in at_home_in(self.folder):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        with self._lock:
            pid = self._present()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, number)

    def close(self) -> None:
        """Make sure that nothing of it is left, and that what it made is ours."""
        self.kill()
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        self._selector.close()
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes = ()
        if self._uid is not None:
            places.take_back(self.folder)
            self._uid = None
