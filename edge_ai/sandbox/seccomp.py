"""The seccomp filter: what no engine needs is denied, whatever the kernel would say. Assembled here, in the parent.

A program of classic BPF sees the number and the arguments of a system call, but nothing that these point to. It is a list
of what is denied, since the libraries that work on models are many; the files and ports within reach are Landlock's and
bubblewrap's business.
"""

from __future__ import annotations

import errno
import functools
import platform
import struct
from dataclasses import dataclass

from edge_ai.sandbox.inside import OWN_PID

KILL = 0x8000_0000
ERRNO = 0x0005_0000
ALLOW = 0x7FFF_0000
DENY = ERRNO | errno.EPERM
ABSENT = ERRNO | errno.ENOSYS
#: The call returns as if it had been done.
NOTHING = ERRNO

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
NUMBER_AT, MACHINE_AT, ARGUMENTS_AT = 0, 4, 16
X32 = 0x4000_0000
NEGATIVE = 0x8000_0000
NAMESPACES = 0x7E02_0000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
AF_UNIX, SOCK_STREAM, SOCK_SEQPACKET = 1, 1, 5
GAINED_BY_OTHERS, READ_BY_OWNER = 0o7022, 0o400
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
O_WRONLY, O_RDWR, O_TRUNC = 1, 2, 0o1000

