"""The child process: what it gets, what limits it, and that nothing of it survives. Real processes, no stand-ins.

Every guarantee is that of a cold child and of a fork of a warm process alike, at every level that works here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from edge_ai.sandbox import CODE_DIR, Child, Level, Limits, WatchedChild
from edge_ai.sandbox.warm import WarmProcess
from edge_ai.sandbox.watchdog import at_home_in, tree
from tests.edge_ai import warm_work
from tests.edge_ai.sandboxes import need

LIMITS = Limits(wall_seconds=20, memory_bytes=2 << 30)
Start = Callable[..., WatchedChild]


@pytest.fixture(scope="module")
def warm_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Level], WarmProcess]]:
    """A warm process for each level, whose forks run the code in their folder."""
    made: dict[Level, WarmProcess] = {}

    def give(level: Level) -> WarmProcess:
        if level not in made:
            home = tmp_path_factory.mktemp("home")
            made[level] = WarmProcess(warm_work.__name__, folder=home, idle_seconds=600, level=level)
        return made[level]

    yield give
    for process in made.values():
        process.stop()


@pytest.fixture(params=["cold strong", "cold standard", "warm strong", "warm standard"])
def start(request: pytest.FixtureRequest, warm_processes: Callable[[Level], WarmProcess]) -> Start:
    """What starts a child that runs some code, in either way and at either of the levels that production has."""
    how, name = request.param.split()
    level = Level(name)
    need(level)

    def start_it(code: str, folder: Path, *, limits: Limits = LIMITS, stdin: bytes = b"") -> WatchedChild:
        if how == "cold":
            return Child([sys.executable, "-c", code], folder=folder, stdin=stdin, limits=limits, level=level)
        (folder / warm_work.CODE).write_text(code)
        return warm_processes(level).child(folder=folder, stdin=stdin, limits=limits)

    return start_it


def pid_of(child: WatchedChild) -> int:
    """Wait until a child has begun."""
    deadline = time.monotonic() + 20
    while child.pid is None:
        assert time.monotonic() < deadline, "the child does not begin"
        time.sleep(0.02)
    return child.pid


def finish(child: WatchedChild, seconds: float = 30) -> list[tuple[str, str]]:
    """Read a child to its end."""
    lines: list[tuple[str, str]] = []
    deadline = time.monotonic() + seconds
    while not child.finished:
        lines += child.read(0.1)
        assert time.monotonic() < deadline, "the child does not end"
    child.close()
    return lines


def gone(pid: int) -> bool:
    """Tell whether a process is no more, or only a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def await_gone(pid: int) -> None:
    """Wait until a process is no more."""
    deadline = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def await_nobody_at_home_in(folder: Path) -> None:
    """Wait until no process is left that a child in ``folder`` is or has started."""
    deadline = time.monotonic() + 10
    while left := list(at_home_in(folder)):
        assert time.monotonic() < deadline, f"{left} are still there"
        time.sleep(0.05)


def test_no_secret_of_the_parent_reaches_the_child(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "S3_SECRET_ACCESS_KEY", "SENTRY_DSN", "SOMETHING_NEW"):
        monkeypatch.setenv(name, "very secret")
    lines = finish(start("import json, os; print(json.dumps(dict(os.environ)))", tmp_path))
    environment = json.loads(lines[0][1])
    assert "very secret" not in environment.values()
    assert not {name for name in environment if name.startswith(("DATABASE", "DJANGO", "STUDIO", "S3_"))}
    assert environment["HOME"] == environment["TMPDIR"] == str(tmp_path)


def test_it_starts_in_its_folder_with_its_input_and_a_session_of_its_own(start: Start, tmp_path: Path) -> None:
    # In a process namespace the leader, which is outside, has no number.
    code = "import os, sys; print(os.getcwd()); print(sys.stdin.read()); print(os.getsid(0) in {0, os.getpid()})"
    child = start(code, tmp_path, stdin=b"a spec")
    assert os.getsid(pid_of(child)) == pid_of(child)
    assert [text for _, text in finish(child)] == [str(tmp_path), "a spec", "True"]


def test_lines_arrive_while_it_runs(start: Start, tmp_path: Path) -> None:
    child = start("import time; print('first', flush=True); time.sleep(1); print('last')", tmp_path)
    early: list[tuple[str, str]] = []
    while not early:
        early += child.read(0.1)
    assert early == [("out", "first")]
    assert child.returncode is None
    assert finish(child) == [("out", "last")]
    assert child.returncode == 0


def test_standard_error_is_kept_apart_and_bounded(start: Start, tmp_path: Path) -> None:
    limits = Limits(wall_seconds=20, memory_bytes=2 << 30, log_bytes=1000)
    code = "import sys\nfor _ in range(5000): print('noise', file=sys.stderr)\nprint('answer')"
    lines = finish(start(code, tmp_path, limits=limits))
    assert [text for stream, text in lines if stream == "out"] == ["answer"]
    assert sum(len(text) for stream, text in lines if stream == "err") <= 1000


def test_exit_codes_and_signals_are_told(start: Start, tmp_path: Path) -> None:
    child = start("raise SystemExit(7)", tmp_path)
    finish(child)
    assert child.returncode == 7
    child = start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", tmp_path)
    finish(child)
    assert child.returncode == -signal.SIGSEGV


