"""Which files a child may reach: the programs, the libraries, our own code, what tells of the processor."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

CODE_DIR = Path(__file__).resolve().parent.parent.parent
PACKAGE = CODE_DIR / "edge_ai"
#: What the path of imports begins with; see the file in it.
IMPORTABLE = PACKAGE / "sandbox" / "importable"
#: The names under the root that programs look for libraries under; links into ``/usr`` on most systems.
TOP = tuple(Path("/", name) for name in ("lib", "lib64", "lib32", "libx32", "bin", "sbin"))
SYSTEM = (Path("/usr"), *TOP)
#: Small files that libraries expect to be able to read when they are there. None tells of people.
ETC = tuple(Path("/etc", name) for name in ("ld.so.cache", "localtime", "mime.types", "os-release", "alternatives"))
#: What a benchmark says of the machine that it ran on.
MACHINE = (
    Path("/sys/devices/system/cpu"),
    Path("/sys/devices/system/node"),
    Path("/sys/class/powercap"),
    Path("/sys/devices/virtual/powercap"),
    Path("/sys/fs/cgroup"),
)
DEVICES = tuple(Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom"))


@functools.cache
def interpreter() -> tuple[Path, ...]:
    """Return the folders that this interpreter and the libraries installed for it lie in, under all their names."""
    named = {Path(name) for name in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    named |= {Path(entry) for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}}
    return tuple(sorted(named | {path.resolve() for path in named}))


def runs(also: Iterable[Path] = ()) -> list[Path]:
    """Return what may be read and run, without what lies below another of it, and without what is not there."""
    wanted = [*SYSTEM, *interpreter(), PACKAGE, *also]
    return [
        path for path in dict.fromkeys(wanted) if path.exists() and not any(other in path.parents for other in wanted)
    ]


def closed_to_others(*, read: Iterable[Path], passed: Iterable[Path]) -> bool:
    """Tell whether somebody who owns nothing is kept from reading or from passing one of these folders."""
    return not (
        all(_open(path, stat.S_IROTH | stat.S_IXOTH) for path in read)
        and all(_open(path, stat.S_IXOTH) for path in set(passed))
    )


def _open(path: Path, bits: int) -> bool:
    return path.stat().st_mode & bits == bits


# -- handing the folder over -----------------------------------------------------------------------------------------------
def hand_over(folder: Path, uid: int) -> None:
    """Give a folder and what is in it to ``uid``, except files that nobody may write: these it may read.

    Raises
    ------
    ValueError
        It is no folder for work: programs, people's homes or our own code lie in it.
    """
    precious = (*SYSTEM, *interpreter(), PACKAGE, Path("/etc"), Path("/home"), Path("/root"), Path("/var/lib"))
    if any(place.is_relative_to(folder.resolve()) for place in precious):
        raise ValueError(f"{folder} is not a folder that can be given away.")
    for path in (folder, *_below(folder)):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode) and not facts.st_mode & 0o222:
            path.chmod(0o444)
        else:
            os.lchown(path, uid, uid)


def take_back(folder: Path) -> None:
    """Make what is in a folder our own again, when everything of the child has ended."""
    for path in (folder, *_below(folder)):
        os.lchown(path, os.geteuid(), os.getegid())


def inputs(folder: Path) -> list[Path]:
    """Return the files of a folder that nobody may write."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not path.lstat().st_mode & 0o222]


def _below(folder: Path) -> Iterator[Path]:
    # Links are not followed; nobody changes the folder now, and so nothing becomes a link in between.
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent, name)
