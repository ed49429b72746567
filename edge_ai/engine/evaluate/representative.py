"""Input for models that came without data, made up from what their files say about it. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.runtime.base import Tensor

Feed = dict[str, npt.NDArray[Any]]

#: Free axes: of pictures, of waveforms, and of other sequences.
PICTURE_SIZE = 224
WAVEFORM_LENGTH = 16_000
SEQUENCE_LENGTH = 32


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """Feeds, and how much they are worth.

    ``data`` is "representative" when the file itself says what range every input has, else "random": a guess from type
    and shape.
    """

    feeds: tuple[Feed, ...]
    data: str


@dataclass(frozen=True, kw_only=True)
class Range:
    """What values an input takes, both ends included; ``known`` when the file says so."""

    low: float
    high: float
    known: bool = True


def make_up_feeds(
    inputs: Sequence[Tensor], *, count: int, seed: int, ranges: Mapping[str, Range] | None = None
) -> MadeUp:
    """Make input up.

    Parameters
    ----------
    inputs
        What the model takes.
    count
        How many feeds.
    seed
        The same seed gives the same feeds.
    ranges
        By the names of inputs, what the model's file says about them.

    Raises
    ------
    UserInputError
        ``dataset_required`` for an input of a kind that cannot be made up.
    """
    random = np.random.default_rng(seed)
    known = ranges or {}
    within = {item.name: known.get(item.name) or _guess(item) for item in inputs}
    feeds = tuple({item.name: _make(item, within[item.name], random) for item in inputs} for _ in range(count))
    return MadeUp(feeds=feeds, data="representative" if all(r.known for r in within.values()) else "random")


def _make(item: Tensor, within: Range, random: np.random.Generator) -> npt.NDArray[Any]:
    shape, dtype = _shape(item), item.dtype
    if dtype == "string":
        return np.full(shape, "text")
    if dtype == "bool":
        return np.asarray(random.integers(0, 2, shape), dtype=bool)
    if dtype.startswith("float"):
        return np.asarray(within.low + (within.high - within.low) * random.random(shape), dtype=dtype)
    if dtype.startswith(("int", "uint")) and dtype not in {"int4", "uint4", "int2", "uint2"}:
        return np.asarray(random.integers(int(within.low), int(within.high) + 1, shape), dtype=dtype)
    raise UserInputError(
        f"The model's input {item.name!r} is a {dtype}, which cannot be made up.",
        code="dataset_required",
        fix="Give a data set with real samples.",
        field="dataset",
    )


def _shape(item: Tensor) -> tuple[int, ...]:
    axes = item.shape or ()
    rank = len(axes)
    waveform = rank == 2 and item.dtype.startswith("float")
    free = PICTURE_SIZE if rank == 4 else WAVEFORM_LENGTH if waveform else SEQUENCE_LENGTH
    return tuple(axis if isinstance(axis, int) else (1 if place == 0 else free) for place, axis in enumerate(axes))


def _guess(item: Tensor) -> Range:
    """Return the range of an input whose file tells nothing more than type and shape."""
    if item.quantized:
        limits = np.iinfo(item.dtype)
        return Range(low=limits.min, high=limits.max)
    if item.dtype.startswith(("int", "uint")):
        # 0 and 1 are within the range of any table.
        return Range(low=1, high=1) if "mask" in item.name.lower() else Range(low=0, high=1, known=False)
    picture = len(item.shape or ()) == 4
    return Range(low=0.0 if picture else -1.0, high=1.0, known=item.dtype in {"bool", "string"})
