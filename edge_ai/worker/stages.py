"""Finished stages between attempts: taken out of an attempt's folder as they finish, and put into the next one's.

They are kept on this host, under ``WORK_DIR/<schema>/.stages/<whose, and of which bytes>/<key>``, and only save time: without
them a stage is done again. What a child leaves is not believed. It reaches nothing but jobs of the same person on the same
bytes, since the folder's name is computed here; keys must look like keys; only regular files without a second name are
copied, as many bytes as a share of the limit allows.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import find_route
from edge_ai.engine.spec import Format, Precision
from edge_ai.engine.stages import EARLIER, FINISHED, KEY, SCOPE
from edge_ai.models import Job, JobKind, OptimizationJob

log = logging.getLogger(__name__)

STORE: Final = ".stages"
#: One attempt may leave, and may be given, this share of what all may take together.
SHARE: Final = 4
MAX_ENTRIES: Final = 5_000
MAX_DEPTH: Final = 12
MAX_STAGES: Final = 200
COPY_BYTES: Final = 1 << 20
LEFTOVER_SECONDS: Final = 3600.0
_LOCK_FILE: Final = ".stages.lock"
_ASIDE: Final = ".aside-"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RefusedError(Exception):
    """What lies there is no stage that would be kept."""


@dataclass(kw_only=True)
class Room:
    """What may still be copied."""

    bytes_left: int
    entries_left: int = MAX_ENTRIES

    def take_entry(self) -> None:
        """Count one file or folder."""
        self.entries_left -= 1
        if self.entries_left < 0:
            raise RefusedError("too many files")

    def take_bytes(self, count: int) -> None:
        """Count what is about to be written."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise RefusedError("too many bytes")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which stages are of use for a request."""

    formats: frozenset[str]
    target: str
    precision: str

    def covers(self, scope: str) -> bool:
        """Whether a stage of that scope may be."""
        if scope in {"", f"{self.target}/{self.precision}"} or scope in self.formats:
            return True
        return self.precision == Precision.AUTO and scope.startswith(f"{self.target}/")


