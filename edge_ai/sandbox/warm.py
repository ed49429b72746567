"""Children that begin warm: forks of a process that has imported what takes long, each in the sandbox of its own.

The worker keeps a :class:`WarmProcess` and asks it for children. The process itself imports a module and nothing more: it
sees no stranger's bytes and is held to no limits. Only its forks are, by the same :func:`edge_ai.sandbox.enter` as a cold
child. It ends when the worker does, and its forks end with it.

What is said between them: the worker sends one request a child, with the descriptors that the child is to have and one
end of a socket. On that socket the fork tells its process id, from inside the sandbox, and the warm process how the
fork ended. The fork stays a zombie until the worker closes its end, so its id means no other process before that.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from edge_ai.sandbox import Limits, WatchedChild, die_with, enter, environment_of

MAX_MESSAGE_BYTES = 64 << 10
MAX_DESCRIPTORS = 65_536
SEND_SECONDS = 5.0
FAILED_TO_BEGIN = 70


class WarmProcess:
    """A process that has imported ``module`` and answers with forks of itself.

    Parameters
    ----------
    module
        Its import is what takes long; its ``serve()`` is what a fork does, and returns the exit status.
    folder
        Where the process starts and has its home. Its forks have others.
    idle_seconds
        It ends by itself when it has had nothing to do for so long.
    """

    def __init__(self, module: str, *, folder: Path, idle_seconds: float) -> None:
        self._owner = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(SEND_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, module, str(theirs.fileno()), str(idle_seconds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=folder,
                env=environment_of(folder),
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                preexec_fn=functools.partial(_settle_in, self._owner),
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """It runs, and belongs to this process rather than to the one that this was forked from."""
        return os.getpid() == self._owner and self._process.poll() is None

    def child(self, *, folder: Path, stdin: bytes, limits: Limits) -> WarmChild:
        """Ask for a child; see :class:`edge_ai.sandbox.Child` for the parameters.

        Raises
        ------
        OSError
            The process does not take the request.
        """
        return WarmChild(self._control, folder=folder, stdin=stdin, limits=limits)

    def stop(self) -> None:
        """End it and its forks."""
        self._control.close()
        self._process.kill()
        self._process.wait()


class WarmChild(WatchedChild):
    """A fork of a warm process. It is asked for here and begins when that process has finished its imports."""

    def __init__(self, control: socket.socket, *, folder: Path, stdin: bytes, limits: Limits) -> None:
        self._pid: int | None = None
        self._pidfd: int | None = None
        self._returncode: int | None = None
        self._status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # recv_fds takes flags, and forgets them.
        self._status.setblocking(False)
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        super().__init__(limits=limits, out=out, err=err)
        told = os.memfd_create("stdin")
        request = {"folder": str(folder), "environment": environment_of(folder), "limits": asdict(limits)}
        try:
            with open(told, "wb", closefd=False) as stream:
                stream.write(stdin)
            os.lseek(told, 0, os.SEEK_SET)
            theirs = [told, their_out, their_err, their_status.fileno()]
            socket.send_fds(control, [json.dumps(request).encode()], theirs)
        except OSError:
            self.close()
            raise
        finally:
            their_status.close()
            for descriptor in (told, their_out, their_err):
                os.close(descriptor)

    @property
    def pid(self) -> int | None:
        """Process id, which is also the id of its group and session; ``None`` before it has begun."""
        self._hear()
        return self._pid

    @property
    def began(self) -> bool:
        """It was in the sandbox, about to do its work; what was asked of it may be half done."""
        return self.pid is not None

    @property
    def returncode(self) -> int | None:
        """How it ended: negative is a signal; ``None`` while it runs, and before that."""
        self._hear()
        return self._returncode

    def kill(self) -> None:
        """End the child and everything in its group; one that has not begun never will."""
        if not self.began and self.returncode is None:
            # The warm process begins nothing for a socket that is closed, and kills what has just begun.
            self._status.close()
            self._returncode = -signal.SIGKILL
        super().kill()

    def close(self) -> None:
        """Make sure that nothing of it is left."""
        super().close()
        self._status.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.returncode is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([self._status], [], [], left)
        return True

    def _hear(self) -> None:
        """Take in what was said about it; never blocks."""
        while self._returncode is None:
            try:
                data, descriptors, *_ = socket.recv_fds(self._status, MAX_MESSAGE_BYTES, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                data, descriptors = b"", []
            if not data:
                self._lose()
                return
            message = json.loads(data)
            if "pid" in message:
                self._pid = int(message["pid"])
                self._pidfd = descriptors[0]
            else:
                self._returncode = int(message["returncode"])

    def _lose(self) -> None:
        """The warm process is gone. The kernel kills its forks; wait until that has happened."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            select.select([self._pidfd], [], [], SEND_SECONDS)
        self.abandoned = True
        self._returncode = -signal.SIGKILL


