"""Which child does a job: a fork of a process that has TensorFlow loaded, or a new process.

Each worker process has at most one warm process, started when the first job comes that needs it. Whatever goes wrong
with it, jobs run cold: a job is never lost to it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from edge_ai.engine.spec import spec_to_json
from edge_ai.engine.warm_rules import needs_tensorflow
from edge_ai.sandbox import Child, WatchedChild, python_module
from edge_ai.sandbox.warm import WARM_LEVELS, WarmProcess
from edge_ai.worker import confinement
from edge_ai.worker.work import Work

log = logging.getLogger(__name__)
ENGINE = "edge_ai.engine.warm"
#: A warm process that could not begin a job this often is not started again by this worker.
MAX_FAILURES = 3


class Warmth:
    """The warm process of this worker process."""

    def __init__(self, module: str = ENGINE) -> None:
        self.process: WarmProcess | None = None
        self.failures = 0
        self._module = module

    def child(self, *, folder: Path, stdin: bytes, work: Work) -> WatchedChild | None:
        """Ask the warm process for a child, starting it first if need be; ``None`` when there is none to be had.

        A fork is held as well as a cold child, or there is none.
        """
        level = confinement.level()
        if self.failures >= MAX_FAILURES or level not in WARM_LEVELS:
            return None
        try:
            if self.process is None or not self.process.alive:
                home = settings.WORK_DIR / ".warm"
                home.mkdir(exist_ok=True)
                self.process = WarmProcess(
                    self._module,
                    folder=home,
                    idle_seconds=settings.ENGINE_WARM_IDLE_SECONDS,
                    level=level,
                    around=settings.WORK_DIR,
                )
            return self.process.child(folder=folder, stdin=stdin, limits=work.limits)
        except OSError:
            self.note_failure()
            return None

    def note_failure(self) -> None:
        """A job could not begin in it."""
        self.failures += 1
        log.warning("The warm engine did not begin a job (%d of %d); it runs cold.", self.failures, MAX_FAILURES)


warmth = Warmth()


def children(work: Work, folder: Path, *, first_attempt: bool) -> Iterator[WatchedChild]:
    """Yield the child that is to do the job and, asked again because that one never began, another.

    A job that is tried again runs cold: should the warm process be what failed it, it cannot do so twice.
    """
    stdin = json.dumps(spec_to_json(work.spec)).encode()
    if settings.ENGINE_WARM and first_attempt and needs_tensorflow(work.spec):
        child = warmth.child(folder=folder, stdin=stdin, work=work)
        if child is not None:
            yield child
            warmth.note_failure()
    command = python_module("edge_ai.engine", "run")
    yield Child(command, folder=folder, stdin=stdin, limits=work.limits, level=confinement.level())