class AttemptStages:
    """The stages of one attempt at a job. Files are copied in a thread of their own, which keeps no lease waiting."""

    def __init__(self, schema_name: str, job: Job, folder: Path) -> None:
        self._folder = folder
        self._store: Path | None = None
        self._wanted: Wanted | None = None
        self._room = Room(bytes_left=settings.STAGE_CACHE_BYTES // SHARE, entries_left=MAX_ENTRIES)
        self._thread: ThreadPoolExecutor | None = None
        self._copying: list[Future[None]] = []
        if job.kind == JobKind.OPTIMIZATION and settings.STAGE_CACHE_BYTES > 0:
            row = OptimizationJob.objects.select_related("model", "dataset").filter(pk=job.pk).first()
            if row is not None:
                self._store = settings.WORK_DIR / schema_name / STORE / namespace(row)
                self._wanted = wanted_by(row)

    def rescue(self) -> None:
        """Take what attempts left whose worker was killed, and remove their folders.

        That this attempt could be claimed is the proof that they are over.
        """
        for earlier in self._folder.parent.iterdir():
            if earlier != self._folder:
                self._harvest(earlier, Room(bytes_left=settings.STAGE_CACHE_BYTES // SHARE))
                shutil.rmtree(earlier, ignore_errors=True)

    def lay_out(self) -> None:
        """Put copies of the stages that may be of use into the attempt's folder, the latest first."""
        if self._store is None or self._wanted is None:
            return
        room = Room(bytes_left=settings.STAGE_CACHE_BYTES // SHARE, entries_left=MAX_ENTRIES)
        target = self._folder / EARLIER
        target.mkdir(exist_ok=True)
        for stage in sorted(_stages_in(self._store), key=_used_at, reverse=True)[:MAX_STAGES]:
            try:
                if self._wanted.covers(_scope_of(stage)):
                    with _opened(self._store) as store:
                        _copy_stage(store, stage.name, target, room)
                    os.utime(stage)
            except (OSError, RefusedError):
                # Evicted meanwhile, or no room: it is done again.
                shutil.rmtree(target / stage.name, ignore_errors=True)

    def take(self, key: object) -> None:
        """Keep the stage that the child says it finished."""
        if self._store is None or not isinstance(key, str) or KEY.fullmatch(key) is None:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stages")
        self._copying.append(self._thread.submit(self._keep, self._folder, key, self._room))

    def close(self) -> None:
        """Finish copying, and take what was finished without a word: the child was killed before it could say so."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        for each in self._copying:
            if (error := each.exception()) is not None:
                log.warning("A finished stage could not be kept.", exc_info=error)
        self._harvest(self._folder, self._room)

    def _harvest(self, folder: Path, room: Room) -> None:
        finished = folder / FINISHED
        with contextlib.suppress(OSError):
            for path in sorted(finished.iterdir())[:MAX_STAGES]:
                if KEY.fullmatch(path.name) is not None:
                    self._keep(folder, path.name, room)

    def _keep(self, folder: Path, key: str, room: Room) -> None:
        if self._store is None:
            return
        aside = self._store / f"{_ASIDE}{uuid.uuid4().hex}"
        try:
            with _opened(folder / FINISHED) as finished:
                try:
                    aside.mkdir(parents=True, mode=0o700)
                    _copy_stage(finished, key, aside, room)
                    _publish(aside / key, self._store / key)
                finally:
                    # The child is done with it, and its folder has a quota. First it loses its name: should this
                    # process be killed meanwhile, the next attempt takes what is half gone for no stage.
                    gone = f"gone-{uuid.uuid4().hex}"
                    with contextlib.suppress(OSError):
                        os.rename(key, gone, src_dir_fd=finished, dst_dir_fd=finished)
                        shutil.rmtree(gone, ignore_errors=True, dir_fd=finished)
        except (OSError, RefusedError) as error:
            log.info("The stage %s of %s is not kept: %s", key[:12], folder.name, error)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def namespace(job: OptimizationJob) -> str:
    """Return what a job's stages are kept under: whose they are, and of which bytes.

    The person is part of it, so that nobody learns from the time that a job takes what a colleague's private jobs did.
    """
    dataset = "" if job.dataset is None else job.dataset.sha256
    return hashlib.sha256(f"{job.owner_id}\n{job.model.sha256}\n{dataset}".encode()).hexdigest()


def wanted_by(job: OptimizationJob) -> Wanted:
    """Return which of those a job may have a use for."""
    try:
        passed = find_route(Format(job.model.format), Format(job.target_format)).formats
    except EngineError:
        passed = ()
    return Wanted(
        formats=frozenset(format.value for format in passed), target=job.target_format, precision=job.precision
    )


def tidy() -> int:
    """Remove the stages of this host that nobody has used for a while, and what dead workers left; returns how many."""
    horizon = time.time() - settings.STAGE_CACHE_HOURS * 3600
    removed = 0
    with _locked():
        for stage in _all_stages():
            if settings.STAGE_CACHE_BYTES == 0 or _used_at(stage) < horizon:
                removed += _remove(stage)
        for store in settings.WORK_DIR.glob(f"*/{STORE}/*"):
            for aside in store.glob(f"{_ASIDE}*"):
                if _used_at(aside) < time.time() - LEFTOVER_SECONDS:
                    shutil.rmtree(aside, ignore_errors=True)
            with contextlib.suppress(OSError):
                store.rmdir()  # as long as something is in it, it stays
    return removed


def _publish(ready: Path, target: Path) -> None:
    """Make room, and give a copied stage its name; an older one of that name was of no use to the child, and goes."""
    with _locked():
        _evict(settings.STAGE_CACHE_BYTES - _size_of(ready))
        if target.exists():
            _remove(target)
        ready.rename(target)


def _evict(limit_bytes: int) -> None:
    """Remove what was not used for longest until no more than the limit is left."""
    sizes = {stage: _size_of(stage) for stage in _all_stages()}
    total = sum(sizes.values())
    for stage in sorted(sizes, key=_used_at):
        if total <= limit_bytes:
            return
        _remove(stage)
        total -= sizes[stage]


def _remove(stage: Path) -> int:
    """Remove a stage so that nobody finds half of it."""
    aside = stage.with_name(f"{_ASIDE}{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        stage.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        return 1
    return 0


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Let one worker of this host at a time change what is kept."""
    with (settings.WORK_DIR / _LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _all_stages() -> list[Path]:
    return [stage for store in settings.WORK_DIR.glob(f"*/{STORE}/*") for stage in _stages_in(store)]


def _stages_in(store: Path) -> list[Path]:
    try:
        return [path for path in store.iterdir() if KEY.fullmatch(path.name) is not None]
    except OSError:
        return []


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            facts = path.lstat()
            total += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    return total


def _scope_of(stage: Path) -> str:
    with (stage / SCOPE).open("rb") as stream:
        return stream.read(100).decode(errors="replace")


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open a folder that is one: a link in its place would lead out of the attempt's own."""
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_stage(source: int, key: str, target: Path, room: Room) -> None:
    """Copy a stage from an open folder into ``target``, by descriptors, so that no link leads anywhere else.

    Raises
    ------
    RefusedError, OSError
        Part of it may have been copied.
    """
    (target / key).mkdir()
    _copy_folder(os.open(key, _FOLDER, dir_fd=source), target / key, room, depth=0)


def _copy_folder(descriptor: int, target: Path, room: Room, *, depth: int) -> None:
    """Copy what is in an open folder, which is closed here."""
    try:
        if depth > MAX_DEPTH:
            raise RefusedError("too deep")
        for name in os.listdir(descriptor):
            room.take_entry()
            kind = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                (target / name).mkdir()
                _copy_folder(os.open(name, _FOLDER, dir_fd=descriptor), target / name, room, depth=depth + 1)
            elif stat.S_ISREG(kind):
                _copy_file(os.open(name, _FILE, dir_fd=descriptor), target / name, room)
            else:
                raise RefusedError("something that is neither a file nor a folder")
    finally:
        os.close(descriptor)


def _copy_file(descriptor: int, target: Path, room: Room) -> None:
    with open(descriptor, "rb") as source, target.open("xb") as sink:
        facts: Any = os.fstat(source.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise RefusedError("a file that has another name as well")
        while chunk := source.read(COPY_BYTES):
            room.take_bytes(len(chunk))
            sink.write(chunk)