#: Number of each call on x86_64 and, where it has it, on aarch64.
CALLS: dict[str, tuple[int, int | None]] = {
    "accept": (43, 202), "accept4": (288, 242), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171),
    "bind": (49, 200), "bpf": (321, 280), "chmod": (90, None), "chown": (92, None), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435),
    "connect": (42, 203), "creat": (85, None), "create_module": (174, None), "delete_module": (176, 106),
    "fanotify_init": (300, 262), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "fchown": (93, 55), "fchownat": (260, 54), "finit_module": (313, 273), "fremovexattr": (199, 16),
    "fsconfig": (431, 431), "fsetxattr": (190, 7), "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "futimesat": (261, None), "init_module": (175, 105), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29),
    "ioperm": (173, None), "iopl": (172, None), "ioprio_set": (251, 30), "kcmp": (312, 272),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219), "kill": (62, 129),
    "lchown": (94, None), "listen": (50, 201), "lookup_dcookie": (212, 18), "lremovexattr": (198, 15),
    "lsetxattr": (189, 6), "memfd_create": (319, 279), "memfd_secret": (447, 447), "migrate_pages": (256, 238),
    "mknod": (133, None), "mknodat": (259, 33), "modify_ldt": (154, None), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "mq_open": (240, 180),
    "msgget": (68, 186), "name_to_handle_at": (303, 264), "open": (2, None), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "openat": (257, 56), "openat2": (437, 437),
    "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prlimit64": (302, 261), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "removexattr": (197, 14), "removexattrat": (466, 466), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "semget": (64, 190), "setdomainname": (171, 162), "sethostname": (170, 161),
    "setns": (308, 268), "setpgid": (109, 154), "setpriority": (141, 140), "setsid": (112, 157),
    "settimeofday": (164, 170), "setxattr": (188, 5), "setxattrat": (463, 463), "shmget": (29, 194),
    "socket": (41, 198), "socketpair": (53, 199), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "tgkill": (234, 131), "tkill": (200, 130), "truncate": (76, 45), "umount2": (166, 39), "unshare": (272, 97),
    "userfaultfd": (323, 282), "uselib": (134, None), "utime": (132, None), "utimensat": (280, 88),
    "utimes": (235, None), "vhangup": (153, 58),
}  # fmt: skip
#: Calls that fail, by why no engine needs them.
_DENIED = (
    # Other processes.
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_open pidfd_getfd pidfd_send_signal process_madvise "
    "process_mrelease migrate_pages move_pages setpriority ioprio_set "
    # Namespaces and mounts.
    "mount umount2 pivot_root chroot unshare setns open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick "
    "mount_setattr open_by_handle_at name_to_handle_at "
    # Parts of the kernel in which mistakes were found, or that watch or change the whole machine.
    "keyctl add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register "
    "init_module finit_module delete_module create_module kexec_load kexec_file_load reboot swapon swapoff quotactl "
    "quotactl_fd acct personality modify_ldt syslog settimeofday clock_settime clock_adjtime adjtimex iopl ioperm "
    "vhangup fanotify_init inotify_init inotify_init1 lookup_dcookie uselib sethostname setdomainname "
    # The network, and sockets of other programs. Landlock knows TCP alone.
    "socket connect bind listen accept accept4 "
    # Devices and pipes with names.
    "mknod mknodat "
    # Memory that belongs to no process, and so is not counted, or outlives them all.
    "memfd_create memfd_secret shmget semget msgget mq_open "
    # Leaving the group by which everything is ended.
    "setsid setpgid "
    # Attributes of files, which Landlock does not look after.
    "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat"
)
DENIED = frozenset(_DENIED.split())
#: Landlock does not look after these either, but copying a file does them: they do nothing, and say that they did.
_EMPTY = "chmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat"
EMPTY = frozenset(_EMPTY.split())
SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A kind of processor, as seccomp knows it."""

    audit: int
    column: int


MACHINES = {"x86_64": Machine(audit=0xC000_003E, column=0), "aarch64": Machine(audit=0xC000_00B7, column=1)}


@functools.cache
def program(*, own_signals: bool, keep_length: bool, machine: str | None = None) -> bytes | None:
    """Return the filter, ready to be installed; ``None`` for a kind of processor that is not known here.

    Parameters
    ----------
    own_signals
        Deny signals to processes that were there before the one that the filter is installed in: for kernels whose
        Landlock does not look after signals.
    keep_length
        Deny cutting a file short without having opened it to be written: for kernels whose Landlock does not look
        after that.
    machine
        The kind of processor; this one's by default.
    """
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    number = {name: both[known.column] for name, both in CALLS.items()}
    code: list[Instruction] = [
        (LOAD, 0, 0, MACHINE_AT),
        # Another instruction set numbers its calls differently.
        (JUMP_EQUAL, 1, 0, known.audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]
    if known.column == 0:
        code += [(JUMP_AT_LEAST, 0, 1, X32), (RETURN, 0, 0, ABSENT)]
    # Its arguments are behind a pointer. The C library does with clone what it cannot do with this.
    code += _when(number["clone3"], [(RETURN, 0, 0, ABSENT)])
    code += _when(number["clone"], [(LOAD, 0, 0, _argument(0)), (JUMP_ANY_BIT, 0, 1, NAMESPACES), _deny(), _allow()])
    code += _when(number["prlimit64"], [(LOAD, 0, 0, _argument(0)), (JUMP_EQUAL, 1, 0, 0), _deny(), _allow()])
    code += _when(number["ioctl"], _keys_typed())
    code += _when(number["socketpair"], _connected_pairs())
    code += _when(number["fchmod"], _harmless_modes())
    if own_signals:
        for name in SIGNALS:
            code += _when(number[name], _later_processes())
    if keep_length:
        code += _when(number["truncate"], [_deny()])
        code += _when(number["openat2"], [(RETURN, 0, 0, ABSENT)])
        for name, flags in (("open", 1), ("openat", 2)):
            code += _when(number[name], _no_cut(_argument(flags)))
    for name in sorted(DENIED):
        code += _when(number[name], [_deny()])
    for name in sorted(EMPTY):
        code += _when(number[name], [(RETURN, 0, 0, NOTHING)])
    code.append(_allow())
    return b"".join(struct.pack("=HBBI", *each) for each in code)


def _when(number: int | None, then: list[Instruction]) -> list[Instruction]:
    """Return the code that runs ``then``, which ends with a verdict, for the call of that number."""
    return [] if number is None else [(JUMP_EQUAL, 0, len(then), number), *then]


def _argument(index: int) -> int:
    # The lower half, on machines that have that first.
    return ARGUMENTS_AT + 8 * index


def _allow() -> Instruction:
    return (RETURN, 0, 0, ALLOW)


def _deny() -> Instruction:
    return (RETURN, 0, 0, DENY)


def _keys_typed() -> list[Instruction]:
    return [
        (LOAD, 0, 0, _argument(1)),
        (JUMP_EQUAL, 1, 0, TIOCSTI),
        (JUMP_EQUAL, 0, 1, TIOCLINUX),
        _deny(),
        _allow(),
    ]


def _connected_pairs() -> list[Instruction]:
    """Allow pairs that stay connected with each other; a datagram may be sent to any other socket."""
    return [
        (LOAD, 0, 0, _argument(0)),
        (JUMP_EQUAL, 0, 5, AF_UNIX),
        (LOAD, 0, 0, _argument(1)),
        (AND, 0, 0, 0xF),
        (JUMP_EQUAL, 1, 0, SOCK_STREAM),
        (JUMP_EQUAL, 0, 1, SOCK_SEQPACKET),
        _allow(),
        _deny(),
    ]


def _harmless_modes() -> list[Instruction]:
    """Allow modes of open files by which the owner reads and nobody gains a right; others do nothing.

    The C++ library copies a file to one that nobody can read, and opens that in the end.
    """
    return [
        (LOAD, 0, 0, _argument(1)),
        (JUMP_ANY_BIT, 2, 0, GAINED_BY_OTHERS),
        (JUMP_ANY_BIT, 0, 1, READ_BY_OWNER),
        _allow(),
        (RETURN, 0, 0, NOTHING),
    ]


def _later_processes() -> list[Instruction]:
    """Allow the own group, and processes that are not older than this one: what it started is among them."""
    return [
        (LOAD, 0, 0, _argument(0)),
        (JUMP_EQUAL, 2, 0, 0),
        (JUMP_AT_LEAST, 2, 0, NEGATIVE),
        (JUMP_AT_LEAST, 0, 1, OWN_PID),
        _allow(),
        _deny(),
    ]


def _no_cut(flags: int) -> list[Instruction]:
    return [
        (LOAD, 0, 0, flags),
        (JUMP_ANY_BIT, 0, 3, O_TRUNC),
        (JUMP_ANY_BIT, 1, 0, O_WRONLY | O_RDWR),
        _deny(),
        _allow(),
        _allow(),
    ]
