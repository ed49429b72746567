"""Running one job: claim it, start the engine child, keep the lease, carry progress out and a cancellation in."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q

from config.logs import about
from config.middleware import set_request_id
from edge_ai.engine.errors import EngineError, InternalError
from edge_ai.fleet.models import BenchmarkSlot, Pace, Ticket
from edge_ai.models import EventKind, ImportJob, Job, JobKind, JobStatus, Queue
from edge_ai.models.base import ClockTimestamp
from edge_ai.sandbox import WatchedChild
from edge_ai.services.jobs import record, settle
from edge_ai.services.leftovers import folder_name
from edge_ai.storage import sweep
from edge_ai.worker import outcomes, turns, warm, work
from edge_ai.worker.exporting import export_workspace
from edge_ai.worker.heart import Heart
from edge_ai.worker.importing import Progress, StoppedError, import_file
from edge_ai.worker.room import Room
from edge_ai.worker.stages import AttemptStages
from edge_ai.worker.story import Story
from edge_ai.worker.wire import storable

log = logging.getLogger(__name__)
READ_SECONDS = 0.25
#: How a child ends that got SIGKILL, and how a program does that ran it and tells of it.
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
#: Tells the workers of one cluster from those of another whose processes have the same numbers, as in containers.
TAG_VARIABLE = "STUDIO_CLUSTER_TAG"
#: Codes that are no fault of what was asked for.
OURS = frozenset({"internal_error", "engine_crashed"})
SLOT_WAIT = timedelta(seconds=2)


def lease() -> timedelta:
    """How long a silent worker keeps its job."""
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)


def run_job(schema_name: str, job_id: uuid.UUID) -> None:
    """Run a queued job to its end; a job that somebody else has is left alone."""
    facts = Job.objects.filter(pk=job_id, status=JobStatus.QUEUED).values_list("queue", "request_id").first()
    if facts is None:
        return
    queue, request_id = facts
    set_request_id(request_id)
    with benchmark_slot(schema_name, job_id) if queue == Queue.BENCHMARK else contextlib.nullcontext(True) as free:
        if not free:
            # The reaper sends it again when its time has come.
            Job.objects.filter(pk=job_id, status=JobStatus.QUEUED).update(
                run_after=ClockTimestamp() + SLOT_WAIT, enqueued_at=None
            )
            return
        token = Job.objects.claim(job_id, worker=worker_name(), lease=lease())
        if token is not None:
            job = Job.objects.get(pk=job_id)
            with about(workspace=schema_name, job=job_id, user=job.owner_id):
                Babysitter(schema_name, job, token).run()


def worker_name() -> str:
    """Which process has a job."""
    return name_of_worker(os.getpid(), os.environ.get(TAG_VARIABLE, ""))


def name_of_worker(pid: int, tag: str) -> str:
    """Return what the worker process ``pid`` of this host calls itself, in the cluster that was given ``tag``."""
    return ":".join(filter(None, (socket.gethostname(), str(pid), tag)))


@contextlib.contextmanager
def benchmark_slot(schema_name: str, job_id: uuid.UUID) -> Iterator[bool]:
    """Hold this host's right to measure; yields whether it was free.

    The lease is as long as a job may run, since whoever holds it also holds a job that the reaper watches.
    """
    host = socket.gethostname()
    token = BenchmarkSlot.objects.take(
        host, holder=f"{schema_name}:{job_id}", lease=timedelta(seconds=settings.JOB_LEASE_SECONDS * 2)
    )
    try:
        yield token is not None
    finally:
        if token is not None:
            with contextlib.suppress(OperationalError, InterfaceError):
                BenchmarkSlot.objects.free(host, token)


def free_slot(schema_name: str, job_id: uuid.UUID) -> None:
    """Take the right to measure from a job whose worker is gone, so that nobody has to wait for its lease."""
    BenchmarkSlot.objects.filter(holder=f"{schema_name}:{job_id}").update(token=None, holder="")


class Babysitter:
    """One attempt at a job, from its claim to its end. Not responsible for what the engine does, nor for rescue."""

    def __init__(self, schema_name: str, job: Job, token: uuid.UUID) -> None:
        self.schema_name = schema_name
        self.job = job
        self.token = token
        self.stage = ""
        self.progress = 0
        self.answer: dict[str, Any] | None = None
        self.folder = settings.WORK_DIR / schema_name / str(job.pk) / folder_name(job.attempt, token)
        self.story = Story(job.pk, attempt=job.attempt, folder=str(self.folder))
        self.stages = AttemptStages(schema_name, job, self.folder)
        self._began = time.monotonic()
        self._good_until = time.monotonic() + settings.JOB_LEASE_SECONDS
        self._next_beat = 0.0
        self._pause_s = min(1.0, settings.JOB_LEASE_SECONDS / 4)
        self._heart = Heart(schema_name, self._beat_while_busy, pause_s=self._pause_s)

    def run(self) -> None:
        """Do the attempt."""
        self._note(
            EventKind.STATUS,
            stage=JobStatus.RUNNING,
            message=f"Attempt {self.job.attempt} began on {worker_name()}.",
        )
        self.folder.mkdir(parents=True)
        self.stages.rescue()
        try:
            self._attempt()
        except EngineError as error:
            self._fail(error)
        except (OperationalError, InterfaceError):
            # The database is away. What was not written is written by the next attempt, after the reaper's rescue.
            log.warning("The database went away under job %s.", self.job.pk, exc_info=True)
            connection.close()
        except Exception:
            log.exception("Job %s failed unexpectedly.", self.job.pk)
            self._fail(InternalError("Something unexpected happened.", code="internal_error", fix="Try again."))
        finally:
            self.stages.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()

    def _attempt(self) -> None:
        if self.job.kind == JobKind.DELETION:
            removed = sweep(go_on=self._keep_lease)
            self._complete({"result": {"removed": removed}})
            return
        if self.job.kind == JobKind.EXPORT:
            with self._heart:
                result, made = export_workspace(self.job.owner, self.folder)
            file = {"role": "export", "path": made.name, "mime_type": "application/zip"}
            self._complete({"result": result, "files": [file]})
            return
        if self.job.kind == JobKind.IMPORT:
            self._import()
            return
        with self._heart:
            prepared = work.prepare(self.job, self.folder)
            self.stages.lay_out()
        room = Room(self.story, measures=self.job.queue == Queue.BENCHMARK)
        for child in warm.children(prepared, self.folder, first_attempt=self.job.attempt == 1):
            try:
                Job.objects.filter(pk=self.job.pk, lease_token=self.token).update(sandbox_level=child.level)
                while not child.finished:
                    for stream, line in child.read(READ_SECONDS):
                        self._hear(stream, line)
                    self.story.write()
                    if self._next_beat <= time.monotonic():
                        room.make(child)
                    if not self._keep_lease():
                        return
            finally:
                room.leave(child)
                child.close()
                self.story.close()
            if child.began or child.killed_for is not None:
                self._end(child)
                return

    def _import(self) -> None:
        """Fetch a file. The heart beats while nothing comes; a cancellation ends the attempt at the next piece."""
        job = ImportJob.objects.select_related("owner").get(pk=self.job.pk)
        try:
            with self._heart:
                answer = import_file(job, self.folder, told=self._fetched)
        except StoppedError:
            return
        finally:
            self.story.close()
        self._complete(answer)

    def _fetched(self, come: Progress) -> None:
        """Tell how far an import is; ends it where the job is not wanted any more."""
        if come.stage != self.stage or self._next_beat <= time.monotonic():
            self.stage, self.progress = come.stage, max(self.progress, come.percent)
            self.story.stage(come.stage, self.progress, come.message)
            self.story.write()
        if not self._keep_lease():
            raise StoppedError

    def _end(self, child: WatchedChild) -> None:
        answer = self.answer or {}
        if child.killed_for is not None:
            raise child.killed_for
        if answer.get("type") == "result" and child.returncode == 0:
            self._complete(answer)
        elif answer.get("type") == "error":
            raise EngineError(
                self.story.clean(str(answer.get("message", ""))),
                code=str(answer.get("code", "internal_error")),
                fix=self.story.clean(str(answer.get("fix", ""))),
                details=answer.get("details") or None,
                retryable=bool(answer.get("retryable", False)),
            )
        else:
            raise InternalError(
                f"The engine ended without an answer ({_how(child.returncode)}).",
                code="engine_crashed",
                fix="The model may be damaged or need more memory than is allowed. The job's log may say more.",
                # What crashes the engine once crashes it again. A warm process that dies is another matter, and so is
                # SIGKILL, which no program gives itself: the system was short of memory, or a person did it.
                retryable=child.abandoned or child.returncode in KILLED,
            )

    def _complete(self, answer: dict[str, Any]) -> None:
        with self._heart:
            files = outcomes.collect(self.folder, answer.get("files", []))
            self._insist(lambda: outcomes.store_ahead(files))

        def publish() -> None:
            if outcomes.complete(self.job.pk, self.token, dict(answer["result"]), files):
                Pace.objects.learn(self.job.queue, time.monotonic() - self._began)
            else:
                self._end_attempt(InternalError("Cancelled.", code="cancelled"))

        self._insist(publish, lambda: all(file.path.exists() for file in files.values()))

    def _insist(self, write: Callable[[], None], possible: Callable[[], bool] = lambda: True) -> None:
        """Write how the attempt ended. A short outage must not lose that; the lease tells how long waiting is safe."""
        deadline = time.monotonic() + settings.JOB_LEASE_SECONDS / 2
        while True:
            try:
                return write()
            except (OperationalError, InterfaceError):
                connection.close()
                if time.monotonic() > deadline or not possible():
                    raise
                time.sleep(0.5)

    def _note(self, kind: EventKind, *, message: str, **fields: Any) -> None:
        """Add a line to the job's story. One that finds the database away is lost, rather than the attempt with it."""
        try:
            record(self.job.pk, kind, message=message, attempt=self.job.attempt, **fields)
        except (OperationalError, InterfaceError):
            connection.close()
            log.warning("A line of job %s was lost: the database does not answer.", self.job.pk)

    def _hear(self, stream: str, line: str) -> None:
        if stream == "err":
            self.story.log("debug", line)
            return
        try:
            message = storable(json.loads(line))
            kind = message["type"]
            if kind == "stage":
                stage, progress = str(message["stage"])[:40], int(message["progress"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.story.log("debug", line)
            return
        if kind == "stage":
            if stage != self.stage:
                self._next_beat = 0.0
            self.stage, self.progress = stage, max(self.progress, min(99, progress))
            self.story.stage(self.stage, self.progress, str(message.get("message", "")))
        elif kind == "log":
            level = message.get("level") if message.get("level") in {"info", "warning", "error"} else "info"
            self.story.log(str(level), str(message.get("message")))
        elif kind == "stage_done":
            self.stages.take(message.get("key"))
        else:
            self.answer = message

    def _keep_lease(self) -> bool:
        """Renew the lease when it is time. ``False``: stop, the job is no longer ours or is not wanted any more."""
        now = time.monotonic()
        if now < self._next_beat:
            return True
        try:
            cancelled = self._beat()
        except (OperationalError, InterfaceError):
            connection.close()
            # Stop before somebody else may begin.
            return now < self._good_until - settings.JOB_LEASE_SECONDS / 4
        if cancelled is None:
            return False
        if cancelled:
            self._fail(InternalError("Cancelled.", code="cancelled"))
            return False
        self._next_beat = now + self._pause_s
        return True

    def _beat(self) -> bool | None:
        """Renew the lease. ``None``: it is lost. ``True``: the job was cancelled."""
        now = time.monotonic()
        cancelled = Job.objects.beat(self.job.pk, self.token, lease=lease(), stage=self.stage, progress=self.progress)
        if cancelled is False:
            if self.job.queue == Queue.BENCHMARK:
                BenchmarkSlot.objects.filter(
                    host=socket.gethostname(), holder=f"{self.schema_name}:{self.job.pk}", token__isnull=False
                ).update(lease_expires_at=ClockTimestamp() + 2 * lease())
            Ticket.objects.keep(self.job.pk, lease=turns.lease())
            self._good_until = now + settings.JOB_LEASE_SECONDS
        return cancelled

    def _beat_while_busy(self) -> bool:
        """Renew the lease from the thread that does so while files are copied or hashed; a cancellation counts at once."""
        cancelled = self._beat()
        if cancelled:
            self._end_attempt(InternalError("Cancelled.", code="cancelled"))
        return cancelled is False

    def _fail(self, error: EngineError) -> None:
        self._insist(lambda: self._end_attempt(error))

    def _end_attempt(self, error: EngineError) -> None:
        details = dict(error.details or {})
        if error.code in OURS:
            # By what people see, the log is found.
            details["request_id"] = self.job.request_id or str(self.job.pk)
            log.warning("Job %s ended in %s in the request %s.", self.job.pk, error.code, details["request_id"])
        body = {
            "code": error.code,
            "detail": str(error),
            "fix": error.fix,
            **({"details": details} if details else {}),
        }
        with transaction.atomic():
            ended = Job.objects.end_attempt(
                Q(pk=self.job.pk, lease_token=self.token), error=body, retryable=error.retryable
            )
            if ended:
                tell_end(self.job.pk, body)


def tell_end(job_id: uuid.UUID, error: dict[str, Any]) -> None:
    """Write how an attempt ended into the job's story, and carry the job's end over to what depends on it."""
    job = Job.objects.get(pk=job_id)
    if job.status == JobStatus.QUEUED:
        text = f"{error['detail']} It will be tried again ({job.attempt} of {job.max_attempts} attempts are used)."
        record(job_id, EventKind.STATUS, level="warning", stage=job.status, attempt=job.attempt, message=text)
        return
    cancelled = job.status == JobStatus.CANCELLED
    record(
        job_id,
        EventKind.STATUS,
        level="warning" if cancelled else "error",
        stage=job.status,
        attempt=job.attempt,
        message="Cancelled." if cancelled else f"Failed: {error['detail']}",
    )
    settle(job_id)


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"killed by signal {-returncode}"
    return f"exit status {returncode}"
