"""What a hostile model would try, tried: a program that runs in a child and tells what was stopped. Standard library only.

It is told on standard input what was planted outside of its folder, and answers with a JSON line for each attempt. What it
did unseen, such as the signal that arrived, is looked for from outside by :mod:`edge_ai.sandbox.probe`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
SETUID_PROGRAMS = ("/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/newgrp")
#: Calls that reach deep into the kernel, with their numbers on x86_64 and aarch64, and arguments that do no harm.
KERNEL_CALLS = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
}
_libc = ctypes.CDLL(None, use_errno=True)

Planted = dict[str, Any]


def _call(result: int) -> None:
    """Raise what a function of the C library failed with."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def read_file(planted: Planted) -> None:
    """Read a file outside of its folder."""
    Path(planted["secret"]).read_text()


def read_by_link(planted: Planted) -> None:
    """Read a file outside of its folder through a symbolic or a hard link in it."""
    makers: tuple[Callable[[str, str], None], ...] = (os.symlink, os.link)
    for number, make in enumerate(makers):
        with contextlib.suppress(OSError):
            make(planted["secret"], f"link{number}")
            Path(f"link{number}").read_text()
            return
    raise PermissionError("neither link leads there")


def list_folder(planted: Planted) -> None:
    """List a folder outside of its own."""
    list(Path(planted["outside"]).iterdir())


def write_file(planted: Planted) -> None:
    """Write a file outside of its folder."""
    Path(planted["outside"], "written").write_text("written")


def cut_file(planted: Planted) -> None:
    """Cut a file outside of its folder short."""
    with contextlib.suppress(OSError):
        os.truncate(planted["secret"], 0)
    os.close(os.open(planted["secret"], os.O_RDONLY | os.O_TRUNC))


def change_mode(planted: Planted) -> None:
    """Change the permissions of a file outside of its folder."""
    secret = Path(planted["secret"])
    before = secret.stat().st_mode
    secret.chmod(0o666)
    with contextlib.suppress(OSError), secret.open() as stream:
        os.fchmod(stream.fileno(), 0o666)
    if secret.stat().st_mode == before:
        raise PermissionError("nothing changed")


