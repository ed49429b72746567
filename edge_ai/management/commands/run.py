"""Everything in one foreground process: set up, serve, work, and show the main job on the bundled sample."""

from __future__ import annotations

import contextlib
import functools
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
from edge_ai.worker.family import end_with, kill_session

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
#: A process that died is started again after this long, and after twice as long each time that it died young.
PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
SETTLED_SECONDS = 30.0


class Kept:
    """A process that is started again when it dies."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._command = command
        self._pause = PAUSE_SECONDS
        self._began = self._not_before = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. To be called by a thread that lives as long as this process."""
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            self._command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # Should this process be killed outright, all end with it: at once, but in order.
            preexec_fn=functools.partial(end_with, os.getpid(), signal.SIGQUIT),
        )

    def look(self) -> int | None:
        """Return how it ended when that is news, and start it again when its time has come."""
        if self.process is None:
            if time.monotonic() >= self._not_before:
                self.start()
            return None
        status = self.process.poll()
        if status is None:
            return None
        # What it started, such as the web server's workers, would still hold its port.
        kill_session(self.process.pid)
        self.process = None
        if time.monotonic() - self._began > SETTLED_SECONDS:
            self._pause = PAUSE_SECONDS
        self._not_before = time.monotonic() + self._pause
        self._pause = min(MAX_PAUSE_SECONDS, 2 * self._pause)
        return status


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
        self.children = [Kept(name, command) for name, command in PROCESSES.items()]
        self.stopping = threading.Event()
        self.was_ready = threading.Event()
        self.sample_failed = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_stop)
        self._set_up()
        self._collect_static()
        demo = self._demo()
        try:
            self.began = time.monotonic()
            for child in self.children:
                child.start()
            thread = threading.Thread(target=self._show, args=(demo, options), daemon=True)
            thread.start()
            while not self.stopping.wait(0.3):
                self._look_after_children()
        finally:
            self._stop_children()
        if self.sample_failed:
            raise CommandError("The sample did not get through; see above.")

    def _look_after_children(self) -> None:
        for child in self.children:
            status = child.look()
            if status is None:
                continue
            starting = not self.was_ready.is_set() and time.monotonic() - self.began < READY_SECONDS
            if status >= 0 and starting:
                # It has something to say, such as that its port is taken, and will say it again.
                raise CommandError(f"The {child.name} process ended with status {status}.")
            self._say(f"The {child.name} process ended with status {status}; it is started again.")

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
                        self.was_ready.set()
                        return
            except urllib.error.HTTPError as error:
                missing = ", ".join(json.loads(error.read()).get("missing", []))
            except OSError as error:
                missing = str(error)
            time.sleep(0.2)
        raise SampleError(f"The studio did not become ready: {missing}")

    # -- stopping ---------------------------------------------------------------------------------------------------
    def _stop_children(self) -> None:
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            kill_session(process.pid)
            process.wait()