def _settle_in(parent: int) -> None:
    die_with(parent)
    os.umask(0o077)


# -- in the warm process ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class _Fork:
    pid: int
    pidfd: int
    status: socket.socket


class _Server:
    """The warm process's loop: forks on request, tells how each fork ended, and lets go of it when it may."""

    def __init__(self, control: socket.socket, work: Callable[[], int], idle_seconds: float) -> None:
        self._control = control
        self._work = work
        self._idle_seconds = idle_seconds
        self._forks: dict[int, _Fork] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Answer until the worker is gone, or there was nothing to do for long enough."""
        while True:
            events = self._selector.select(None if self._forks else self._idle_seconds)
            if not events:
                return
            for key, _ in events:
                if key.fileobj is self._control:
                    if not self._answer():
                        return
                elif key.data.pid in self._forks:
                    self._attend(key.data, ended=key.fileobj == key.data.pidfd)

    def end(self) -> None:
        """Leave no fork behind."""
        for fork in list(self._forks.values()):
            self._release(fork)

    def _answer(self) -> bool:
        """Take a request; ``False`` when no more will come."""
        data, descriptors, *_ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 4)
        if not data:
            return False
        *streams, status_descriptor = descriptors
        status = socket.socket(fileno=status_descriptor)
        try:
            if _is_closed(status):
                status.close()
            else:
                self._fork(json.loads(data), streams, status)
        finally:
            for descriptor in streams:
                os.close(descriptor)
        return True

    def _fork(self, request: dict[str, Any], streams: Sequence[int], status: socket.socket) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_child(request, streams, status, parent, self._work)
        fork = _Fork(pid=pid, pidfd=os.pidfd_open(pid), status=status)
        self._forks[pid] = fork
        self._selector.register(fork.pidfd, selectors.EVENT_READ, fork)
        self._selector.register(status, selectors.EVENT_READ, fork)

    def _attend(self, fork: _Fork, *, ended: bool) -> None:
        if not ended:
            self._release(fork)
            return
        self._selector.unregister(fork.pidfd)
        how = os.waitid(os.P_PID, fork.pid, os.WEXITED | os.WNOWAIT)
        if how is not None:
            code = how.si_status if how.si_code == os.CLD_EXITED else -how.si_status
            with contextlib.suppress(OSError):
                fork.status.send(json.dumps({"returncode": code}).encode())

    def _release(self, fork: _Fork) -> None:
        """The worker wants no more of it: end what still runs, and give its process id back."""
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(fork.pid, signal.SIGKILL)
        os.waitpid(fork.pid, 0)
        for item in (fork.pidfd, fork.status):
            with contextlib.suppress(KeyError):
                self._selector.unregister(item)
        os.close(fork.pidfd)
        fork.status.close()
        del self._forks[fork.pid]


def _is_closed(status: socket.socket) -> bool:
    try:
        return status.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _become_child(
    request: dict[str, Any], streams: Sequence[int], status: socket.socket, parent: int, work: Callable[[], int]
) -> NoReturn:
    """Be what a cold child is when it begins, and do the work. Runs in the fork."""
    code = FAILED_TO_BEGIN
    try:
        os.setsid()
        enter(_limits(request["limits"]), parent)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        own = os.pidfd_open(os.getpid())
        socket.send_fds(status, [json.dumps({"pid": os.getpid()}).encode()], [own])
        # All that the warm process has open: what it hears from the worker, and what it tells of other forks.
        os.closerange(3, MAX_DESCRIPTORS)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
        tempfile.tempdir = None
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1 if code == 0 else code
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _limits(data: dict[str, Any]) -> Limits:
    return Limits(**(data | {"cpus": tuple(data["cpus"]) if data["cpus"] else None}))


def main(arguments: Sequence[str]) -> int:
    """Import the module, then answer: ``MODULE DESCRIPTOR IDLE_SECONDS``."""
    name, descriptor, idle_seconds = arguments
    control = socket.socket(fileno=int(descriptor))
    module = importlib.import_module(name)
    # What is there now stays as it is: the forks share it for longer when the collector does not write to it.
    gc.collect()
    gc.freeze()
    server = _Server(control, module.serve, float(idle_seconds))
    try:
        server.run()
    finally:
        server.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
