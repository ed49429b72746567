"""Bytes that several take, such as a file and hashes: in threads, which need no lock of the interpreter for that, while the
next bytes are on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

BLOCK_BYTES = 1 << 20
Taker = Callable[[memoryview], object]


@contextmanager
def pouring(takers: Sequence[Taker]) -> Iterator[Callable[[bytes], None]]:
    """Yield what gives bytes to every taker, in their order; at the end of the block all have taken everything.

    Two blocks of 1 MiB are held, whatever comes. What a taker raises is raised by the giving, or at the end.
    """
    with ThreadPoolExecutor(len(takers)) as pool:
        pour = _Pour(pool, takers)
        yield pour.give
        pour.turn()
        pour.settle()


class _Pour:
    def __init__(self, pool: ThreadPoolExecutor, takers: Sequence[Taker]) -> None:
        self._pool, self._takers = pool, takers
        self._filling, self._taken = memoryview(bytearray(BLOCK_BYTES)), memoryview(bytearray(BLOCK_BYTES))
        self._filled = 0
        self._going: list[Future[object]] = []

    def give(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            now = rest[: BLOCK_BYTES - self._filled]
            self._filling[self._filled : self._filled + len(now)] = now
            self._filled += len(now)
            rest = rest[len(now) :]
            if self._filled == BLOCK_BYTES:
                self.turn()

    def turn(self) -> None:
        """Have the block taken that is being filled, and fill the other one."""
        self.settle()
        block = self._filling[: self._filled]
        self._going = [self._pool.submit(take, block) for take in self._takers]
        self._filling, self._taken, self._filled = self._taken, self._filling, 0

    def settle(self) -> None:
        """Wait until everything is taken that was given before."""
        going, self._going = self._going, []
        for each in going:
            each.result()
