"""Forks of a warm process: what each death takes along, and what is left when one never began. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edge_ai.sandbox import CODE_DIR, Level
from edge_ai.sandbox.warm import FAILED_TO_BEGIN, WarmChild, WarmProcess
from tests.edge_ai import warm_work
from tests.edge_ai.sandboxes import need
from tests.edge_ai.test_sandbox import LIMITS, await_gone, finish, gone, pid_of

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[WarmProcess]:
    """A warm process whose forks run the code in their folder. Without bubblewrap, its number is its own."""
    need(Level.STANDARD)
    made = WarmProcess(warm_work.__name__, folder=tmp_path, idle_seconds=600, level=Level.STANDARD)
    yield made
    made.stop()


def fork(process: WarmProcess, folder: Path, code: str) -> WarmChild:
    """Ask for a fork that runs ``code``."""
    folder.mkdir(exist_ok=True)
    (folder / warm_work.CODE).write_text(code)
    return process.child(folder=folder, stdin=b"", limits=LIMITS)


def await_line(child: WarmChild, line: str) -> None:
    """Read until a line comes."""
    deadline = time.monotonic() + 20
    while ("out", line) not in child.read(0.1):
        assert time.monotonic() < deadline, f"{line!r} does not come"


def await_end(process: WarmProcess) -> None:
    """Wait until a warm process is no more."""
    deadline = time.monotonic() + 10
    while process.alive:
        assert time.monotonic() < deadline, "the process does not end"
        time.sleep(0.05)


@pytest.mark.parametrize("level", [Level.STRONG, Level.STANDARD])
def test_a_fork_dies_with_the_worker_and_so_does_the_warm_process(level: Level, tmp_path: Path) -> None:
    need(level)
    (tmp_path / warm_work.CODE).write_text(SLEEP)
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "from edge_ai.sandbox import Level, Limits\n"
        "from edge_ai.sandbox.warm import WarmProcess\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"process = WarmProcess({warm_work.__name__!r}, folder=folder, idle_seconds=600,"
        f" level=Level({level.value!r}))\n"
        "child = process.child(folder=folder, stdin=b'', limits=Limits(wall_seconds=600, memory_bytes=2 << 30))\n"
        "while child.pid is None: time.sleep(0.02)\n"
        "print(process.pid, child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        cwd=CODE_DIR,
        env=os.environ | {"PYTHONPATH": str(CODE_DIR)},
    )
    assert worker.stdout is not None
    warm, child = (int(number) for number in worker.stdout.readline().split())
    assert not gone(warm) and not gone(child)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    await_gone(warm)
    await_gone(child)


def test_a_fork_dies_with_the_warm_process_and_is_told_to_be_abandoned(process: WarmProcess, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)"
    )
    child = fork(process, tmp_path, code)
    lines: list[tuple[str, str]] = []
    while not lines:
        lines += child.read(0.1)
    pid = pid_of(child)
    os.kill(process.pid, signal.SIGKILL)
    lines += finish(child)
    assert (child.abandoned, child.began, child.returncode) == (True, True, -signal.SIGKILL)
    assert gone(pid), "its end is not told before it has come"
    await_gone(int(lines[0][1]))
    assert not process.alive


def test_the_death_of_a_fork_is_its_own(process: WarmProcess, tmp_path: Path) -> None:
    other = fork(process, tmp_path / "other", SLEEP)
    child = fork(process, tmp_path / "child", SLEEP)
    await_line(child, "up")
    os.kill(pid_of(child), signal.SIGKILL)
    finish(child)
    assert (child.abandoned, child.returncode) == (False, -signal.SIGKILL)
    assert process.alive
    await_line(other, "up")
    assert other.returncode is None
    other.close()
    last = fork(process, tmp_path / "last", "print('done')")
    assert finish(last) == [("out", "done")]
    assert last.returncode == 0


def test_a_process_that_cannot_import_begins_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = WarmProcess("tests.no_such_module", folder=tmp_path, idle_seconds=600)
    child = broken.child(folder=tmp_path, stdin=b"", limits=LIMITS)
    assert finish(child) == []
    assert (child.began, child.abandoned, child.killed_for) == (False, True, None)
    assert child.returncode is not None
    await_end(broken)
    with pytest.raises(ConnectionError):
        broken.child(folder=tmp_path, stdin=b"", limits=LIMITS)
    broken.stop()
    assert "no_such_module" in capfd.readouterr().err, "the log says why"


def test_what_was_given_up_before_it_began_never_begins(process: WarmProcess, tmp_path: Path) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    given_up = fork(process, tmp_path / "given up", "open('began', 'w')")
    began = time.monotonic()
    given_up.close()
    assert time.monotonic() - began < 1
    assert (given_up.began, given_up.returncode) == (False, -signal.SIGKILL)
    os.kill(process.pid, signal.SIGCONT)
    assert finish(fork(process, tmp_path / "next", "print('done')")) == [("out", "done")]
    assert not (tmp_path / "given up" / "began").exists()


def test_the_wall_time_counts_from_the_request(process: WarmProcess, tmp_path: Path) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    (tmp_path / warm_work.CODE).write_text(SLEEP)
    child = process.child(folder=tmp_path, stdin=b"", limits=type(LIMITS)(wall_seconds=0.3, memory_bytes=2 << 30))
    finish(child)
    assert child.killed_for is not None and not child.began
    os.kill(process.pid, signal.SIGCONT)


def test_a_fork_that_cannot_enter_its_folder_never_begins(process: WarmProcess, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    missing.write_text("not a folder")
    child = process.child(folder=missing, stdin=b"", limits=LIMITS)
    finish(child)
    assert (child.began, child.abandoned, child.returncode) == (False, False, FAILED_TO_BEGIN)


def test_forks_are_held_to_their_limits_and_the_warm_process_to_none(process: WarmProcess, tmp_path: Path) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_AS)[0])"
    assert finish(fork(process, tmp_path, code)) == [("out", str(LIMITS.memory_bytes))]
    warm = psutil.Process(process.pid)
    assert warm.rlimit(psutil.RLIMIT_AS) == psutil.Process().rlimit(psutil.RLIMIT_AS)
    assert warm.cwd() == str(tmp_path)
    assert set(warm.environ()) >= {"HOME", "TMPDIR"} and "SECRET_KEY" not in warm.environ()


def test_many_forks_leave_neither_processes_nor_descriptors(process: WarmProcess, tmp_path: Path) -> None:
    def left() -> tuple[int, int, int]:
        warm = psutil.Process(process.pid)
        return warm.num_fds(), len(warm.children()), psutil.Process().num_fds()

    finish(fork(process, tmp_path, "print('first')"))
    time.sleep(0.2)
    before = left()
    for number in range(30):
        assert finish(fork(process, tmp_path, f"print({number})")) == [("out", str(number))]
    time.sleep(0.2)
    assert left() == before


def test_large_input_is_handed_over_while_the_process_is_busy(process: WarmProcess, tmp_path: Path) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    (tmp_path / warm_work.CODE).write_text("import sys; print(len(sys.stdin.read()))")
    child = process.child(folder=tmp_path, stdin=b"x" * 3_000_000, limits=LIMITS)
    os.kill(process.pid, signal.SIGCONT)
    assert finish(child) == [("out", "3000000")]


def test_it_ends_when_it_has_had_nothing_to_do_but_not_under_a_fork(tmp_path: Path) -> None:
    process = WarmProcess(warm_work.__name__, folder=tmp_path, idle_seconds=0.3)
    child = fork(process, tmp_path, "import time; time.sleep(1); print('done')")
    assert finish(child) == [("out", "done")]
    await_end(process)
    process.stop()
