"""The file locks that hold the processes of one data folder together, also across ``fork``.

``users.lock``: every process that uses the server holds it shared for as long as it lives. The kernel lets go of it at
any death, ``kill -9`` included, and a forked child holds its parent's lock with it.
``start.lock``: held exclusively while the server is started or stopped.
``guard.lock``: held exclusively by the guard on duty.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.embedded_postgres.layout import EmbeddedPostgresError, open_private

POLL_S = 0.01


@dataclass(frozen=True, kw_only=True)
class _Membership:
    descriptor: int
    device: int
    inode: int


# One thread of a process at a time works on the server. Replaced in a forked child, where its holder does not exist.
process_lock = threading.Lock()
_memberships: dict[Path, _Membership] = {}
# Descriptors of locks held for a moment. A child forked in that moment must not keep the lock alive with its copy.
_transient: set[int] = set()


def _forget_parents_work() -> None:
    global process_lock
    process_lock = threading.Lock()
    for descriptor in _transient:
        os.close(descriptor)
    _transient.clear()


os.register_at_fork(after_in_child=_forget_parents_work)


def try_lock(descriptor: int, operation: int) -> bool:
    """Take a lock when that needs no waiting."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(descriptor: int, operation: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not try_lock(descriptor, operation):
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"Another process has held {path} for more than {timeout_s:.0f} s: it may hang while it starts or "
                f"stops the embedded PostgreSQL. `fuser {path}` names it; end it and try again."
            )
        time.sleep(POLL_S)


@contextmanager
def transient(path: Path) -> Iterator[int]:
    """Open a lock file for a moment."""
    descriptor = open_private(path)
    _transient.add(descriptor)
    try:
        yield descriptor
    finally:
        _transient.discard(descriptor)
        os.close(descriptor)


@contextmanager
def exclusive(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold a lock exclusively for a moment."""
    with transient(path) as descriptor:
        _lock(descriptor, fcntl.LOCK_EX, path, timeout_s)
        try:
            yield
        finally:
            # Closing alone would leave the lock to a child that was forked meanwhile and has not closed its copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_file(descriptor: int, device: int, inode: int) -> bool:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def join_users(path: Path, *, timeout_s: float) -> None:
    """Hold the users' lock from now on until this process ends; calling again costs two system calls.

    The descriptor is compared with the file each time: a process that turned into a daemon has closed it, and a data
    folder that was deleted and made again has another one.
    """
    known = _memberships.get(path)
    if known is not None:
        ours = _is_file(known.descriptor, known.device, known.inode)
        if ours and same_file(known.descriptor, path):
            return
        del _memberships[path]
        if ours:
            os.close(known.descriptor)
    while True:
        descriptor = open_private(path)
        try:
            _lock(descriptor, fcntl.LOCK_SH, path, timeout_s)
        except BaseException:
            os.close(descriptor)
            raise
        if same_file(descriptor, path):
            break
        os.close(descriptor)
    found = os.fstat(descriptor)
    _memberships[path] = _Membership(descriptor=descriptor, device=found.st_dev, inode=found.st_ino)


def same_file(descriptor: int, path: Path) -> bool:
    """Tell whether ``path`` still names the open file."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return _is_file(descriptor, named.st_dev, named.st_ino)
