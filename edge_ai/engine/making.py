"""What the parts of an optimization share while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ai.engine.compress.rules import IN_FLOAT
from edge_ai.engine.lanes.base import size_of
from edge_ai.engine.plan import Caution
from edge_ai.engine.progress import Progress
from edge_ai.engine.spec import OptimizeOptions, OptimizeSpec, Precision
from edge_ai.engine.stages import Stages


@dataclass(kw_only=True)
class Making:
    """What is asked, and what is told of it.

    Parameters
    ----------
    precision
        As it was resolved.
    scratch
        A folder for what goes when the work ends.
    stages
        Finished stages of earlier attempts, and where this one leaves its own.
    passes
        How long each pass took, for the result.
    steps
        What was done to the network, for the recipe.
    cautions, notices
        What is worth knowing, of this engine and of its converters.
    """

    spec: OptimizeSpec
    options: OptimizeOptions
    precision: Precision
    scratch: Path
    progress: Progress
    stages: Stages
    passes: list[dict[str, object]] = field(default_factory=list)
    steps: list[dict[str, object]] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)
    notices: list[dict[str, str]] = field(default_factory=list)

    @property
    def bar(self) -> Precision:
        """The precision whose closeness is asked for: fewer or other weights move the answers as much as int8 does."""
        lossy = bool(self.options.cluster) or self.options.prune != "none"
        return Precision.INT8 if lossy and self.precision in IN_FLOAT else self.precision

    def note_pass(self, name: str, began: float, path: Path) -> float:
        """Tell how long a pass took, and how large what is at ``path`` was after it; returns the seconds."""
        seconds = time.monotonic() - began
        self.passes.append({"name": name, "seconds": round(seconds, 3), "size_bytes": size_of(path)})
        return seconds

    def note_reused(self, passes: Iterable[Mapping[str, Any]]) -> None:
        """Tell of passes that an earlier attempt did, with the times that they took then."""
        self.passes += [dict(item) | {"reused": True} for item in passes]
