"""The run command as a stranger meets it: the sample's table the first time, at once the second time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edge_ai.management.commands.run import Kept
from tests.studio import ROOT, free_port, reachable_folder

pytestmark = pytest.mark.worker


def run_once(data_dir: Path) -> str:
    """Run `manage.py run --exit` to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", "run", "--exit"],
        cwd=ROOT,
        env=os.environ | {"STUDIO_DATA_DIR": str(data_dir), "PORT": str(free_port()), "WEB_WORKERS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(printed: str) -> dict[str, list[str]]:
    """Return the lines of the table by variant."""
    found = {}
    for line in printed.splitlines():
        words = line.split()
        if words and words[0] in {"original", "int8", "int8_dynamic", "fp16"} and "MB" in words:
            found[words[0]] = words[1:]
    return found


def test_the_sample_is_done_for_real_and_found_again() -> None:
    with reachable_folder() as folder:
        run_twice(folder / "data")


def run_twice(data_dir: Path) -> None:
    first = run_once(data_dir)
    table = rows(first)
    assert set(table) == {"original", "int8", "int8_dynamic", "fp16"}
    for variant, words in table.items():
        assert "–" not in words[: 5 if variant == "original" else len(words)], f"{variant} lacks a number: {words}"
    assert re.search(r"with the password\s+\S{10,}", first)
    assert "http://localhost:" in first

    began = time.monotonic()
    second = run_once(data_dir)
    assert rows(second) == table, "the second run finds what the first one made"
    assert "Uploading" not in second
    assert time.monotonic() - began < 60, "it does not do the work again"
    left = [p for p in psutil.process_iter(["cmdline"]) if str(data_dir) in " ".join(p.info["cmdline"] or [])]
    deadline = time.monotonic() + 20
    while any(process.is_running() for process in left):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.3)


def test_a_process_that_dies_is_started_again_after_a_longer_pause_each_time() -> None:
    kept = Kept("short-lived", [sys.executable, "-c", "raise SystemExit(3)"])
    kept.start()
    pauses: list[float] = []
    for _ in range(2):
        while (status := kept.look()) is None:
            time.sleep(0.01)
        assert status == 3 and kept.process is None
        died = time.monotonic()
        while kept.process is None:
            kept.look()
            time.sleep(0.01)
        pauses.append(time.monotonic() - died)
    started = kept.process
    assert started is not None
    started.kill()
    started.wait()
    assert pauses[0] >= 0.5 and pauses[1] >= 1.0
