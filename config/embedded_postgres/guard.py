"""The guard: a small process that stops the server when its last user is gone, however that user went.

It waits without using the processor for the users' lock, which the kernel gives it when no process holds it any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from config.embedded_postgres import locks, processes
from config.embedded_postgres.layout import EmbeddedPostgresError, Layout, create_private, open_private, tail

KEPT_LOG_FILES = 4
PRUNE_EVERY_S = 60
STOP_TIMEOUT_S = 30
NOT_POSTED = "The process that stops the embedded PostgreSQL in the end could not be started"
PROJECT = Path(__file__).resolve().parents[2]


def post(layout: Layout, cluster: str, grace_s: float) -> None:
    """Make sure that a guard is on duty.

    The lock that tells so is taken here and handed to the guard, so that there is no moment in which two could start.
    """
    with locks.transient(layout.guard_lock) as descriptor:
        if not locks.try_lock(descriptor, fcntl.LOCK_EX):
            return
        command = [sys.executable, "-S", "-m", "config.embedded_postgres", "guard", str(layout.base)]
        command += ["--grace", str(grace_s), "--cluster", cluster, "--lock", str(descriptor)]
        layout.guard_log.unlink(missing_ok=True)
        log = create_private(layout.guard_log)
        try:
            # It leaves at once a child of its own, so that no caller has to collect the guard when it ends.
            left = subprocess.run(
                command,
                cwd=PROJECT,
                env={"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                start_new_session=True,
                timeout=60,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(f"{NOT_POSTED}: {error}") from error
        finally:
            os.close(log)
        if left.returncode != 0:
            raise EmbeddedPostgresError(f"{NOT_POSTED}.\n{tail(layout.guard_log)}")


def prune_logs(layout: Layout) -> None:
    """Keep the newest log files of the server, which begins a new one at each start and when one gets large."""
    with contextlib.suppress(OSError):  # tidying; the next time will do
        for path in sorted(layout.log.glob("postgresql-*.log"))[:-KEPT_LOG_FILES]:
            path.unlink(missing_ok=True)


def run(layout: Layout, cluster: str, grace_s: float, lock: int) -> None:
    """Stand guard in a process of its own; return in the process that was called."""
    if os.fork():
        return
    os.chdir("/")
    os.set_inheritable(lock, False)
    signal.signal(signal.SIGALRM, lambda _signal, _frame: prune_logs(layout))
    signal.setitimer(signal.ITIMER_REAL, PRUNE_EVERY_S, PRUNE_EVERY_S)
    try:
        _stand(layout, cluster, grace_s, lock)
    except Exception as error:  # the last chance to leave a word in the log
        print(f"guard: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def _stand(layout: Layout, cluster: str, grace_s: float, lock: int) -> None:
    users = open_private(layout.users_lock)
    while True:
        fcntl.flock(users, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(grace_s)
        if not locks.same_file(users, layout.users_lock):
            # The folder was deleted under the server, and perhaps made again for another one.
            processes.shut_down(layout, cluster, "immediate", timeout_s=STOP_TIMEOUT_S)
            return
        with locks.exclusive(layout.start_lock, timeout_s=3600):
            if not locks.try_lock(users, fcntl.LOCK_EX):
                continue  # somebody came back
            try:
                processes.shut_down(layout, cluster, "fast", timeout_s=STOP_TIMEOUT_S)
            except EmbeddedPostgresError:
                processes.shut_down(layout, cluster, "immediate", timeout_s=STOP_TIMEOUT_S)
            # Before the start lock: whoever starts the server next has to find no guard, and post another.
            fcntl.flock(lock, fcntl.LOCK_UN)
            return
