"""Several things at once: by tasks for the awaited client, by threads for the blocking one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def async_each(do: Callable[[T], Awaitable[R]], things: AsyncIterator[T], *, width: int) -> AsyncIterator[R]:
    """Do ``do`` with each thing, at most ``width`` at a time. Results come as they are ready; one failure ends the others."""
    running: set[asyncio.Future[R]] = set()
    more = True
    try:
        while True:
            while more and len(running) < width:
                try:
                    thing = await anext(things)
                except StopAsyncIteration:
                    more = False
                else:
                    running.add(asyncio.ensure_future(do(thing)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                yield each.result()
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def each(do: Callable[[T], R], things: Iterator[T], *, width: int) -> Iterator[R]:
    """Do ``do`` with each thing, at most ``width`` at a time. Results come as they are ready; none is begun after a failure."""
    running: set[Future[R]] = set()
    more = True
    with ThreadPoolExecutor(width) as pool:
        while True:
            while more and len(running) < width:
                try:
                    thing = next(things)
                except StopIteration:
                    more = False
                else:
                    running.add(pool.submit(do, thing))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                yield one.result()


class AsyncAhead(Generic[T, R]):
    """Makes one thing in a thread while another is used."""

    def __init__(self, make: Callable[[T], R]) -> None:
        self._make = make
        self._coming: tuple[T, asyncio.Future[R]] | None = None

    async def take(self, what: T, then: T) -> R:
        """Return a thing, and begin with the one that is likely to be wanted then."""
        coming = self._coming or (what, asyncio.ensure_future(asyncio.to_thread(self._make, what)))
        made = await coming[1]
        if coming[0] != what:
            made = await asyncio.to_thread(self._make, what)
        self._coming = then, asyncio.ensure_future(asyncio.to_thread(self._make, then))
        return made

    async def aclose(self) -> None:
        """Wait for what was begun."""
        if self._coming is not None:
            await asyncio.gather(self._coming[1], return_exceptions=True)


class Ahead(Generic[T, R]):
    """Makes one thing in a thread while another is used."""

    def __init__(self, make: Callable[[T], R]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(1)
        self._coming: tuple[T, Future[R]] | None = None

    def take(self, what: T, then: T) -> R:
        """Return a thing, and begin with the one that is likely to be wanted then."""
        coming = self._coming or (what, self._pool.submit(self._make, what))
        made = coming[1].result()
        if coming[0] != what:
            made = self._make(what)
        self._coming = then, self._pool.submit(self._make, then)
        return made

    def close(self) -> None:
        """Wait for what was begun."""
        self._pool.shutdown()
