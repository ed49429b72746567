"""Which level holds on this host: found out by attacks, made by a real child at that level. A claim is not believed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import platform
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ai.sandbox import bubblewrap, places
from edge_ai.sandbox.child import Child
from edge_ai.sandbox.errors import SandboxError
from edge_ai.sandbox.inside import landlock_abi
from edge_ai.sandbox.levels import BEST_FIRST, LAYERS, Level
from edge_ai.sandbox.limits import Limits
from edge_ai.sandbox.policy import LANDLOCK_CUTS_FILES, LANDLOCK_SIGNALS, new_user

ATTACKS = Path(__file__).with_name("attacks.py")
SECRET = "a secret that was planted"  # noqa: S105 - a word for the probe to look for
#: The attack forks more often than this limit allows.
LIMITS = Limits(wall_seconds=60, memory_bytes=4 << 30, threads=40, processes=10_000)
FORKS = 400


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attempt, and what became of it."""

    name: str
    title: str
    stopped: bool
    how: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a level did on this host. It works when it stopped every attack and let honest work be done."""

    level: Level
    works: bool
    why: str
    attacks: tuple[Attack, ...] = ()


def try_level(level: Level) -> Trial:
    """Start a child at a level, let it attack what was planted for it, and look at what it did."""
    with tempfile.TemporaryDirectory(prefix="sandbox-probe-") as name:
        above = Path(name)
        folder, outside = above / "folder", above / "outside"
        for made in (above, folder, outside):
            made.mkdir(exist_ok=True)
            made.chmod(0o755)
        with _plants(outside) as planted:
            try:
                child = Child(
                    [sys.executable, "-I", str(ATTACKS)],
                    folder=folder,
                    stdin=json.dumps(planted.told).encode(),
                    limits=LIMITS,
                    level=level,
                )
            except (SandboxError, OSError, subprocess.SubprocessError) as error:
                return Trial(level=level, works=False, why=str(error))
            try:
                lines = list(_lines(child))
            finally:
                child.close()
            if isinstance(child.killed_for, SandboxError):
                return Trial(level=level, works=False, why=str(child.killed_for))
            return _judge(level, child, lines, planted.noticed())


def _lines(child: Child) -> Iterator[dict[str, Any]]:
    while not child.finished:
        for stream, line in child.read(0.05):
            if stream == "out":
                with contextlib.suppress(ValueError):
                    yield json.loads(line)


def _judge(level: Level, child: Child, lines: list[dict[str, Any]], noticed: dict[str, str]) -> Trial:
    """Put together what the child says and what was noticed outside."""
    attacks = tuple(
        Attack(
            name=line["name"],
            title=line["title"],
            stopped=line["stopped"] and line["name"] not in noticed,
            how=noticed.get(line["name"], line["how"]),
        )
        for line in lines
        if "name" in line
    )
    through = [attack.title for attack in attacks if not attack.stopped]
    last: dict[str, Any] = lines[-1] if lines else {}
    if "works" not in last:
        why = f"The trial ended early, with {child.returncode}. {child.killed_for or ''}".strip()
    elif not last["works"]:
        why = f"Honest work is not possible: {last['why']}"
    elif through:
        why = f"It does not stop: {'; '.join(through)}."
    else:
        why = ""
    return Trial(level=level, works=not why, why=why, attacks=attacks)


# -- what is planted -------------------------------------------------------------------------------------------------------
class _Planted:
    """What lies outside of the child's folder, and whether it was touched."""

    def __init__(self, outside: Path, victim: subprocess.Popen[bytes], mark: str, stack: contextlib.ExitStack) -> None:
        self._outside = outside
        self._victim = victim
        self._secret = outside / "secret"
        self._secret.write_text(SECRET)
        self._secret.chmod(0o644)
        self._before = self._facts()
        self._files = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        packets = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        packets.bind(listener.getsockname())
        named, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(2))
        path = outside / "socket"
        named.bind(str(path))
        path.chmod(0o666)
        name = f"sandbox-probe-{secrets.token_hex(8)}"
        abstract.bind("\0" + name)
        self._sockets = {
            "connect": listener,
            "open_socket": packets,
            "reach_socket": named,
            "reach_abstract_socket": abstract,
        }
        self.told = {
            "secret": str(self._secret),
            "outside": str(outside),
            "victim": victim.pid,
            "mark": mark,
            "port": listener.getsockname()[1],
            "socket": str(path),
            "abstract": name,
            "forks": FORKS,
        }

    def _facts(self) -> tuple[int, int, int]:
        facts = self._secret.stat()
        return facts.st_mode, facts.st_size, facts.st_uid

    def noticed(self) -> dict[str, str]:
        """Return what can be seen of attacks from here, by their names."""
        found = {}
        for name, before, now in zip(
            ("change_mode", "cut_file", "keep_rights"), self._before, self._facts(), strict=True
        ):
            if before != now:
                found[name] = "The file was changed."
        if (self._outside / "written").exists():
            found["write_file"] = "The file is there."
        if self._victim.poll() is not None:
            found["kill"] = "The process has ended."
        elif resource.prlimit(self._victim.pid, resource.RLIMIT_NOFILE) != self._files:
            found["limit_another"] = "The limit was changed."
        for name, each in self._sockets.items():
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                if name == "connect":
                    each.accept()[0].close()
                else:
                    each.recv(100)
                found[name] = "Something arrived."
        return found


