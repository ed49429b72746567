"""What every conversion is given and gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_ai.engine.progress import Progress
from edge_ai.engine.routes import Edge
from edge_ai.engine.runtime.base import Feed, Tensor


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One conversion to be done.

    Parameters
    ----------
    source
        The unpacked model: a file, or a folder for a SavedModel. It must not be changed.
    target
        Where the outcome goes: a file, or a folder for a SavedModel. It does not exist yet.
    workdir
        For temporary files.
    inputs
        What the source takes.
    sample
        One feed of the source, which shows sizes for free dimensions; ``None`` where nothing could be made up.
    progress
        Told what is worth keeping.
    """

    source: Path
    target: Path
    workdir: Path
    inputs: Sequence[Tensor]
    sample: Feed | None
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a conversion tells of itself: JSON-ready settings for the recipe, and warnings as the result has them."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[Mapping[str, str]] = ()


def convert(edge: Edge, conversion: Conversion) -> Converted:
    """Do a conversion. Names of inputs and outputs survive it, up to :func:`~edge_ai.engine.evaluate.pairing.plain_name`.

    Raises
    ------
    EngineError
        ``unsupported_operator`` naming the operators, ``unsupported_conversion``, ``resource_limit``.
    """
    done: Converted = import_module(edge.module).convert(conversion)
    return done
