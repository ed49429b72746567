"""What the processes of a cluster share, and what is left of it when one of them is killed at the worst moment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django_q import cluster as django_q_cluster

from edge_ai.worker.cluster import adapt
from edge_ai.worker.family import Role, descendants, look_at, members
from edge_ai.worker.parts import MAX_RESULT_CHARACTERS, Flag, Mailbox, Timer

Fork = Callable[[Callable[[], None]], int]


@pytest.fixture
def fork() -> Iterator[Fork]:
    """Run something in a forked process; what is left of it is killed in the end."""
    pids: list[int] = []

    def make(work: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        pids.append(pid)
        return pid

    yield make
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def sleeps(pid: int) -> bool:
    """It waits in the kernel."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")


def kill_and_wait(pid: int) -> None:
    """Kill a process; it stays a zombie until the fixture collects it."""
    os.kill(pid, signal.SIGKILL)
    await_true(lambda: look_at(pid) is None, "it does not die")


def test_a_reader_killed_while_it_waits_takes_nothing_along(fork: Fork) -> None:
    tasks, results = Mailbox(maxsize=1), Mailbox()

    def work() -> None:
        while True:
            results.put((os.getpid(), tasks.get()))

    first, second = fork(work), fork(work)
    await_true(lambda: sleeps(first) and sleeps(second), "they do not wait")
    kill_and_wait(first)
    for number in range(5):
        tasks.put(number)
        assert results.get() == (second, number)
    kill_and_wait(second)
    tasks.put("for whoever comes next")
    third = fork(work)
    assert results.get() == (third, "for whoever comes next")


def test_a_bounded_mailbox_keeps_one_message_and_its_sender_waiting(fork: Fork) -> None:
    tasks, sent = Mailbox(maxsize=1), Mailbox()
    assert (tasks.empty(), tasks.qsize()) == (True, 0)

    def send() -> None:
        for number in range(3):
            tasks.put(number)
            sent.put(number)

    fork(send)
    assert sent.get() == 0
    time.sleep(0.2)
    assert sent.empty(), "the second waits for room"
    assert (tasks.empty(), tasks.qsize()) == (False, 1)
    assert [tasks.get() for _ in range(3)] == [0, 1, 2]


def test_a_message_without_room_is_dropped_and_its_sender_goes_on() -> None:
    box = Mailbox()
    for number in range(5000):
        box.put({"number": number, "result": "x" * 1000})
    assert box.get()["number"] == 0


def test_of_a_result_that_is_too_long_the_end_is_kept() -> None:
    box = Mailbox()
    box.put({"id": 1, "result": "x" * 900_000 + "the last line"})
    got = box.get()
    assert got["id"] == 1
    assert got["result"].endswith("the last line") and len(got["result"]) == MAX_RESULT_CHARACTERS


def test_a_flag_is_seen_by_all_and_outlives_a_reader(fork: Fork) -> None:
    flag, seen = Flag(), Mailbox()
    assert not flag.is_set() and not flag.wait(0.01)

    def watch() -> None:
        flag.wait()
        seen.put(os.getpid())

    killed, watching = fork(watch), fork(watch)
    kill_and_wait(killed)
    flag.set()
    assert seen.get() == watching
    assert flag.is_set() and flag.wait(0)


def test_a_timers_lock_is_taken_from_the_dead(fork: Fork) -> None:
    timer, held = Timer("f", -1), Mailbox()

    def hold() -> None:
        with timer.get_lock():
            timer.value = 7.5
            held.put("")
            time.sleep(600)

    holder = fork(hold)
    held.get()
    waited = Mailbox()

    def wait() -> None:
        with timer.get_lock():
            waited.put("")

    fork(wait)
    time.sleep(0.2)
    assert waited.empty()
    kill_and_wait(holder)
    waited.get()
    assert timer.value == 7.5


def test_django_q2_has_everything_that_is_replaced() -> None:
    names = ("Queue", "Event", "Value", "Sentinel", "worker", "pusher", "monitor")
    stand_in = SimpleNamespace(**{name: getattr(django_q_cluster, name) for name in names})
    adapt(stand_in)
    assert (stand_in.Queue, stand_in.Event, stand_in.Value) == (Mailbox, Flag, Timer)
    for name in names[3:]:
        assert getattr(stand_in, name) is not getattr(django_q_cluster, name)


def test_processes_are_known_by_their_start_and_the_dead_are_not_alive(fork: Fork) -> None:
    pid = fork(lambda: time.sleep(600))
    found = look_at(pid)
    assert found is not None
    assert found.alive and found.parent == os.getpid() and found.role is None
    assert found in descendants(os.getpid())
    assert found not in members(os.getpid()), "it has no role in a cluster"
    kill_and_wait(pid)
    assert not found.alive, "a zombie is dead"
    assert all(len(role) <= 15 for role in Role), "the kernel would cut it"
