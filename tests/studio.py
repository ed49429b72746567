"""A studio of real processes for tests: gunicorn, three supervised clusters, embedded PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A machine with much else to do takes its time over the migrations; a studio that cannot start exits.
READY_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class RealStudio:
    """Where it is and how to get in."""

    base: str
    user: str
    password: str
    api_key: str
    data_dir: Path
    pid: int
    log: Path
    mails: Path


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """Make a folder that the database's own account reaches. pytest's own are closed to others, time and again."""
    with tempfile.TemporaryDirectory(prefix="studio-real-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_of(data_dir: Path) -> dict[str, str]:
    """Return the environment of a command that works on a running studio's data folder."""
    return os.environ | {"STUDIO_DATA_DIR": str(data_dir), "STUDIO_EMBEDDED_FAST": "yes"}


@contextlib.contextmanager
def start_studio(data_dir: Path, *arguments: str, **environment: str) -> Iterator[RealStudio]:
    """Run `manage.py run` on a free port until the block ends; nothing of it is left then."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    log = data_dir / "run.log"
    env = os.environ | {
        "STUDIO_DATA_DIR": str(data_dir / "data"),
        "PORT": str(port),
        "WEB_WORKERS": "1",
        "JOB_LEASE_SECONDS": "6",
        # A benchmark of a second takes a while longer where the machine has much else to do.
        "JOB_GRACE_SECONDS": "120",
        # Receivers of the tests are on this machine.
        "WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        "IMPORT_ALLOW_NETWORKS": "127.0.0.1/32",
        "EMAIL_FOLDER": str(data_dir / "mails"),
        **environment,
    }
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run", *(arguments or ("--no-sample",))],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_ready(process, base, log)
        demo = json.loads((data_dir / "data" / "demo.json").read_text())
        yield RealStudio(
            base=base,
            user=demo["user"],
            password=demo["password"],
            api_key=demo["api_key"],
            data_dir=data_dir / "data",
            pid=process.pid,
            log=log,
            mails=data_dir / "mails",
        )
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"The studio ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/health/", timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"The studio did not become ready:\n{log.read_text()[-4000:]}")
