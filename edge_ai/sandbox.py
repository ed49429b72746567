"""Starting and stopping the child process that touches users' bytes. Knows nothing of machine learning.

The child gets a scrubbed environment, a session of its own, resource limits, a wall-time limit and a folder; it dies with
its parent and is killed with everything that it started. Landlock, seccomp and namespaces join the same two places: the
policy made here in the parent, and :func:`enter` in the new process before it runs anything.
"""

from __future__ import annotations

import abc
import contextlib
import ctypes
import fcntl
import functools
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_ai.engine.errors import ResourceError

PR_SET_PDEATHSIG = 1
CODE_DIR = Path(__file__).resolve().parent.parent
MAX_LINE_BYTES = 4 << 20
READ_BYTES = 65_536
KILL_AFTER_SECONDS = 2.0
_libc = ctypes.CDLL(None, use_errno=True)

Stream = Literal["out", "err"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one child may use."""

    wall_seconds: float
    memory_bytes: int
    file_bytes: int = 8 << 30
    open_files: int = 512
    log_bytes: int = 256 << 10
    cpus: tuple[int, ...] | None = None


class WatchedChild(abc.ABC):
    """A running child, however it was started: what it says is read, and it is ended with all that it started.

    Parameters
    ----------
    limits
        What it may use.
    out, err
        The reading ends of its standard output and error; they are closed here.
    """

    def __init__(self, *, limits: Limits, out: int, err: int) -> None:
        self.limits = limits
        self.killed_for: ResourceError | None = None
        #: What it was forked from died, and it with that, by no fault of its own.
        self.abandoned = False
        self._began = time.monotonic()
        self._logged = 0
        self._buffers: dict[Stream, bytearray] = {"out": bytearray(), "err": bytearray()}
        self._pipes: tuple[int, ...] = (out, err)
        self._selector = selectors.DefaultSelector()
        self._selector.register(out, selectors.EVENT_READ, "out")
        self._selector.register(err, selectors.EVENT_READ, "err")

    @property
    @abc.abstractmethod
    def pid(self) -> int | None:
        """Process id, which is also the id of its group and session; ``None`` as long as it is not known."""

    @property
    def began(self) -> bool:
        """It started on its work."""
        return self.pid is not None

    @property
    @abc.abstractmethod
    def returncode(self) -> int | None:
        """How it ended: negative is a signal; ``None`` while it runs."""

    @abc.abstractmethod
    def _wait(self, seconds: float) -> bool:
        """Wait for its end; tells whether it came."""

    def read(self, timeout: float) -> list[tuple[Stream, str]]:
        """Return the complete lines that arrived within ``timeout`` seconds, and enforce the wall time.

        Lines on standard error beyond ``log_bytes`` are dropped.
        """
        lines: list[tuple[Stream, str]] = []
        if self._selector.get_map():
            for key, _ in self._selector.select(timeout):
                lines += self._take(key.data, key.fd)
        else:
            self._wait(timeout)
        if self.returncode is not None:
            lines += self._take_the_rest()
        elif time.monotonic() - self._began > self.limits.wall_seconds:
            self._kill_for(f"It ran longer than {self.limits.wall_seconds:.0f} seconds.")
        return lines

    @property
    def finished(self) -> bool:
        """It has ended, and everything that it wrote has been read."""
        return not self._selector.get_map() and self.returncode is not None

    def _take_the_rest(self) -> list[tuple[Stream, str]]:
        """Read what the child left in its pipes when it ended, and let go of them.

        A process that it started may hold them open for as long as it likes, so their end is not waited for.
        """
        self._kill_group()
        lines: list[tuple[Stream, str]] = []
        for key in list(self._selector.get_map().values()):
            os.set_blocking(key.fd, False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(fcntl.fcntl(key.fd, fcntl.F_GETPIPE_SZ) // READ_BYTES + 1):
                    lines += self._take(key.data, key.fd)
                    if key.fd not in self._selector.get_map():
                        break
            if key.fd in self._selector.get_map():
                lines += self._let_go(key.data, key.fd)
        return lines

    def _let_go(self, stream: Stream, descriptor: int) -> list[tuple[Stream, str]]:
        self._selector.unregister(descriptor)
        buffer = self._buffers[stream]
        rest = bytes(buffer)
        buffer.clear()
        return [(stream, rest.decode(errors="replace"))] if rest else []

    def _take(self, stream: Stream, descriptor: int) -> list[tuple[Stream, str]]:
        data = os.read(descriptor, READ_BYTES)
        buffer = self._buffers[stream]
        if not data:
            return self._let_go(stream, descriptor)
        if stream == "err":
            room = max(0, self.limits.log_bytes - self._logged)
            self._logged += len(data)
            data = data[:room]
        buffer += data
        if len(buffer) > MAX_LINE_BYTES:
            self._kill_for("It wrote a line without end.")
            buffer.clear()
        *complete, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        return [(stream, line.decode(errors="replace")) for line in complete if line.strip()]

    def _kill_for(self, reason: str) -> None:
        self.killed_for = ResourceError(
            f"The engine was stopped. {reason}",
            code="resource_limit",
            fix="Try a smaller model, a smaller data set or a shorter budget.",
        )
        self.kill()

    def kill(self) -> None:
        """End the child and everything in its group: asked first, then for certain. Returns when it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal_group(number)
            if self._wait(KILL_AFTER_SECONDS):
                break
        self._kill_group()

    def _kill_group(self) -> None:
        # Grandchildren that outlived the leader are still in its group.
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def close(self) -> None:
        """Make sure that nothing of it is left."""
        self.kill()
        self._selector.close()
        for descriptor in self._pipes:
            os.close(descriptor)
        self._pipes = ()


class Child(WatchedChild):
    """A child that is a new process of its own program.

    Parameters
    ----------
    argv
        The command; no secret may stand in it.
    folder
        The only folder that the child is meant to write to, and where it starts.
    stdin
        What it is told, before its standard input is closed.
    limits
        What it may use.
    """

    def __init__(self, argv: Sequence[str], *, folder: Path, stdin: bytes, limits: Limits) -> None:
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment_of(folder),
            start_new_session=True,
            close_fds=True,
            preexec_fn=functools.partial(enter, limits, os.getpid()),
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: S101 - for the type checker
        out, err = (os.dup(stream.fileno()) for stream in (self._process.stdout, self._process.stderr))
        self._process.stdout.close()
        self._process.stderr.close()
        super().__init__(limits=limits, out=out, err=err)
        with contextlib.suppress(BrokenPipeError), self._process.stdin:
            self._process.stdin.write(stdin)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group and session."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended: negative is a signal; ``None`` while it runs."""
        return self._process.poll()

    def _wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def environment_of(folder: Path) -> dict[str, str]:
    """Return everything that a child in ``folder`` has in its environment."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(CODE_DIR),
        # Nothing in the work folder is ever imported.
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        # Unless told not to, onnxruntime sends what it knows of models to its maker, and starts threads for that.
        "ORT_DISABLE_TELEMETRY": "1",
    }


def die_with(parent: int) -> None:
    """Let this process be killed when ``parent`` ends, whatever ends that; it may be gone already."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(99)


def enter(limits: Limits, parent: int) -> None:
    """Take on what a child is held to. Runs in the new process, a child of ``parent``, before anything else does."""
    die_with(parent)
    os.umask(0o077)
    for name, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, int(limits.wall_seconds * (os.cpu_count() or 1)) + 5),
    ):
        resource.setrlimit(name, (value, value))
    if limits.cpus:
        os.sched_setaffinity(0, set(limits.cpus) & os.sched_getaffinity(0) or os.sched_getaffinity(0))
