"""Watching what a child and everything that it started use, from outside, cheaply: it may be measuring.

The kernel limits each process; what they use together is added up here. Each look costs a fraction of a millisecond. What
costs more (shared memory counted once, the folder's size) is looked at when a cheap number asks for it, or so seldom that
it never takes more than a fiftieth of the time.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_ai.sandbox.limits import Limits

LOOK_SECONDS = 0.2
#: Everything is looked for anew this often, also what no longer descends from the child.
SEARCH_SECONDS = 2.0
#: The folder is looked at again after this many times as long as the last look took.
REST = 50
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BLOCK_BYTES = 512


class Watchdog:
    """A thread that looks at a child several times a second, until it is told to stop or has found a reason to end it.

    Parameters
    ----------
    leader
        Returns the process, which leads a session, or ``None`` as long as it is not known.
    folder
        Where it writes.
    limits
        What it may use.
    bite
        Called once, in the thread, with what was used too much of.
    """

    def __init__(
        self, *, leader: Callable[[], int | None], folder: Path, limits: Limits, bite: Callable[[str], None]
    ) -> None:
        self._leader = leader
        self._folder = folder
        self._limits = limits
        self._bite = bite
        self._stopped = threading.Event()
        self._next_search = 0.0
        self._next_weighing = 0.0
        #: Members of the session that were found by search, and may have lost their parents.
        self._strays: set[int] = set()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Returns when the last look is over."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            leader = self._leader()
            reason = None if leader is None else self._look(leader)
            if reason is not None:
                self._bite(reason)
                return

    def _look(self, leader: int) -> str | None:
        now = time.monotonic()
        if now >= self._next_search:
            began = time.perf_counter()
            self._strays = set(members(leader))
            self._next_search = now + max(SEARCH_SECONDS, REST * (time.perf_counter() - began))
        processes = set(tree(leader)) | {pid for pid in self._strays if _session(pid) == leader}
        if len(processes) > self._limits.processes:
            return f"It started more than {self._limits.processes} processes."
        # What processes share is counted for each here, so that this is at least what they use.
        most = self._limits.memory_bytes
        if sum(map(resident_bytes, processes)) > most and sum(map(proportional_bytes, processes)) > most:
            return f"It used more than {most / (1 << 20):.0f} MB of memory."
        if now >= self._next_weighing:
            began = time.perf_counter()
            reason = self._weigh(processes)
            self._next_weighing = now + max(LOOK_SECONDS, REST * (time.perf_counter() - began))
            return reason
        return None

    def _weigh(self, processes: set[int]) -> str | None:
        size = files = 0
        for facts in (*_in_folder(self._folder, self._limits.output_files), *_nameless(processes)):
            files += 1
            size += facts.st_blocks * BLOCK_BYTES
        if files > self._limits.output_files:
            return f"It made more than {self._limits.output_files} files."
        if size > self._limits.output_bytes:
            return f"It wrote more than {self._limits.output_bytes / (1 << 20):.0f} MB of files."
        return None


# -- processes -------------------------------------------------------------------------------------------------------------
def tree(pid: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        yield each
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{each}/task"):  # noqa: PTH208 - several times a second
                waiting += map(int, _read(f"/proc/{each}/task/{thread}/children").split())


def members(session: int) -> Iterator[int]:
    """Yield the processes of a session, whoever their parents are."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - several times a second
        if name.isdigit() and _session(int(name)) == session:
            yield int(name)


def at_home_in(folder: Path) -> Iterator[int]:
    """Yield the processes that were given ``folder`` as their home, as every child is, and so what it starts."""
    mark = f"HOME={folder}\0".encode()
    for name in os.listdir("/proc"):  # noqa: PTH208 - alike
        if name.isdigit():
            with contextlib.suppress(OSError):
                if mark in Path("/proc", name, "environ").read_bytes() + b"\0":
                    yield int(name)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has, including all that it shares."""
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def proportional_bytes(pid: int) -> int:
    """Return the memory that a process has, and its part of what it shares (PSS)."""
    try:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as stream:  # noqa: PTH123 - several times a second
        return stream.read()


# -- files -----------------------------------------------------------------------------------------------------------------
def _in_folder(folder: Path, most: int) -> Iterator[os.stat_result]:
    """Yield what is known of everything in a folder; stops soon after ``most``."""
    waiting = [str(folder)]
    found = 0
    while waiting and found <= most:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found += 1
                if found > most + 1:
                    return
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry.stat(follow_symlinks=False)


def _nameless(processes: set[int]) -> Iterator[os.stat_result]:
    """Yield what is known of the files that processes have open and whose last name was removed."""
    seen = set()
    for pid in processes:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - alike
                with contextlib.suppress(OSError):
                    facts = os.stat(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH116 - alike
                    if stat.S_ISREG(facts.st_mode) and not facts.st_nlink and facts.st_ino not in seen:
                        seen.add(facts.st_ino)
                        yield facts
