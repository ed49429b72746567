"""Everything in one foreground process: set up, serve, work, and show the main job on the bundled sample."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from edge_ai.catalogue.host import detect_host
from edge_ai.sample.demo import SampleError, run_sample, table

DEMO_WORKSPACE = "demo"
DEMO_EMAIL = "demo@example.com"
PROCESSES = {
    "web": [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"],
    "worker": [sys.executable, "manage.py", "supervise", "studio"],
    "benchmark": [sys.executable, "manage.py", "supervise", "benchmark"],
    "webhook": [sys.executable, "manage.py", "supervise", "webhook"],
}
STOP_SECONDS = 25.0
READY_SECONDS = 90.0
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _end_with_parent() -> None:
    # Should this process be killed outright, its children are told to stop, and do so in order.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _digest(paths: Iterable[Path]) -> str:
    """Return what changes when one of the files does."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class Command(BaseCommand):
    """``manage.py run``, which ``make run`` calls. The Procfile names the same processes for any Procfile runner."""

    requires_system_checks = ()  # the web process runs them; here they would only cost time
    help = (
        "Set up the studio, start web and workers, and do the main job on the bundled sample. Ctrl-C stops everything."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-sample", action="store_true", help="Only serve; do not run the sample.")
        parser.add_argument("--exit", action="store_true", help="Stop when the sample is done, instead of serving on.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()
        self.sample_failed = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        self._set_up()
        self._collect_static()
        demo = self._demo()
        try:
            for name, command in PROCESSES.items():
                self.children[name] = subprocess.Popen(
                    command,
                    cwd=settings.BASE_DIR,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            thread = threading.Thread(target=self._show, args=(demo, options), daemon=True)
            thread.start()
            while not self.stopping.wait(0.3):
                for name, child in self.children.items():
                    if child.poll() is not None:
                        raise CommandError(f"The {name} process ended with status {child.returncode}.")
        finally:
            self._stop_children()
        if self.sample_failed:
            raise CommandError("The sample did not get through; see above.")

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    # -- setting up -------------------------------------------------------------------------------------------------
    def _manage(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
        if done.returncode:
            raise CommandError(f"manage.py {arguments[0]} failed; its message stands above.")
        return done.stdout

    def _set_up(self) -> None:
        """Bring the database up to date. The embedded one is known to be, when nothing that makes it has changed since."""
        made_of = [settings.BASE_DIR / folder for folder in ("accounts", "config", "edge_ai")]
        digest = _digest(path for folder in made_of for path in folder.rglob("*") if path.suffix in {".py", ".toml"})
        digest += f" {detect_host()}"
        stamp = settings.EMBEDDED_DATA_DIR / "bootstrap.stamp"
        if settings.EMBEDDED_DATABASE and stamp.is_file() and stamp.read_text() == digest:
            return
        self._say("Setting up the database")
        self._manage("bootstrap")
        if settings.EMBEDDED_DATABASE:
            stamp.write_text(digest)

    def _collect_static(self) -> None:
        """Gather the static files, unless nothing has changed since the last time."""
        digest = _digest(path for _, folder in settings.STATICFILES_DIRS for path in Path(folder).rglob("*"))
        stamp = settings.DATA_DIR / "staticfiles.stamp"
        if stamp.is_file() and stamp.read_text() == digest:
            return
        self._manage("collectstatic", "--no-input", "--clear")
        stamp.write_text(digest)

    def _demo(self) -> dict[str, str]:
        """Return the demo workspace's user, password and key, made at the first run and kept in the data folder."""
        path = settings.DATA_DIR / "demo.json"
        if path.is_file():
            known: dict[str, str] = json.loads(path.read_text())
            return known
        password = secrets.token_urlsafe(12)
        made = json.loads(
            self._manage(
                "create_workspace",
                DEMO_WORKSPACE,
                "--name=Demo",
                f"--owner={DEMO_EMAIL}",
                "--password-env=STUDIO_DEMO_PASSWORD",
                "--api-key",
                "--staff",
                STUDIO_DEMO_PASSWORD=password,
            )
        )
        demo = {"user": made["user"], "password": password, "api_key": made["api_key"]}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(demo, stream)
        return demo

    # -- the main job -----------------------------------------------------------------------------------------------
    def _show(self, demo: dict[str, str], options: dict[str, Any]) -> None:
        host = "localhost" if settings.BIND_ADDRESS in {"127.0.0.1", "0.0.0.0", "::"} else settings.BIND_ADDRESS  # noqa: S104 - compared, not bound
        base = f"http://127.0.0.1:{settings.PORT}"
        try:
            self._await_ready(base)
            if not options["no_sample"]:
                self._say("Doing the main job on the bundled sample")
                rows = run_sample(base, demo["api_key"], self._say)
                self._say("\n" + table(rows))
        except (SampleError, OSError) as error:
            self.sample_failed = True
            self._say(f"The sample did not get through: {error}")
        self._say(
            f"\nThe studio is at   http://{host}:{settings.PORT}/\n"
            f"Sign in as         {demo['user']}\nwith the password  {demo['password']}\n"
            "Ctrl-C stops everything."
        )
        if options["exit"]:
            self.stopping.set()

    def _await_ready(self, base: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        missing = "no answer"
        while time.monotonic() < deadline and not self.stopping.is_set():
            try:
                with urllib.request.urlopen(f"{base}/health/", timeout=5) as answer:  # noqa: S310 - our own address
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as error:
                missing = ", ".join(json.loads(error.read()).get("missing", []))
            except OSError as error:
                missing = str(error)
            time.sleep(0.2)
        raise SampleError(f"The studio did not become ready: {missing}")

    # -- stopping ---------------------------------------------------------------------------------------------------
    def _stop_children(self) -> None:
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
