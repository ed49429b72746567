"""Doing in a fork first what a library may never come back from. Standard library only."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from typing import Final

POLL_SECONDS: Final = 0.002
#: Waiting for others on a busy machine is no fault of the file.
WALL_FACTOR: Final = 6


def survives(work: Callable[[], object], *, cpu_seconds: int) -> bool:
    """Do ``work`` in a fork; tells whether that came to an end, be it by an exception, and did not crash.

    Parameters
    ----------
    work
        What is done again by the caller, who then gets its answer or exception. It must not need threads.
    cpu_seconds
        How much processor time it may take.
    """
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
            work()
        except BaseException:  # noqa: S110 - the caller meets it again
            pass
        finally:
            os._exit(0)
    deadline = time.monotonic() + cpu_seconds * WALL_FACTOR
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.WIFEXITED(status)
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return False
        time.sleep(POLL_SECONDS)
