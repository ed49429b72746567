"""Conversions stand still while a benchmark measures on their host."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from accounts.models import User, Workspace
from edge_ai.fleet.models import BenchmarkSlot
from edge_ai.models import JobEvent
from edge_ai.sandbox import Child, Level, Limits
from edge_ai.worker import room as module
from edge_ai.worker.room import Room
from edge_ai.worker.story import Story
from tests.conftest import inside_as_system
from tests.edge_ai import factories

COUNTING = "import time\nwhile True:\n    print(time.monotonic(), flush=True)\n    time.sleep(0.02)"


@pytest.fixture
def story(owner: User, alpha: Workspace) -> Iterator[Story]:
    with inside_as_system(alpha):
        yield Story(factories.make_optimization(owner).pk, attempt=1, folder="/nowhere")


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A child that says something all the time."""
    limits = Limits(wall_seconds=60, memory_bytes=1 << 30)
    made = Child([sys.executable, "-c", COUNTING], folder=tmp_path, stdin=b"", limits=limits, level=Level.NONE)
    try:
        yield made
    finally:
        made.close()


def measure() -> Any:
    """Take this host's slot."""
    return BenchmarkSlot.objects.take(socket.gethostname(), holder="test", lease=timedelta(minutes=1))


def await_state(child: Child, stopped: bool) -> None:
    """Wait until the kernel shows the child standing still, or going on."""
    deadline = time.monotonic() + 10
    while (psutil.Process(child.pid).status() == psutil.STATUS_STOPPED) is not stopped:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_conversion_stands_still_until_the_measuring_is_over(story: Story, child: Child) -> None:
    room = Room(story, measures=False)
    room.make(child)
    await_state(child, stopped=False)
    token = measure()
    room.make(child)
    await_state(child, stopped=True)
    room.make(child)
    BenchmarkSlot.objects.free(socket.gethostname(), token)
    room.make(child)
    await_state(child, stopped=False)
    story.write()
    assert ["Stands still" in message for message in JobEvent.objects.values_list("message", flat=True)] == [True]


def test_a_conversion_is_not_held_up_for_ever(story: Story, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAUSE_SECONDS", 0.3)
    room = Room(story, measures=False)
    measure()
    room.make(child)
    await_state(child, stopped=True)
    time.sleep(0.35)
    room.make(child)
    await_state(child, stopped=False)
    room.make(child)
    await_state(child, stopped=False)


def test_standing_still_is_not_counted_as_running(story: Story, tmp_path: Path) -> None:
    limits = Limits(wall_seconds=1.5, memory_bytes=1 << 30)
    child = Child([sys.executable, "-c", COUNTING], folder=tmp_path, stdin=b"", limits=limits, level=Level.NONE)
    try:
        room = Room(story, measures=False)
        token = measure()
        room.make(child)
        await_state(child, stopped=True)
        time.sleep(1.6)
        BenchmarkSlot.objects.free(socket.gethostname(), token)
        room.make(child)
        child.read(0.05)
        assert child.killed_for is None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not child.killed_for:
            child.read(0.05)
        assert child.killed_for is not None, "its own time still ends"
    finally:
        child.close()


@pytest.mark.parametrize("why", ["it measures itself", "processors are set apart"])
def test_who_need_not_make_room_goes_on(why: str, story: Story, child: Child, settings: Any) -> None:
    if why == "processors are set apart":
        settings.BENCHMARK_CPUS = (0,)
    room = Room(story, measures=why == "it measures itself")
    measure()
    room.make(child)
    time.sleep(0.1)
    await_state(child, stopped=False)
