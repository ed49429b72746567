"""The warm process itself: it imports a module once, and forks a child for each request. See :mod:`edge_ai.sandbox.warm`."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from edge_ai.sandbox.inside import enter

MAX_MESSAGE_BYTES = 64 << 10
MAX_DESCRIPTORS = 65_536
SEND_SECONDS = 5.0
FAILED_TO_BEGIN = 70


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
        own = os.pidfd_open(os.getpid())
        enter(request["policy"] | {"parent": parent})
        os.environ.clear()
        os.environ.update(request["environment"])
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
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


def main(arguments: Sequence[str]) -> int:
    """Import the module, then answer: ``MODULE DESCRIPTOR IDLE_SECONDS FOLDER``."""
    name, descriptor, idle_seconds, folder = arguments
    os.chdir(folder)
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
