"""Several things at once: by tasks for the awaited client, by threads for the blocking one. Results come as they are ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def async_each(do: Callable[[T], Awaitable[R]], things: AsyncIterator[T], *, width: int) -> AsyncIterator[R]:
    """Do ``do`` with each thing, at most ``width`` at a time; ends the others when one fails."""
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
    """Do ``do`` with each thing, at most ``width`` at a time; begins no more when one fails."""
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
