"""Children that begin warm: forks of a process that has imported what takes long, each held like a cold child.

The worker keeps a :class:`WarmProcess` and asks it for children. The process itself imports a module and nothing more: it
sees no stranger's bytes and is held to no limits. Only its forks are, by the same policy as a cold child's. It ends when
the worker does, and its forks end with it.

Bubblewrap cannot be put around a fork. At a level with bubblewrap it is around the warm process, where the folders of all
children are, and Landlock keeps each fork to its own. A level with bubblewrap but without Landlock has no warm children.

What is said between them: the worker sends one request a child, with the descriptors that the child is to have and one
end of a socket. On that socket the fork tells that it is held and about to begin, and the warm process how the fork
ended. The fork stays a zombie until the worker closes its end, so its id means no other process before that.
:mod:`edge_ai.sandbox.warm_server` is the other side.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from edge_ai.sandbox import bubblewrap, places
from edge_ai.sandbox.child import environment_of
from edge_ai.sandbox.errors import SandboxError
from edge_ai.sandbox.inside import die_with
from edge_ai.sandbox.levels import LAYERS, Level
from edge_ai.sandbox.limits import Limits
from edge_ai.sandbox.policy import policy_for
from edge_ai.sandbox.warm_server import FAILED_TO_BEGIN, MAX_MESSAGE_BYTES, SEND_SECONDS
from edge_ai.sandbox.watched import WatchedChild

__all__ = ["FAILED_TO_BEGIN", "WARM_LEVELS", "WarmChild", "WarmProcess"]
SERVER = "edge_ai.sandbox.warm_server"
#: Levels at which a fork is held as well as a cold child.
WARM_LEVELS = frozenset(level for level, layers in LAYERS.items() if layers.landlock or not layers.bubblewrap)


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
    level
        How its forks are held; the best that works on this host by default.
    around
        In this folder are those of all its forks; the one above ``folder`` by default.

    Raises
    ------
    SandboxError
        There are no warm children at that level.
    """

    def __init__(
        self, module: str, *, folder: Path, idle_seconds: float, level: Level | None = None, around: Path | None = None
    ) -> None:
        if level is None:
            # The probe starts children to find out.
            from edge_ai.sandbox.probe import best_level

            level = best_level()
        if level not in WARM_LEVELS:
            raise SandboxError(f"There are no warm children at the sandbox level “{level}”.")
        self.level = level
        self._within = (around or folder.parent) if LAYERS[level].bubblewrap else None
        self._owner = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(SEND_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                self._command(module, folder, theirs.fileno(), idle_seconds),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=folder,
                # What it imports is ours, wherever that lies; what its forks can still reach is up to their policy.
                env=environment_of(folder) | {"PYTHONPATH": f"{places.IMPORTABLE}{os.pathsep}{places.CODE_DIR}"},
                start_new_session=True,
                pass_fds=[theirs.fileno()],
                preexec_fn=functools.partial(_settle_in, self._owner),
            )

    def _command(self, module: str, folder: Path, control: int, idle_seconds: float) -> list[str]:
        program = [sys.executable, "-P", "-m", SERVER, module, str(control), str(idle_seconds), str(folder)]
        if self._within is None:
            return program
        return bubblewrap.command(
            program,
            writable=self._within,
            also=[places.CODE_DIR / module.partition(".")[0]],
            capabilities=bubblewrap.TO_BECOME_SOMEBODY + bubblewrap.TO_END_THEM,
        )

    @property
    def pid(self) -> int:
        """Process id; with bubblewrap, that of bubblewrap."""
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
        if self._within is not None and not folder.is_relative_to(self._within):
            raise FileNotFoundError(f"{folder} is not where the warm process can see it.")
        return WarmChild(
            self._control, within=self._within, level=self.level, folder=folder, stdin=stdin, limits=limits
        )

    def stop(self) -> None:
        """End it and its forks."""
        self._control.close()
        self._process.kill()
        self._process.wait()


class WarmChild(WatchedChild):
    """A fork of a warm process. It is asked for here and begins when that process has finished its imports."""

    def __init__(
        self,
        control: socket.socket,
        *,
        within: Path | None,
        level: Level,
        folder: Path,
        stdin: bytes,
        limits: Limits,
    ) -> None:
        # The warm process says itself which parent it is.
        policy = policy_for(level, folder=folder, limits=limits, parent=0, within=within)
        if policy["uid"] is not None:
            places.hand_over(folder, policy["uid"])
        self._pid: int | None = None
        self._pidfd: int | None = None
        self._returncode: int | None = None
        self._status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # recv_fds takes flags, and forgets them.
        self._status.setblocking(False)
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        super().__init__(level=level, folder=folder, uid=policy["uid"], limits=limits, out=out, err=err)
        self._watch()
        told = os.memfd_create("stdin")
        request = {"folder": str(folder), "environment": environment_of(folder), "policy": policy}
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

    def _present(self) -> int | None:
        # A zombie until the socket is closed.
        return self._pid if self._status.fileno() >= 0 else None

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
                self._pidfd = descriptors[0]
                self._pid = _pid_of(self._pidfd)
            else:
                self._end_everything()
                self._returncode = int(message["returncode"])

    def _lose(self) -> None:
        """The warm process is gone. The kernel kills its forks; wait until that has happened."""
        self._end_everything()
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            select.select([self._pidfd], [], [], SEND_SECONDS)
        self.abandoned = True
        self._returncode = -signal.SIGKILL


def _settle_in(parent: int) -> None:
    die_with(parent)
    os.umask(0o077)


def _pid_of(pidfd: int) -> int:
    """Return the process id as it is here: in a process namespace a process knows itself by another."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"Descriptor {pidfd} is of no process.")
