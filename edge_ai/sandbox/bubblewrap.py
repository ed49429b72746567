"""Bubblewrap: the child sees a file system with nothing in it but what it needs, no network and no other process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_ai.sandbox import places
from edge_ai.sandbox.errors import SandboxError

INSIDE = Path(__file__).with_name("inside.py")
NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
#: What root's child needs to become another user. It has lost them when it has become that.
TO_BECOME_SOMEBODY = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_DAC_READ_SEARCH")
#: What a warm process of root needs besides, to end its forks, who are other users.
TO_END_THEM = ("CAP_KILL",)
SHARED_MEMORY_BYTES = 64 << 20
#: A program that a signal ended makes bubblewrap exit with this much more than the signal's number.
BY_SIGNAL = 128
LAST_SIGNAL = 64


def find() -> str | None:
    """Return the program, where it is installed."""
    return shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")


def command(
    program: Sequence[str],
    *,
    writable: Path,
    read_only: Iterable[Path] = (),
    also: Iterable[Path] = (),
    capabilities: Sequence[str] = (),
) -> list[str]:
    """Return the command that runs ``program`` in a file system of its own.

    Parameters
    ----------
    program
        What is run, as process 2 of its own process namespace.
    writable
        The one folder that can be written to, at its own place.
    read_only
        Files in it that cannot be written to all the same.
    also
        What can be read besides what every child may read.
    capabilities
        Which root keeps; ordinary users have none.

    Raises
    ------
    SandboxError
        It is not installed.
    """
    wrapper = find()
    if wrapper is None:
        raise SandboxError("The sandbox needs bubblewrap, which is not installed.")
    arguments = [wrapper, "--die-with-parent", *NAMESPACES]
    if os.geteuid() == 0:
        # Not a user namespace: root inside would own root's files, and have no limit to its processes.
        arguments += ["--cap-drop", "ALL"]
        for name in capabilities:
            arguments += ["--cap-add", name]
    else:
        arguments += ["--unshare-user"]
    readable = places.runs(also)
    # Made by bubblewrap, folders on the way would be closed to the user that root's child becomes.
    for above in sorted(
        {above for path in (*readable, *places.ETC, *places.MACHINE, writable) for above in path.parents}
    ):
        arguments += ["--perms", "0755", "--dir", str(above)]
    for path in readable:
        if path.is_symlink() and path in places.TOP:
            arguments += ["--symlink", str(path.readlink()), str(path)]
        else:
            arguments += ["--ro-bind", str(path), str(path)]
    for path in (*places.ETC, *places.MACHINE):
        if path.exists():
            arguments += ["--ro-bind", str(path.resolve()), str(path)]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    arguments += ["--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108 - the child's own
    arguments += ["--bind", str(writable), str(writable)]
    for path in read_only:
        arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--remount-ro", "/", "--chdir", "/", "--", *program]


def held(policy: int, ready: int, argv: Sequence[str]) -> list[str]:
    """Return the command that takes on the policy of descriptor ``policy`` and becomes ``argv``."""
    return [sys.executable, "-I", "-S", str(INSIDE), str(policy), str(ready), *argv]


def returncode(status: int) -> int:
    """Return how the program ended, from how bubblewrap did: negative is a signal."""
    return BY_SIGNAL - status if BY_SIGNAL < status <= BY_SIGNAL + LAST_SIGNAL else status
