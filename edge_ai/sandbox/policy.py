"""What a child is held by, made in the parent; :mod:`edge_ai.sandbox.inside` applies it in the new process."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from edge_ai.sandbox import places, seccomp
from edge_ai.sandbox.errors import SandboxError
from edge_ai.sandbox.inside import landlock_abi
from edge_ai.sandbox.levels import LAYERS, Level
from edge_ai.sandbox.limits import Limits

LANDLOCK_CUTS_FILES = 3
LANDLOCK_SIGNALS = 6
#: Numbers that no system gives to people, services or containers.
FIRST_UID = 1_900_000_000
CHILDREN_OF_A_WORKER = 32
NOBODY = 65534
COUNT_SECONDS = 5.0
_next = itertools.count()


class Rules(TypedDict):
    """Paths that Landlock leaves within reach."""

    runs: list[str]
    works: list[str]
    devices: list[str]


class Policy(TypedDict):
    """What is applied, in a form that is JSON."""

    parent: int
    folder: str
    cpus: list[int] | None
    limits: dict[str, int]
    uid: int | None
    search: bool
    landlock: Rules | None
    seccomp: str | None


def policy_for(level: Level, *, folder: Path, limits: Limits, parent: int, within: Path | None = None) -> Policy:
    """Return what holds one child.

    Parameters
    ----------
    level
        How well it is to be held.
    folder
        The one folder that it may write to.
    limits
        What it may use.
    parent
        The process that it dies with, by the number that it knows it by.
    within
        The folder that bubblewrap leaves open, when the child begins inside of that; only what it needs is seen there.

    Raises
    ------
    SandboxError
        This kernel or this processor lacks a layer of the level.
    """
    layers = LAYERS[level]
    readable = places.runs()
    uid, search = new_user(readable, folder, layers_hold=layers.landlock, within=within)
    abi = landlock_abi()
    if layers.landlock and abi < 1:
        raise SandboxError(f"The sandbox level “{level}” needs Landlock, which this kernel lacks or has switched off.")
    # Alone, bubblewrap leaves the kernel's calls open: a filter is added where there can be one.
    program = None
    if layers.seccomp or layers.bubblewrap:
        program = seccomp.program(
            own_signals=abi < LANDLOCK_SIGNALS and within is None and uid is None, keep_length=abi < LANDLOCK_CUTS_FILES
        )
    if layers.seccomp and program is None:
        raise SandboxError(f"The sandbox level “{level}” needs a filter of system calls, and this processor has none.")
    own_users = uid is not None or within is not None
    rules = Rules(
        runs=[str(path) for path in (*readable, *places.ETC, *places.MACHINE, Path("/proc"))],
        works=[str(folder)],
        devices=[str(path) for path in places.DEVICES],
    )
    return Policy(
        parent=parent,
        folder=str(folder),
        cpus=list(limits.cpus) if limits.cpus else None,
        limits=limits.of_the_kernel(0 if own_users else threads_of(os.geteuid())),
        uid=uid,
        search=search,
        landlock=rules if layers.landlock else None,
        seccomp=None if program is None else program.hex(),
    )


def new_user(
    readable: Sequence[Path], folder: Path, *, layers_hold: bool, within: Path | None
) -> tuple[int | None, bool]:
    """Return the user that root's child becomes, and whether it keeps the right to go through closed folders.

    Parameters
    ----------
    readable
        What it has to be able to read.
    folder
        Where it works.
    layers_hold
        Landlock tells what it can read. Without that the right is not given: it would be one to read everything.
    within
        The folder that bubblewrap leaves open: those above it are made anew, open to all.
    """
    if os.geteuid() != 0:
        return None, False
    if within is None:
        passed = [above for path in (*(path.resolve() for path in readable), folder) for above in path.parents]
    else:
        passed = [above for above in folder.parents if above.is_relative_to(within)]
    closed = places.closed_to_others(read=readable, passed=passed)
    if closed and not layers_hold:
        return None, False
    return unused_uid(), closed


def unused_uid() -> int | None:
    """Return a user that no other child of this host runs as; ``None`` where root may not become anybody else."""
    uid = FIRST_UID + os.getpid() * CHILDREN_OF_A_WORKER + next(_next) % CHILDREN_OF_A_WORKER
    for candidate in (uid, NOBODY):
        if any(first <= candidate < first + count for first, count in _known_users()):
            return candidate
    return None


@functools.cache
def _known_users() -> list[tuple[int, int]]:
    """Return the users that exist here, as (first, how many): a container may know few."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return [(int(first), int(count)) for first, _, count in (line.split() for line in lines)]


def threads_of(uid: int) -> int:
    """Return how many threads the processes of a user have now: the kernel counts them all against its limit."""
    return _threads_of(uid, int(time.monotonic() / COUNT_SECONDS))


@functools.lru_cache(maxsize=1)
def _threads_of(uid: int, _: int) -> int:
    threads = 0
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                threads += int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[17])
        except OSError:
            continue
    return threads