@contextlib.contextmanager
def _plants(outside: Path) -> Iterator[_Planted]:
    mark = f"SANDBOX_PROBE={secrets.token_hex(8)}"
    victim = subprocess.Popen(
        [shutil.which("sleep", path="/usr/bin:/bin") or "sleep", "300"],
        env=dict([mark.split("=", 1)]),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with contextlib.ExitStack() as stack:
            yield _Planted(outside, victim, mark, stack)
    finally:
        victim.kill()
        victim.wait()


# -- which level -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Found:
    """What holds on this host.

    Parameters
    ----------
    level
        The level in force; ``none`` where jobs are refused, or not held by anything.
    refused
        Why no job may begin; empty when jobs may.
    trials
        What was tried, the best level first.
    """

    level: Level
    refused: str
    trials: tuple[Trial, ...]

    def report(self) -> dict[str, Any]:
        """Return everything in a form that is JSON, with what would raise the level."""
        used = next((trial for trial in self.trials if trial.level is self.level), None)
        shown = used or (self.trials[0] if self.trials else None)
        return {
            "level": self.level.value,
            "refused": self.refused,
            "kernel": f"{platform.system()} {platform.release()}, {platform.machine()}",
            "layers": layers(self.level),
            "attacks": [dataclasses.asdict(attack) for attack in shown.attacks] if shown else [],
            "attacked": shown.level.value if shown else "",
            "trials": [{"level": trial.level.value, "works": trial.works, "why": trial.why} for trial in self.trials],
            "advice": advice(self.level, self.trials),
        }


def find(wanted: str, *, allow_none: bool) -> Found:
    """Find the level for jobs.

    Parameters
    ----------
    wanted
        A level, or ``auto`` for the best that works.
    allow_none
        Whether jobs may run when nothing holds them.
    """
    trials: list[Trial] = []
    for level in BEST_FIRST if wanted == "auto" else (Level(wanted),):
        if level is not Level.NONE:
            trials.append(try_level(level))
            if trials[-1].works:
                return Found(level=level, refused="", trials=tuple(trials))
    if wanted not in {"auto", Level.NONE}:
        refused = f"SANDBOX_LEVEL is {wanted}, which does not work on this host. {trials[0].why}"
    elif allow_none:
        refused = ""
    elif wanted == Level.NONE:
        refused = "SANDBOX_LEVEL is none, and SANDBOX_ALLOW_NONE does not allow that."
    else:
        refused = "No level of the sandbox works on this host, and SANDBOX_ALLOW_NONE does not allow to go without."
    return Found(level=Level.NONE, refused=refused, trials=tuple(trials))


@functools.cache
def best_level() -> Level:
    """Return the best level that works on this host.

    Raises
    ------
    SandboxError
        None does.
    """
    found = find("auto", allow_none=False)
    if found.refused:
        raise SandboxError(f"{found.refused} {' '.join(trial.why for trial in found.trials)}")
    return found.level


def layers(level: Level) -> list[dict[str, Any]]:
    """Return what a level is made of on this host, each with whether it is there and what is to be said of it."""
    made, abi = LAYERS[level], landlock_abi()
    root = os.geteuid() == 0
    folder = Path(tempfile.gettempdir(), "folder")
    uid, search = new_user(places.runs(), folder, layers_hold=made.landlock, within=folder if made.bubblewrap else None)
    user = "Workers are an ordinary user, and so are their children." if not root else "Children stay root."
    if uid is not None:
        user = "Each child of root becomes a user of its own."
    if search:
        user += " It keeps the right to go through folders closed to others, where the interpreter lies; Landlock says which."
    wrapper = bubblewrap.find()
    return [
        {
            "name": "bubblewrap",
            "on": made.bubblewrap,
            "detail": f"Installed: {wrapper}" if wrapper else "Not installed.",
        },
        {
            "name": "Landlock",
            "on": made.landlock,
            "detail": f"The kernel has version {abi} of it." if abi else "The kernel has none, or has it switched off.",
        },
        {
            "name": "seccomp",
            "on": made.seccomp or made.bubblewrap,
            "detail": "A filter of system calls, made here; no library is needed.",
        },
        {"name": "user", "on": not root or uid is not None, "detail": user},
        {"name": "limits and watchdog", "on": True, "detail": "At every level."},
    ]


def advice(level: Level, trials: tuple[Trial, ...]) -> list[str]:
    """Say what would raise the level."""
    said = []
    failed = {trial.level for trial in trials if not trial.works}
    abi = landlock_abi()
    if level is not Level.STRONG:
        if bubblewrap.find() is None:
            said.append(
                "Install bubblewrap (on Debian and Ubuntu: apt-get install bubblewrap) and restart the workers."
            )
        elif Level.STRONG in failed and abi:
            said.append(
                "bubblewrap is installed and does not work: see what it says below. In a container it needs to be allowed "
                "to mount; on Ubuntu, AppArmor must let it make user namespaces."
            )
    if not abi:
        said.append(
            "Use Linux 5.13 or later, 6.12 best, with Landlock: `landlock` must be among the kernel's `lsm=` modules."
        )
    elif abi < LANDLOCK_SIGNALS:
        missing = "signals to other processes" + ("" if abi >= LANDLOCK_CUTS_FILES else " and cutting files short")
        said.append(f"Linux 6.12 or later has a Landlock that looks after {missing}; here the filter has to.")
    if os.geteuid() == 0 and level is not Level.STRONG:
        said.append("Run the workers as an ordinary user.")
    return said