def read_environment(planted: Planted) -> None:
    """Read the environment of another process."""
    mark = planted["mark"].encode()
    for pid in (str(planted["victim"]), *filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208 - names are wanted
        with contextlib.suppress(OSError):
            if mark in Path("/proc", pid, "environ").read_bytes():
                return
    raise PermissionError("no process shows it")


def read_memory(planted: Planted) -> None:
    """Read the memory of another process."""
    with Path("/proc", str(planted["victim"]), "mem").open("rb"):
        pass


def trace(planted: Planted) -> None:
    """Take control of another process as a debugger does."""
    _call(_libc.ptrace(PTRACE_ATTACH, planted["victim"], None, None))
    _libc.ptrace(PTRACE_DETACH, planted["victim"], None, None)


def kill(planted: Planted) -> None:
    """End another process."""
    os.kill(planted["victim"], signal.SIGTERM)


def limit_another(planted: Planted) -> None:
    """Limit what another process may use."""
    resource.prlimit(planted["victim"], resource.RLIMIT_NOFILE, (3, 3))


def connect(planted: Planted) -> None:
    """Connect to a program on this machine over TCP."""
    with socket.socket() as made:
        made.connect(("127.0.0.1", planted["port"]))


def open_socket(planted: Planted) -> None:
    """Send a packet into the network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"packet", ("127.0.0.1", planted["port"]))


def reach_socket(planted: Planted) -> None:
    """Send a message to a program's socket in the file system."""
    for make in (socket.socketpair, lambda *kind: (socket.socket(*kind), None)):
        with contextlib.suppress(OSError):
            first, _ = make(socket.AF_UNIX, socket.SOCK_DGRAM)
            first.sendto(b"message", planted["socket"])
            return
    raise PermissionError("no socket can send it")


def reach_abstract_socket(planted: Planted) -> None:
    """Send a message to a program's socket that has a name but no file."""
    for make in (socket.socketpair, lambda *kind: (socket.socket(*kind), None)):
        with contextlib.suppress(OSError):
            first, _ = make(socket.AF_UNIX, socket.SOCK_DGRAM)
            first.sendto(b"message", "\0" + planted["abstract"])
            return
    raise PermissionError("no socket can send it")


def make_namespace(planted: Planted) -> None:
    """Make namespaces of its own, in which it would be root."""
    pid = os.fork()
    if pid == 0:
        os._exit(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise PermissionError("a new namespace is refused")


def mount(planted: Planted) -> None:
    """Mount a file system."""
    Path("mounted").mkdir(exist_ok=True)
    _call(_libc.mount(b"none", b"mounted", b"tmpfs", ctypes.c_ulong(0), None))


def make_device(planted: Planted) -> None:
    """Make a device file, by which the disk could be read."""
    os.mknod("device", 0o060600, os.makedev(8, 0))


def gain_rights(planted: Planted) -> None:
    """Gain root's rights by a program that gives them."""
    program = next((name for name in SETUID_PROGRAMS if Path(name).exists()), None)
    if program is None:
        raise FileNotFoundError("there is no such program")
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as started:
        try:
            for _ in range(20):
                with contextlib.suppress(OSError, IndexError):
                    status = Path("/proc", str(started.pid), "status").read_text()
                    if os.getuid() != 0 and status.partition("\nUid:")[2].split()[1] == "0":
                        return
                time.sleep(0.002)
        finally:
            with contextlib.suppress(OSError):
                started.kill()
    raise PermissionError("it has no more rights than before")


def keep_rights(planted: Planted) -> None:
    """Give a file to somebody else, which root alone may."""
    os.chown(planted["secret"], 4711, 4711)
    if Path(planted["secret"]).stat().st_uid != 4711:
        raise PermissionError("nothing changed")


def fork(planted: Planted) -> None:
    """Start more processes than it may."""
    children: list[int] = []
    try:
        for _ in range(planted["forks"]):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            children.append(pid)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def leave_group(planted: Planted) -> None:
    """Leave the group of processes that is ended with it, so as to live on."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise PermissionError("a new session is refused")


def hide_memory(planted: Planted) -> None:
    """Have memory that belongs to no process, and so is not counted."""
    os.close(os.memfd_create("hidden"))


def outlive(planted: Planted) -> None:
    """Leave shared memory behind that outlives it."""
    segment = _libc.shmget(0, ctypes.c_size_t(4096), 0o1600)
    _call(segment)
    _libc.shmctl(segment, 0, None)


def deep_calls(planted: Planted) -> None:
    """Call parts of the kernel in which mistakes are often found."""
    column = 0 if platform.machine() == "x86_64" else 1
    for name, numbers in KERNEL_CALLS.items():
        if _libc.syscall(numbers[column], -1, None, 0, 0, 0) >= 0 or ctypes.get_errno() not in {1, 38}:
            raise RuntimeError(f"{name} is not refused")
    raise PermissionError("all are refused")


#: Attempts that count as stopped when they raise an error of the system. ``deep_calls`` says itself what was let through.
ATTACKS: tuple[Callable[[Planted], None], ...] = (
    read_file, read_by_link, list_folder, write_file, change_mode, read_environment, read_memory, trace, limit_another,
    kill, connect, open_socket, reach_socket, reach_abstract_socket, make_namespace, mount, make_device, gain_rights,
    keep_rights, cut_file, fork, leave_group, hide_memory, outlive, deep_calls,
)  # fmt: skip


def honest_work() -> None:
    """Do what every engine does."""
    Path("made").write_text("made")
    shutil.copy("made", "copied")
    Path("copied").replace("moved")
    # As the C++ library copies.
    target = os.open("closed", os.O_WRONLY | os.O_CREAT, 0o200)
    os.fchmod(target, 0o600)
    os.close(target)
    Path("closed").read_text()
    with tempfile.TemporaryFile() as stream:
        stream.write(b"x" * 100_000)
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    assert "processor" in Path("/proc/cpuinfo").read_text().lower()  # noqa: S101 - to raise
    assert os.access(sys.executable, os.X_OK) and os.access(Path("made").absolute(), os.R_OK)  # noqa: S101 - alike
    worker = threading.Thread(target=time.sleep, args=(0,))
    worker.start()
    worker.join()
    for one in socket.socketpair():
        one.close()
    code = "import edge_ai.engine.errors"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, stderr=subprocess.PIPE)


def _attempt(attack: Callable[[Planted], None], planted: Planted) -> dict[str, object]:
    title = (attack.__doc__ or "").partition("\n")[0].rstrip(".")
    try:
        attack(planted)
    except OSError as error:
        return {"name": attack.__name__, "title": title, "stopped": True, "how": error.strerror or str(error)}
    except RuntimeError as error:
        return {"name": attack.__name__, "title": title, "stopped": False, "how": str(error)}
    return {"name": attack.__name__, "title": title, "stopped": False, "how": "It could."}


def main() -> int:
    """Attack, then work honestly."""
    planted = json.load(sys.stdin)
    for attack in ATTACKS:
        print(json.dumps(_attempt(attack, planted)), flush=True)
    try:
        honest_work()
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        print(
            json.dumps({"works": False, "why": f"{error} {said.decode(errors='replace')[-300:]}".strip()}), flush=True
        )
    else:
        print(json.dumps({"works": True, "why": ""}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
