"""Which process of a studio is which, and how each kind is killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from config.embedded_postgres.layout import Layout, read_password
from edge_ai.worker.family import Process, Role, descendants, processes
from tests.studio import ROOT, RealStudio


class Kind(StrEnum):
    """What can be killed."""

    BUSY_WORKER = "busy worker"
    IDLE_WORKER = "idle worker"
    PUSHER = "pusher"
    MONITOR = "monitor"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"
    SUPERVISOR = "supervisor"
    ENGINE = "engine child"
    WARM = "warm process"
    WEB = "web server"
    WEB_WORKER = "web worker"
    DATABASE = "database"
    BACKEND = "database connection"
    GUARD = "database guard"
    DATABASE_RESTART = "database restart"


ROLES = {
    Kind.PUSHER: Role.PUSHER,
    Kind.MONITOR: Role.MONITOR,
    Kind.SENTINEL: Role.SENTINEL,
    Kind.CLUSTER: Role.CLUSTER,
}


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What was done.

    Parameters
    ----------
    workers
        The numbers of the worker processes that this ended, directly or with what held them.
    """

    at: float
    kind: Kind
    pid: int
    workers: frozenset[int]


def command(pid: int) -> list[str]:
    """Return a process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


class Anatomy:
    """The processes of a studio as they are now."""

    def __init__(self, studio: RealStudio) -> None:
        self._studio = studio
        self.all = descendants(studio.pid)
        self._by_pid = {process.pid: process for process in self.all}
        self.workers = [process for process in self.all if process.role is Role.WORKER]
        self._commands = {process.pid: command(process.pid) for process in self.all}
        below_workers = [process for process in self.all if self._role_of(process.parent) is Role.WORKER]
        # A warm process may stand inside bubblewrap, whose own two processes carry its command line, as its forks do.
        self.warm = [
            process
            for process in self.all
            if self._says(process, "edge_ai.engine.warm")
            and (process in below_workers or self._name_of(process.parent) == "bwrap")
        ]
        self.engines = [
            process for process in below_workers if process not in self.warm and self._says(process, "edge_ai.engine")
        ]
        # The jobs of a warm process are forks of it.
        self.forks = [
            process
            for process in self.all
            if process not in self.warm and process.parent in {warm.pid for warm in self.warm if warm.name != "bwrap"}
        ]
        self.engines += self.forks

    def of(self, kind: Kind) -> list[Process]:
        """Return the living processes of a kind."""
        if kind in ROLES:
            return [process for process in self.all if process.role is ROLES[kind]]
        if kind in {Kind.BUSY_WORKER, Kind.IDLE_WORKER}:
            busy = {worker.pid for engine in self.engines if (worker := self.worker_of(engine)) is not None}
            return [worker for worker in self.workers if (worker.pid in busy) == (kind is Kind.BUSY_WORKER)]
        if kind is Kind.ENGINE:
            return self.engines
        if kind is Kind.WARM:
            return self.warm
        if kind is Kind.SUPERVISOR:
            return [process for process in self.all if self._says(process, "supervise")]
        if kind is Kind.WEB:
            return [process for process in self._web() if process.parent == self._studio.pid]
        if kind is Kind.WEB_WORKER:
            return [process for process in self._web() if process.parent != self._studio.pid]
        if kind is Kind.GUARD:
            return [process for process in relatives(self._studio.data_dir) if "guard" in command(process.pid)]
        server = postgres(self._studio)
        if kind is Kind.BACKEND:
            return [process for process in server if "studio_web" in " ".join(command(process.pid))]
        return [process for process in server if not command(process.pid)[0].startswith("postgres:")]

    def worker_of(self, process: Process) -> Process | None:
        """Return the worker that a process works for."""
        above: Process | None = process
        while above is not None and above.role is not Role.WORKER:
            above = self._by_pid.get(above.parent)
        return above

    def workers_ended_by(self, victim: Process) -> frozenset[int]:
        """Return the workers that are a victim or below it."""
        below = {process.pid for process in descendants(victim.pid)} | {victim.pid}
        return frozenset(worker.pid for worker in self.workers if worker.pid in below)

    def _web(self) -> list[Process]:
        return [process for process in self.all if self._says(process, "gunicorn")]

    def _says(self, process: Process, word: str) -> bool:
        # Whole words: a folder in a path may be called anything.
        return word in self._commands[process.pid]

    def _name_of(self, pid: int) -> str:
        return self._by_pid[pid].name if pid in self._by_pid else ""

    def _role_of(self, pid: int) -> Role | None:
        return self._by_pid[pid].role if pid in self._by_pid else None


def postgres(studio: RealStudio) -> list[Process]:
    """Return the living processes of the studio's database server."""
    layout = Layout.of(studio.data_dir / "postgres")
    password = read_password(layout)
    if password is None:
        return []
    name = layout.cluster_name(password)
    return [
        process
        for process in processes()
        if process.name.startswith("postgres") and name in " ".join(command(process.pid))
    ]


def relatives(data_dir: Path) -> list[Process]:
    """Return every process that has to do with a data folder: by its environment, command line or place."""
    mark = os.fsencode(data_dir)
    found = []
    for process in processes():
        facts = [b""]
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                facts.append(Path(f"/proc/{process.pid}/{name}").read_bytes())
        with contextlib.suppress(OSError):
            facts.append(os.fsencode(Path(f"/proc/{process.pid}/cwd").readlink()))
        if process.pid != os.getpid() and any(mark in fact for fact in facts):
            found.append(process)
    return found


def kill(studio: RealStudio, kind: Kind, chance: random.Random, at: float) -> Kill | None:
    """Kill one process of a kind, at random; ``None`` when there is none."""
    anatomy = Anatomy(studio)
    if kind is Kind.DATABASE_RESTART:
        stop = [sys.executable, "-m", "config.embedded_postgres", "stop", str(studio.data_dir / "postgres")]
        done = subprocess.run(stop, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        return Kill(at=at, kind=kind, pid=0, workers=frozenset()) if done.returncode == 0 else None
    found: Sequence[Process] = sorted(anatomy.of(kind), key=lambda process: process.pid)
    if not found:
        return None
    victim = chance.choice(found)
    ended = anatomy.workers_ended_by(victim)
    idle = kind is Kind.WARM and not any(process in anatomy.forks for process in descendants(victim.pid))
    if kind in {Kind.ENGINE, Kind.WARM} and not idle and (worker := anatomy.worker_of(victim)) is not None:
        ended = frozenset({worker.pid})
    try:
        os.kill(victim.pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return Kill(at=at, kind=kind, pid=victim.pid, workers=ended)
