"""What a new process does to itself before it runs anything else. Standard library only, and little of that.

Either the fork of a worker or of a warm process calls :func:`enter`, or bubblewrap runs this file as a program:
``python -I -S inside.py POLICY READY PROGRAM ARGUMENT…``, where the first two are descriptors. The policy is made by
the parent (:mod:`edge_ai.sandbox.policy`); what it asks for and cannot be had ends the process with :data:`NOT_HELD`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from edge_ai.sandbox.policy import Policy, Rules

#: Exit status of a process that a required layer does not hold.
NOT_HELD = 98
#: Exit status of a process whose parent was gone when it began.
ORPHANED = 99
#: Stands in a seccomp program for the id of the process that it is installed in.
OWN_PID = 0x7FFF_FFF0

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 22, 24, 28
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
CAP_DAC_READ_SEARCH = 2
SECBIT_NO_SETUID_FIXUP = 4
CAPABILITY_VERSION_3 = 0x2008_0522

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = 1, 2, 4, 8, 16, 32
MAKE_DIR, MAKE_REG, MAKE_SYM = 128, 256, 4096
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_AND_CONNECT_TCP = 3
ABSTRACT_SOCKETS_AND_SIGNALS = 3
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
RUN = READ_FILE | READ_DIR | EXECUTE
WORK = READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


class NotHeldError(Exception):
    """A layer that is required cannot be had."""


def enter(policy: Policy) -> None:
    """Take on what the policy says. Runs in the new process, before anything of a stranger's is looked at.

    Raises
    ------
    NotHeldError
        A layer that is required cannot be had; the process must end.
    """
    die_with(policy["parent"])
    os.umask(0o077)
    if policy["cpus"]:
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, set(policy["cpus"]) & own or own)
    for name, value in policy["limits"].items():
        number = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(number)[1]
        held = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(number, (held, held))
    _prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)
    _become(policy["uid"], search=policy["search"])
    # The parent's death was forgotten with the user.
    die_with(policy["parent"])
    os.chdir(policy["folder"])
    if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - pathlib takes longer to import than this takes to run
        raise NotHeldError("A process with several threads cannot be held: what follows is of one thread each.")
    if policy["landlock"] is not None:
        restrict(policy["landlock"])
    if policy["seccomp"] is not None:
        _filter(bytes.fromhex(policy["seccomp"]))


def die_with(parent: int) -> None:
    """Let this process be killed when ``parent`` ends, whatever ends that; it may be gone already."""
    _prctl("parent's death", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(ORPHANED)


def _prctl(what: str, *arguments: int) -> None:
    if _libc.prctl(*(ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:5])):
        raise NotHeldError(f"{what}: {os.strerror(ctypes.get_errno())}")


# -- user and capabilities -------------------------------------------------------------------------------------------------
def _become(uid: int | None, *, search: bool) -> None:
    """Become ``uid`` and keep no capability, or only that of going through folders that are closed to others."""
    number = 0
    while _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) == 0:
        number += 1
        number += number == CAP_DAC_READ_SEARCH and search
    if uid is not None:
        if search:
            # Also where a program only asks whether it may, by access(2), which else asks as if it had no capability.
            _prctl("capabilities", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _prctl("capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    kept = 1 << CAP_DAC_READ_SEARCH if search else 0
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if _libc.capset(header, struct.pack("=IIIIII", kept, kept, kept, 0, 0, 0)):
        raise NotHeldError(f"capabilities: {os.strerror(ctypes.get_errno())}")
    if search:
        _prctl("capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)
    if uid is not None:
        # Without it, what /proc tells of the process would belong to root.
        _prctl("dumpable", PR_SET_DUMPABLE, 1)


# -- Landlock --------------------------------------------------------------------------------------------------------------
def landlock_abi() -> int:
    """Return which version of Landlock the kernel has; 0 when it has none, or has it switched off."""
    return max(0, int(_libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def restrict(rules: Rules) -> None:
    """Let this process reach the files that the rules name, no TCP port, and no process or socket beyond its own.

    What a kernel's version of Landlock does not know is left out; the attacks of the probe tell what that means.

    Raises
    ------
    NotHeldError
        The kernel has no Landlock.
    """
    abi = landlock_abi()
    if abi < 1:
        raise NotHeldError("The kernel has no Landlock, or has it switched off.")
    handled = (1 << 13) - 1 | (abi >= 2 and REFER) | (abi >= 3 and TRUNCATE) | (abi >= 5 and IOCTL_DEV)
    attributes = struct.pack("=QQQ", handled, BIND_AND_CONNECT_TCP, ABSTRACT_SOCKETS_AND_SIGNALS)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _libc.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        raise NotHeldError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    for paths, access in ((rules["runs"], RUN), (rules["works"], WORK), (rules["devices"], DEVICE)):
        for path in paths:
            _allow(ruleset, path, access & handled)
    if _libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)):
        raise NotHeldError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - pathlib takes longer to import than this takes to run
            access &= OF_FILES
        if _libc.syscall(LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, target), ctypes.c_uint32(0)):
            raise NotHeldError(f"Landlock, {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(target)


# -- seccomp ---------------------------------------------------------------------------------------------------------------
class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _filter(program: bytes) -> None:
    """Install a program of :mod:`edge_ai.sandbox.seccomp`."""
    program = program.replace(struct.pack("=I", OWN_PID), struct.pack("=I", os.getpid()))
    held = ctypes.create_string_buffer(program, len(program))
    told = _Program(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
    if _libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(told), 0, 0):
        raise NotHeldError(f"seccomp: {os.strerror(ctypes.get_errno())}")


# -- as a program ----------------------------------------------------------------------------------------------------------
def held_or_ended(policy: Policy, ready: int, then: Callable[[], None] | None = None) -> None:
    """Enter, and say so on ``ready``, which is closed; where that fails, say why on standard error and end."""
    try:
        enter(policy)
        if then is not None:
            then()
    except Exception as error:
        os.write(2, f"sandbox: {error}\n".encode())
        os._exit(NOT_HELD)
    os.write(ready, b"held")
    os.close(ready)


def main(arguments: Sequence[str]) -> NoReturn:
    """Read the policy, enter, and become the program."""
    policy, ready, *program = arguments
    with open(int(policy), encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        read: Policy = json.load(stream)
    held_or_ended(read, int(ready))
    os.execv(program[0], program)  # noqa: S606 - the point of it


if __name__ == "__main__":
    main(sys.argv[1:])
