"""What the processes of a cluster share, made so that killing any of them at any moment leaves the others working.

django-q2 uses multiprocessing's queue, event and value, whose locks stay taken when their holder is killed: a worker
killed while it waits for work holds the lock that all workers take in turn, and the cluster stands still for ever.
These do the same without such locks. They are made before a fork and used on both sides of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import mmap
import os
import pickle
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from typing import Any

log = logging.getLogger(__name__)
MAX_MESSAGE_BYTES = 1 << 20
MAX_RESULT_CHARACTERS = 10_000
POLL_SECONDS = 0.02


class Mailbox:
    """A queue: the kernel hands each message whole to exactly one reader, and who dies waiting takes none along.

    With ``maxsize`` the sender waits until the message before was taken; without it a message that finds no room is
    dropped, since here nothing depends on one: a job's row is the truth.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._one_at_a_time = maxsize > 0

    def put(self, item: Any) -> None:
        """Send a message."""
        while self._one_at_a_time and not self.empty():
            time.sleep(POLL_SECONDS)
        try:
            self._send(item)
        except BlockingIOError:
            log.warning("A message between the queue's processes found no room and was dropped.")
        except OSError as error:
            if error.errno != errno.EMSGSIZE or not isinstance(item, dict):
                raise
            self._send(item | {"result": str(item.get("result"))[-MAX_RESULT_CHARACTERS:]})

    def _send(self, item: Any) -> None:
        self._writer.send(pickle.dumps(item), 0 if self._one_at_a_time else socket.MSG_DONTWAIT)

    def get(self) -> Any:
        """Wait for a message and take it."""
        return pickle.loads(self._reader.recv(MAX_MESSAGE_BYTES))  # noqa: S301 - from a process of the same cluster

    def empty(self) -> bool:
        """No message waits."""
        unread = bytearray(4)
        fcntl.ioctl(self._reader, termios.FIONREAD, unread)
        return bool(struct.unpack("i", unread)[0] == 0)

    def qsize(self) -> int:
        """How many messages wait, at least: the kernel tells bytes, and django-q2 asks only to show it."""
        return 0 if self.empty() else 1

    def close(self) -> None:
        """Nothing is kept back that would have to be written."""

    def join_thread(self) -> None:
        """There is no thread."""


class Flag:
    """An event that happens at most once."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def set(self) -> None:
        """It happened."""
        os.eventfd_write(self._descriptor, 1)

    def is_set(self) -> bool:
        """It has happened."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it happens; tells whether it has."""
        # Nobody ever reads it, so it stays readable for all.
        return bool(select.select([self._descriptor], [], [], timeout)[0])


class Timer:
    """A number that two processes change, under a lock that the kernel takes away from the dead."""

    def __init__(self, typecode: str, value: float) -> None:
        self._format = typecode
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._file = os.fdopen(os.memfd_create("timer"), "wb")
        self.value = value

    @property
    def value(self) -> float:
        """What it stands at."""
        found: float = struct.unpack_from(self._format, self._memory)[0]
        return found

    @value.setter
    def value(self, value: float) -> None:
        struct.pack_into(self._format, self._memory, 0, value)

    @contextlib.contextmanager
    def get_lock(self) -> Iterator[None]:
        """Be alone with it."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
