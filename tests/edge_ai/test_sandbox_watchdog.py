"""What a child uses too much of ends it, with everything that it started; nothing else does. Real processes."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge_ai.sandbox import Child, Level, Limits
from tests.edge_ai.sandboxes import need
from tests.edge_ai.test_sandbox import await_nobody_at_home_in, finish

LIMITS = Limits(wall_seconds=60, memory_bytes=1 << 30, address_bytes=4 << 30)
HOLD = "import time; time.sleep(60)"
FLOODS: dict[str, tuple[str, dict[str, Any], str]] = {
    "memory": (
        "import os\nfor _ in range(3): os.fork()\nkept = b'x' * (40 << 20)\n" + HOLD,
        {"memory_bytes": 200 << 20},
        "MB of memory",
    ),
    "processes": (
        "import os, time\n"
        "for _ in range(300):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60)\n"
        "    except OSError: break\n" + HOLD,
        {"processes": 10, "threads": 40},
        "more than 10 processes",
    ),
    "output": (
        "for i in range(40): open(f'made{i}', 'wb').write(b'x' * (1 << 20))\n" + HOLD,
        {"output_bytes": 20 << 20},
        "MB of files",
    ),
    "output without a name": (
        "import os\nkept = []\n"
        "for i in range(40):\n"
        "    kept.append(open('made', 'wb', buffering=0)); os.unlink('made'); kept[-1].write(b'x' * (1 << 20))\n"
        + HOLD,
        {"output_bytes": 20 << 20},
        "MB of files",
    ),
    "files": ("for i in range(500): open(f'made{i}', 'w')\n" + HOLD, {"output_files": 200}, "more than 200 files"),
    "answers": ("while True: print('answer')", {"out_lines": 1000}, "more than anybody could read"),
    "bytes": ("while True: print('x' * 60000)", {"out_bytes": 1 << 20}, "more than anybody could read"),
}


@pytest.mark.parametrize("level", [Level.STRONG, Level.STANDARD])
@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_is_ended_with_its_reason(what: str, level: Level, tmp_path: Path) -> None:
    need(level)
    code, limits, reason = FLOODS[what]
    child = Child(
        [sys.executable, "-c", code],
        folder=tmp_path,
        stdin=b"",
        limits=dataclasses.replace(LIMITS, **limits),
        level=level,
    )
    finish(child, seconds=50)
    assert child.killed_for is not None and child.killed_for.code == "resource_limit"
    assert reason in str(child.killed_for)
    await_nobody_at_home_in(tmp_path)


def test_memory_that_is_shared_counts_once(tmp_path: Path) -> None:
    # Ten processes share what one of them has, which is within the limit; ten times that would not be.
    code = (
        "import os, time\nkept = b'x' * (100 << 20)\n"
        "children = []\n"
        "for _ in range(9):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: time.sleep(1); os._exit(0)\n"
        "    children.append(pid)\n"
        "for pid in children: os.waitpid(pid, 0)\n"
        "print('done')"
    )
    limits = dataclasses.replace(LIMITS, memory_bytes=400 << 20)
    child = Child([sys.executable, "-c", code], folder=tmp_path, stdin=b"", limits=limits)
    assert finish(child) == [("out", "done")]
    assert child.killed_for is None


def test_a_log_of_many_short_lines_is_cut(tmp_path: Path) -> None:
    code = "import sys\nfor i in range(20000): print(i, file=sys.stderr)\nprint('done')"
    limits = dataclasses.replace(LIMITS, log_lines=100)
    child = Child([sys.executable, "-c", code], folder=tmp_path, stdin=b"", limits=limits)
    lines = finish(child)
    assert [text for stream, text in lines if stream == "err"] == [str(number) for number in range(100)]
    assert lines[-1] == ("out", "done") or ("out", "done") in lines
    assert child.returncode == 0


def test_without_a_sandbox_what_left_the_group_is_found(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('left')"
    )
    child = Child([sys.executable, "-c", code], folder=tmp_path, stdin=b"", limits=LIMITS, level=Level.NONE)
    assert finish(child) == [("out", "left")]
    await_nobody_at_home_in(tmp_path)


def test_watching_costs_little(tmp_path: Path) -> None:
    code = "import threading, time\nfor _ in range(30): threading.Thread(target=time.sleep, args=(3,)).start()\ntime.sleep(3)"
    child = Child([sys.executable, "-c", code], folder=tmp_path, stdin=b"", limits=LIMITS)
    began, used = time.monotonic(), time.process_time()
    finish(child)
    spent, passed = time.process_time() - used, time.monotonic() - began
    # Ten times what it takes on a quiet machine.
    assert spent < passed / 10, f"{spent:.3f} s of processor time in {passed:.1f} s"
