"""A child that is a new process of its own program."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_ai.sandbox import bubblewrap, places
from edge_ai.sandbox.errors import SandboxError
from edge_ai.sandbox.inside import die_with, held_or_ended
from edge_ai.sandbox.levels import LAYERS, Level
from edge_ai.sandbox.limits import Limits
from edge_ai.sandbox.policy import Policy, policy_for
from edge_ai.sandbox.watched import Stream, WatchedChild

#: What is kept of the log to say why a child could not be held.
LAST_WORDS = 300


class Child(WatchedChild):
    """A child that is a new process of its own program.

    Parameters
    ----------
    argv
        The command; no secret may stand in it.
    folder
        The only folder that the child can write to, and where it starts. Files in it that nobody may write are its
        input, and stay as they are.
    stdin
        What it is told, before its standard input is closed.
    limits
        What it may use.
    level
        How it is held; the best that works on this host by default.

    Raises
    ------
    SandboxError
        It cannot be held so. A layer that turns out to be missing in the new process is told by ``killed_for``.
    """

    def __init__(
        self, argv: Sequence[str], *, folder: Path, stdin: bytes, limits: Limits, level: Level | None = None
    ) -> None:
        if level is None:
            # The probe starts children to find out.
            from edge_ai.sandbox.probe import best_level

            level = best_level()
        within = folder if LAYERS[level].bubblewrap else None
        # Inside of bubblewrap, its own first process is the parent.
        if within is not None and bubblewrap.find() is None:
            raise SandboxError(f"The sandbox level “{level}” needs bubblewrap, which is not installed.")
        policy = policy_for(level, folder=folder, limits=limits, parent=1 if within else os.getpid(), within=within)
        if policy["uid"] is not None:
            places.hand_over(folder, policy["uid"])
        self._last_words = ""
        self._held = b""
        self._ready, ready = os.pipe()
        try:
            self._process = _start_wrapped(argv, policy, ready) if within else _start(argv, policy, ready)
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            os.close(ready)
        self._pidfd = os.pidfd_open(self._process.pid)
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: S101 - for the type checker
        out, err = (os.dup(stream.fileno()) for stream in (self._process.stdout, self._process.stderr))
        self._process.stdout.close()
        self._process.stderr.close()
        super().__init__(level=level, folder=folder, uid=policy["uid"], limits=limits, out=out, err=err)
        self._watch()
        with contextlib.suppress(BrokenPipeError), self._process.stdin:
            self._process.stdin.write(stdin)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group and session; with bubblewrap, that of bubblewrap."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended: negative is a signal; ``None`` while it runs."""
        with self._lock:
            if self._process.returncode is None and self._has_ended(0):
                # As long as its end has not been asked for, its group cannot be anybody else's.
                self._end_everything()
                self._process.wait()
            code = self._process.returncode
            return bubblewrap.returncode(code) if code is not None and LAYERS[self.level].bubblewrap else code

    def read(self, timeout: float) -> list[tuple[Stream, str]]:
        """Return the complete lines that arrived within ``timeout`` seconds; see :class:`WatchedChild`."""
        lines = super().read(timeout)
        if not self._held:
            self._last_words = " ".join([self._last_words, *(line for stream, line in lines if stream == "err")])
            self._last_words = self._last_words[-LAST_WORDS:].strip()
            # One that was killed meanwhile says nothing about the sandbox, which kills by other signals.
            code = self.returncode
            if code not in {None, -signal.SIGKILL} and not self._was_held() and self.killed_for is None:
                self.killed_for = SandboxError(
                    f"The engine was not started: the sandbox level “{self.level}” does not hold it. "
                    f"{self._last_words or f'It ended with {code}.'}"
                )
        return lines

    def close(self) -> None:
        """Make sure that nothing of it is left, and that what it made is ours."""
        super().close()
        for descriptor in (self._pidfd, self._ready):
            if descriptor >= 0:
                os.close(descriptor)
        self._pidfd = self._ready = -1

    def _was_held(self) -> bool:
        """Tell whether the new process had taken on everything before it became the program."""
        if not self._held and self._ready >= 0:
            os.set_blocking(self._ready, False)
            with contextlib.suppress(BlockingIOError):
                self._held = os.read(self._ready, 16)
        return bool(self._held)

    def _present(self) -> int | None:
        return self._process.pid if self._process.returncode is None else None

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._pidfd], [], [], seconds)[0])

    def _wait(self, seconds: float) -> bool:
        if self._process.returncode is None:
            self._has_ended(seconds)
        return self.returncode is not None


def _start(argv: Sequence[str], policy: Policy, ready: int) -> subprocess.Popen[bytes]:
    """Start a process that takes on the policy between fork and exec."""
    return _open(argv, policy, functools.partial(held_or_ended, policy, ready))


def _start_wrapped(argv: Sequence[str], policy: Policy, ready: int) -> subprocess.Popen[bytes]:
    """Start bubblewrap, and in it a process that takes on the policy and becomes the program."""
    folder = Path(policy["folder"])
    told = os.memfd_create("policy")
    try:
        with open(told, "w", encoding="utf-8", closefd=False) as stream:
            json.dump(policy, stream)
        os.lseek(told, 0, os.SEEK_SET)
        command = bubblewrap.command(
            bubblewrap.held(told, ready, argv),
            writable=folder,
            read_only=places.inputs(folder),
            capabilities=bubblewrap.TO_BECOME_SOMEBODY,
        )
        return _open(command, policy, functools.partial(die_with, os.getpid()), descriptors=(told, ready))
    finally:
        os.close(told)


def _open(
    argv: Sequence[str], policy: Policy, first: functools.partial[None], descriptors: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    folder = Path(policy["folder"])
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment_of(folder),
        start_new_session=True,
        close_fds=True,
        pass_fds=descriptors,
        preexec_fn=first,
    )


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
        "PYTHONPATH": str(places.IMPORTABLE),
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
