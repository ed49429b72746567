"""What can be known of a server from outside: its answer on the socket and its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

from config.embedded_postgres.layout import ADMIN_USER, PORT, EmbeddedPostgresError, Layout

ANSWER_TIMEOUT_S = 5
PROTOCOL_3_0 = 196608
CANNOT_CONNECT_NOW = b"57P03"  # starting up, shutting down, or in recovery
POLL_S = 0.02
ORPHAN_PATIENCE_S = 3
ShutdownMode = Literal["smart", "fast", "immediate"]
SIGNALS: dict[ShutdownMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class State(Enum):
    """What the server's socket answers."""

    READY = "ready"
    BUSY = "busy"  # somebody listens, and does not take connections now
    ABSENT = "absent"


def probe(sockets: Path) -> State:
    """Ask the server for a connection and hang up when it asks for the password.

    Only the server itself can tell that it lives: a process number may be a zombie's or somebody else's, and a socket
    file outlives its server. Spoken by hand: it takes a fraction of the time of a whole sign-in, and no driver.
    """
    fields = f"user\0{ADMIN_USER}\0database\0postgres\0\0".encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_TIMEOUT_S)
        try:
            client.connect(str(sockets / f".s.PGSQL.{PORT}"))
            client.sendall(struct.pack("!ii", len(fields) + 8, PROTOCOL_3_0) + fields)
            answer = client.recv(2000)
        except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
            return State.ABSENT
        except (BlockingIOError, TimeoutError, ConnectionError):
            return State.BUSY
    if not answer or (answer[:1] == b"E" and b"C" + CANNOT_CONNECT_NOW in answer):
        return State.BUSY
    return State.READY


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The living processes of one server; zombies are not among them."""

    postmaster: int | None
    children: tuple[int, ...]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # gone meanwhile


def _recorded_pid(layout: Layout) -> int | None:
    try:
        return int((layout.pgdata / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def can_list_processes() -> bool:
    """Tell whether processes can be told apart here (Linux)."""
    return Path("/proc/self/cmdline").exists()


def find(layout: Layout, cluster: str) -> Processes:
    """Return the processes of the server called ``cluster``.

    They are told by the name in their titles. Their working folder would tell too, but root in a container without
    CAP_SYS_PTRACE may not read it. Where there is no ``/proc``, the recorded number has to do.
    """
    if not can_list_processes():
        absent = probe(layout.sockets) is State.ABSENT
        return Processes(postmaster=None if absent else _recorded_pid(layout), children=())
    postmaster, children = None, []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        command = _command(pid)
        if command.startswith(f"postgres: {cluster}:".encode()):
            children.append(pid)
        elif _is_postmaster(command, cluster):
            postmaster = pid
    return Processes(postmaster=postmaster, children=tuple(children))


def _is_postmaster(command: bytes, cluster: str) -> bool:
    arguments = command.split(b"\0")
    return arguments[0].endswith(b"postgres") and f"cluster_name={cluster}".encode() in arguments


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; tell whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def shut_down(layout: Layout, cluster: str, mode: ShutdownMode, *, timeout_s: float) -> None:
    """Stop the server called ``cluster`` if it runs, and wait until none of its processes is left."""
    postmaster = find(layout, cluster).postmaster
    if postmaster is None:
        remove_orphans(layout, cluster)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(postmaster, SIGNALS[mode])
    if not wait_until(lambda: find(layout, cluster) == Processes(postmaster=None, children=()), timeout_s):
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL (process {postmaster}) did not stop within {timeout_s:.0f} s of a {mode} "
            "shutdown. Close its connections, or stop it with mode immediate."
        )


def remove_orphans(layout: Layout, cluster: str) -> None:
    """Wait until no process of a dead server is left, and in the end kill those that do not notice.

    PostgreSQL's processes leave when their postmaster is gone, but a long query first runs to its end. As long as one
    is there, a new server must not touch the data. Killing them loses nothing: the new server recovers in any case.
    """
    if wait_until(lambda: not find(layout, cluster).children, ORPHAN_PATIENCE_S):
        return
    for pid in find(layout, cluster).children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not find(layout, cluster).children, 10):
        raise EmbeddedPostgresError(
            f"Processes of a PostgreSQL that was killed still use {layout.pgdata} and cannot be ended: "
            f"{', '.join(map(str, find(layout, cluster).children))}."
        )