def test_memory_is_limited(start: Start, tmp_path: Path) -> None:
    limits = Limits(wall_seconds=20, memory_bytes=512 << 20)
    lines = finish(start("bytearray(1 << 30)", tmp_path, limits=limits))
    assert any("MemoryError" in text for _, text in lines)


def test_files_are_limited(start: Start, tmp_path: Path) -> None:
    limits = Limits(wall_seconds=20, memory_bytes=2 << 30, file_bytes=1 << 20)
    finish(start("open('big', 'wb').write(b'x' * (8 << 20))", tmp_path, limits=limits))
    assert (tmp_path / "big").stat().st_size <= 1 << 20


def test_wall_time_is_limited_and_takes_grandchildren_along(start: Start, tmp_path: Path) -> None:
    limits = Limits(wall_seconds=1, memory_bytes=2 << 30)
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('up', flush=True)\n"
        "time.sleep(600)"
    )
    child = start(code, tmp_path, limits=limits)
    assert finish(child) == [("out", "up")]
    assert child.killed_for is not None
    assert child.killed_for.code == "resource_limit"
    assert child.returncode in {-signal.SIGKILL, -signal.SIGTERM}, "bubblewrap ends when it is asked to"
    await_nobody_at_home_in(tmp_path)


@pytest.mark.parametrize("alone", [True, False], ids=["a session of its own", "the child's group"])
def test_what_it_leaves_behind_does_not_keep_it_open(start: Start, tmp_path: Path, alone: bool) -> None:
    code = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "try:\n"
        f"    subprocess.Popen(command, start_new_session={alone})\n"
        "except PermissionError:\n"
        "    subprocess.Popen(command)\n"
        "print('x' * 60000)\n"
        "print('the answer', end='', flush=True)\n"
        "os._exit(0)"
    )
    began = time.monotonic()
    lines = finish(start(code, tmp_path))
    assert time.monotonic() - began < 5
    assert [text for _, text in lines] == ["x" * 60000, "the answer"], "what it said itself is all there"
    await_nobody_at_home_in(tmp_path)


def test_what_it_wrote_before_it_ended_is_read_however_late(start: Start, tmp_path: Path) -> None:
    child = start("for i in range(5000): print(i)", tmp_path)
    while child.returncode is None:
        time.sleep(0.05)
    assert [text for _, text in finish(child)] == [str(i) for i in range(5000)]


def test_a_silent_child_is_stopped_and_its_reader_never_blocks(start: Start, tmp_path: Path) -> None:
    child = start("import time; time.sleep(600)", tmp_path, limits=Limits(wall_seconds=1, memory_bytes=2 << 30))
    began = time.monotonic()
    assert child.read(0.2) == []
    assert time.monotonic() - began < 1
    finish(child)
    assert child.killed_for is not None and "longer than 1 second" in str(child.killed_for)


def test_closing_ends_a_child_that_ignores_being_asked(start: Start, tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    child = start(code, tmp_path)
    while not child.read(0.2):
        pass
    pid = pid_of(child)
    child.close()
    assert child.returncode in {-signal.SIGKILL, -signal.SIGTERM}, "bubblewrap ends when it is asked to"
    assert gone(pid)


def test_bytes_that_are_no_text_are_lines_all_the_same(start: Start, tmp_path: Path) -> None:
    lines = finish(start("import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n\\nlast')", tmp_path))
    assert lines == [("out", "\ufffd\ufffd"), ("out", "last")]


def test_neither_core_files_nor_open_folders_nor_handed_down_descriptors(start: Start, tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    code = (
        "import os, resource\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[1])\n"
        "print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:4])\n"
        "open('made', 'w'); print(oct(os.stat('made').st_mode & 0o777))"
    )
    try:
        lines = [text for _, text in finish(start(code, tmp_path))]
    finally:
        os.close(secret)
    assert lines == ["0", "[0, 1, 2, 3]", "0o600"], "3 is the listing's own"


def test_nothing_in_its_folder_is_imported(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    lines = finish(Child([sys.executable, "-m", "json.tool", "--help"], folder=tmp_path, stdin=b"", limits=LIMITS))
    assert "hijacked" not in " ".join(text for _, text in lines)


def test_a_line_without_end_is_stopped(start: Start, tmp_path: Path) -> None:
    child = start("import sys\nwhile True: sys.stdout.write('x' * 65536)", tmp_path)
    finish(child)
    assert child.killed_for is not None and "line without end" in str(child.killed_for)


@pytest.mark.parametrize("level", [Level.STRONG, Level.STANDARD])
def test_it_dies_with_its_parent(level: Level, tmp_path: Path) -> None:
    need(level)
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from edge_ai.sandbox import Child, Level, Limits\n"
        f"child = Child([sys.executable, '-c', 'import time; print(\"up\", flush=True); time.sleep(600)'],"
        f" folder=Path({str(tmp_path)!r}), stdin=b'', level=Level({level.value!r}),"
        " limits=Limits(wall_seconds=600, memory_bytes=2 << 30))\n"
        "while ('out', 'up') not in child.read(1): pass\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        cwd=CODE_DIR,
        env=os.environ | {"PYTHONPATH": str(CODE_DIR)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    family = list(tree(pid))
    assert not gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for each in family:
        await_gone(each)
