"""The processes of a queue cluster: how each is known, and that none outlives the one that started it.

django-q2 names its processes only where setproctitle is installed, and lets them live on as orphans. Here each carries
its role as its name (``ps -o comm``), and is killed by the kernel when its parent is gone, whatever ended that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)
_forking = 0


class Role(StrEnum):
    """What a process of a cluster is there for; the names that it goes by, which the kernel cuts at 15 bytes."""

    CLUSTER = "studio-cluster"
    SENTINEL = "studio-sentinel"
    WORKER = "studio-worker"
    PUSHER = "studio-pusher"
    MONITOR = "studio-monitor"


def take_role(role: Role) -> None:
    """Let this process be known by its role."""
    _libc.prctl(PR_SET_NAME, role.encode(), 0, 0, 0)


def end_with(parent: int, number: signal.Signals) -> None:
    """Let this process get a signal when ``parent`` ends, whatever ends that; it may be gone already.

    The kernel means the thread that started this process: it has to be one that lives as long as its process does.
    """
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def forks_end_with_their_parents() -> None:
    """Let every process that is forked from now on, here or further down, be killed when the one above it ends."""
    os.register_at_fork(before=_remember, after_in_child=_end_with_it)


def _remember() -> None:
    global _forking
    _forking = os.getpid()


def _end_with_it() -> None:
    end_with(_forking, signal.SIGKILL)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A living process as the kernel describes it. Its number may be given out again; with its start it is one process.

    Parameters
    ----------
    started
        In clock ticks since the machine started, which no setting of the clock changes.
    """

    pid: int
    started: int
    name: str
    parent: int
    session: int

    @property
    def role(self) -> Role | None:
        """What it is there for; ``None`` for others, the engine's children among them."""
        return Role(self.name) if self.name in set(Role) else None

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        now = look_at(self.pid)
        return now is not None and now.started == self.started


def look_at(pid: int) -> Process | None:
    """Return a living process; zombies are dead."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name stands in brackets and may hold any others.
    name, _, rest = text.partition("(")[2].rpartition(") ")
    state, parent, _, session, *others = rest.split()
    if state in "ZX":
        return None
    return Process(pid=pid, started=int(others[15]), name=name, parent=int(parent), session=int(session))


def processes() -> Iterator[Process]:
    """Return every living process of this machine that can be seen from here."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := look_at(int(entry.name))) is not None:
            yield found


def descendants(pid: int) -> frozenset[Process]:
    """Return a living process and all below it."""
    by_parent: dict[int, list[Process]] = {}
    root: Process | None = None
    for process in processes():
        by_parent.setdefault(process.parent, []).append(process)
        root = process if process.pid == pid else root
    if root is None:
        return frozenset()
    found, todo = {root}, [root]
    while todo:
        below = by_parent.get(todo.pop().pid, [])
        found.update(below)
        todo += below
    return frozenset(found)


def members(cluster_pid: int) -> frozenset[Process]:
    """Return the living processes of a cluster that have a role."""
    return frozenset(process for process in descendants(cluster_pid) if process.role is not None)


def kill_session(leader: int) -> None:
    """Kill every process of a session, however far it has gone from the leader's side."""
    for process in processes():
        if process.session == leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
