"""What every lane is given."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from edge_ai.engine.formats.beside import data_of
from edge_ai.engine.options import refuse
from edge_ai.engine.plan import Caution
from edge_ai.engine.progress import Progress
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.routes import Route
from edge_ai.engine.runtime.base import Feed, Tensor
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision


@dataclass(kw_only=True)
class LaneContext:
    """What a lane works with.

    Parameters
    ----------
    model
        The unpacked model in the format that the lane starts from; it must not be changed.
    format
        Which of the lane's formats it is in.
    inputs, outputs
        What the model takes and answers.
    calibration
        Samples to calibrate with, under the names of ``inputs``; empty where no data set was given.
    sample
        One feed that shows sizes for free dimensions; ``None`` where nothing could be made up.
    has_dataset
        Whether ``calibration`` is real data.
    workdir
        A writable folder.
    progress
        Told about each step.
    """

    model: Path
    format: Format
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    precision: Precision
    level: OptimizationLevel
    options: OptimizeOptions
    calibration: Sequence[Feed]
    sample: Feed | None
    workdir: Path
    progress: Progress
    passes: list[dict[str, object]] = field(default_factory=list)
    steps: list[dict[str, object]] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)

    def trial(
        self, place: int, name: str, settings: Mapping[str, object], make: Callable[[Path], object], *, suffix: str = ""
    ) -> Trial:
        """Return a way to try; ``make`` writes the unpacked variant (a file, or a folder) to the path that it is given."""
        return Trial(name=name, path=self.workdir / f"trial-{place}{suffix}", settings=settings, make=make)

    @contextmanager
    def timed(self, name: str, path: Path) -> Iterator[None]:
        """Tell in the result how long a pass took, and how large what is at ``path`` was after it."""
        began = time.monotonic()
        yield
        self.passes.append({"name": name, "seconds": round(time.monotonic() - began, 3), "size_bytes": size_of(path)})


def ways_of(route: Route, context: LaneContext) -> Iterator[Trial]:
    """Return what a route's lane would try."""
    found: Iterator[Trial] = import_module(route.lane.module).ways(context)
    return found


def size_of(path: Path) -> int:
    """Return the bytes of a file, with weights beside it, or of all files in a folder."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return sum(item.stat().st_size for item in (path, data_of(path)) if item.exists())


def require_layers(names: Sequence[str], known: Collection[str], *, parts: bool = False) -> None:
    """Refuse names of layers that a network does not have, and say which are like them.

    Parameters
    ----------
    known
        What there is: layers, and kinds of operators.
    parts
        A part of a layer's name is enough.

    Raises
    ------
    UserInputError
        ``invalid_request`` for ``options.exclude_layers``.
    """
    for name in names:
        if name in known or (parts and any(name in layer for layer in known)):
            continue
        like = difflib.get_close_matches(name, sorted(known), n=3)
        raise refuse(
            "options.exclude_layers",
            f"The model has no layer and no operator called {name[:80]!r}.",
            f"There are {', '.join(like)}." if like else "Give the names that the model's graph shows.",
        )
