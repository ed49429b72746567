"""What every task of a measured process does first: the runtime imported, the inputs read, the model loaded.

Nothing heavy is imported here but NumPy; the runtime comes with `import_runtime`, which is timed.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# The runtimes' modules use these: imported before, they are no part of what importing a runtime takes.
import edge_ai.engine.measure.child  # noqa: F401
from edge_ai.engine.errors import EngineError
from edge_ai.engine.runtime import RUNTIMES, open_model
from edge_ai.engine.runtime.base import Session
from edge_ai.engine.spec import Format

NS_PER_MS: Final = 1e6
NS_PER_S: Final = 1_000_000_000

Feed = Mapping[str, npt.NDArray[Any]]
Task = Mapping[str, Any]
Say = Callable[[str], None]


class StepError(Exception):
    """A step of the task failed: which one, and with which kind of exception."""

    def __init__(self, where: str, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.where = where
        self.exception = type(cause).__name__


@contextmanager
def step(where: str) -> Iterator[None]:
    """Name the step in which an exception is raised; runtimes raise classes of their own, so all are caught.

    What was explained already, an `EngineError`, stays as it is.
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise StepError(where, error) from error


def import_runtime(task: Task) -> float:
    """Import the runtime of the task's format; returns how long that took, in ms."""
    begin_ns = time.perf_counter_ns()
    with step("load"):
        import_module(RUNTIMES[Format(task["format"])])
    return (time.perf_counter_ns() - begin_ns) / NS_PER_MS


def load_model(task: Task) -> Session:
    """Load the task's model on the CPU, with the task's threads."""
    with step("load"):
        return open_model(Path(task["model_path"]), Format(task["format"]), threads=task["threads"])


def load_feeds(task: Task) -> list[Feed]:
    """Read the prepared inputs into memory; names are kept apart from the file, since they may hold anything."""
    names: list[str] = task["input_names"]
    with np.load(task["inputs_path"], allow_pickle=False) as stored:
        return [
            {name: stored[f"{feed}_{place}"] for place, name in enumerate(names)} for feed in range(task["feed_count"])
        ]


def round_and_round(session: Session, feeds: list[Feed], *, first: int = 0) -> Callable[[], object]:
    """Return a function that runs the next of the inputs, the first one again after the last."""
    following = itertools.cycle(feeds[first % len(feeds) :] + feeds[: first % len(feeds)]).__next__
    run = session.run
    return lambda: run(following())


def drop_from_page_cache(path: Path) -> bool:
    """Ask the kernel to forget a file, or all files of a folder, so that loading reads from the disk.

    It may keep them all the same.
    """
    if path.suffix == ".xml":
        # OpenVINO's weights lie beside the network.
        drop_from_page_cache(path.with_suffix(".bin"))
    if path.is_dir():
        dropped = [drop_from_page_cache(item) for item in path.rglob("*") if item.is_file()]
        return all(dropped)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Pages that have not been written yet cannot be dropped.
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
