"""The inputs that are fed while measuring, made and stored before anything is timed."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.errors import ResourceError, UnsupportedError, UserInputError
from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.task import feed_sample, required_batch
from edge_ai.engine.runtime.base import Tensor

SEED: Final = 0
"""Of made-up inputs."""

MAX_FEEDS: Final = 64
"""How many different inputs are fed in turn; more would measure the memory that holds them."""

MAX_FEEDS_BYTES: Final = 64 << 20

_MADE_UP_FEEDS: Final = 8
_MADE_UP_IMAGE_SIZE: Final = 224
_MADE_UP_LENGTH: Final = 128
_CAN_BE_MADE_UP: Final = frozenset(
    {"float16", "float32", "float64", "bool", "string"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)

Feed = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Inputs in a file: array ``<feed>_<place>`` for feed 0 to ``count`` - 1 and the place of the name in ``names``.

    Each is a batch of ``batch_size`` samples. ``kind`` says where they come from: "dataset", or "random" when they were
    made up from declared types and shapes.
    """

    names: tuple[str, ...]
    count: int
    batch_size: int
    kind: str


def prepare_inputs(inputs: Sequence[Tensor], dataset: Dataset | None, *, batch_size: int, path: Path) -> Prepared:
    """Write the inputs to a file and describe them.

    Parameters
    ----------
    inputs
        What the model takes.
    dataset
        Samples to feed, in their order, matched with the model (`Dataset.matched`); None to make inputs up.
    batch_size
        Samples in one inference.
    path
        The ``.npz`` to write.

    Raises
    ------
    UnsupportedError
        When the model cannot take that many samples at once, or takes something other than tensors.
    ResourceError
        When a batch alone is larger than the memory.
    """
    require_batch(inputs, batch_size)
    require_memory(inputs, batch_size)
    if dataset is None:
        feeds = made_up_feeds(inputs, batch_size)
    else:
        batch_size = max(batch_size, required_batch(inputs, dataset.inputs))
        feeds = dataset_feeds(inputs, dataset, batch_size)
    names = tuple(item.name for item in inputs)
    store_feeds(feeds, names, path)
    kind = "random" if dataset is None else "dataset"
    return Prepared(names=names, count=len(feeds), batch_size=batch_size, kind=kind)


def store_feeds(feeds: Sequence[Mapping[str, npt.NDArray[Any]]], names: Sequence[str], path: Path) -> None:
    """Write feeds to an ``.npz`` as `Prepared` describes it; names may hold anything, so they are not in the file."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, feed in enumerate(feeds):
        for place, name in enumerate(names):
            # Texts held as objects would have to be pickled.
            array = feed[name]
            arrays[f"{number}_{place}"] = array.astype(str) if array.dtype == object else array
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def require_batch(inputs: Sequence[Tensor], batch_size: int) -> None:
    """Refuse a batch that the model's declared shapes rule out."""
    if batch_size == 1:
        return
    for item in inputs:
        if item.shape and isinstance(item.shape[0], int) and item.shape[0] != batch_size:
            raise UnsupportedError(
                f"The model takes exactly {item.shape[0]} in the first dimension of its input {item.name!r},"
                f" so it cannot be run with a batch of {batch_size}.",
                code="invalid_request",
                fix="Measure with a batch of 1, or export the model with a dynamic batch dimension.",
                details={"input": item.name, "shape": list(item.shape), "batch_size": batch_size},
                field="batch_size",
            )


def require_memory(inputs: Sequence[Tensor], batch_size: int, *, available: int | None = None) -> None:
    """Refuse a batch whose inputs alone need more memory than there is: it would take the machine with it.

    Parameters
    ----------
    inputs
        What the model takes.
    batch_size
        Samples in one inference.
    available
        Bytes; by default what the machine has free and this process may still take.
    """
    free = _available_bytes() if available is None else available
    needed = sum(_bytes_of(item, batch_size) for item in inputs)
    if free is not None and needed > free:
        raise ResourceError(
            f"The inputs of one inference with a batch of {batch_size} take {needed / 1e9:.1f} GB; "
            f"{free / 1e9:.1f} GB of memory are free.",
            code="resource_limit",
            fix="Use a smaller batch, or measure on a machine with more memory.",
            details={"batch_size": batch_size, "needed_bytes": needed, "available_bytes": free},
            field="batch_size",
        )


def _bytes_of(item: Tensor, batch_size: int) -> int:
    if item.shape is None or item.dtype not in _CAN_BE_MADE_UP:
        return 0
    size = 4 if item.dtype == "string" else np.dtype(item.dtype).itemsize
    return size * math.prod(_made_up_shape(item, batch_size))


def _available_bytes() -> int | None:
    """Return the smaller of what the machine has free and what this process may still take; None when nobody tells."""
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        used = 0
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        found.append(max(0, limit - used))
    return min(found, default=None)


def dataset_feeds(inputs: Sequence[Tensor], dataset: Dataset, batch_size: int) -> list[Feed]:
    """Return feeds of samples in order, the first ones again when there are fewer than one batch."""
    feeds: list[Feed] = []
    size_bytes = 0
    batches = max(1, dataset.samples // batch_size)
    for number in range(min(MAX_FEEDS, batches)):
        places = [(number * batch_size + offset) % dataset.samples for offset in range(batch_size)]
        feed = feed_sample(inputs, dataset.inputs, places)
        size_bytes += sum(array.nbytes for array in feed.values())
        if feeds and size_bytes > MAX_FEEDS_BYTES:
            break
        feeds.append(feed)
    return feeds


def made_up_feeds(inputs: Sequence[Tensor], batch_size: int) -> list[Feed]:
    """Return made-up inputs: floats uniform in [0, 1), integers 0 or 1, which are within the range of any table or mask.

    Integers that stand for real numbers take all their values.
    """
    random = np.random.default_rng(SEED)
    feeds: list[Feed] = []
    size_bytes = 0
    while len(feeds) < _MADE_UP_FEEDS and (not feeds or size_bytes * (1 + 1 / len(feeds)) <= MAX_FEEDS_BYTES):
        feed = {item.name: _made_up(item, batch_size, random) for item in inputs}
        size_bytes += sum(array.nbytes for array in feed.values())
        feeds.append(feed)
    return feeds


def _made_up(item: Tensor, batch_size: int, random: np.random.Generator) -> npt.NDArray[Any]:
    if item.dtype not in _CAN_BE_MADE_UP:
        raise UnsupportedError(
            f"The model's input {item.name!r} is a {item.dtype}, which cannot be fed here.",
            code="unsupported_operator",
            fix="Export the model with plain tensors as its inputs.",
            details={"input": item.name, "type": item.dtype},
        )
    if item.shape is None:
        raise UserInputError(
            f"The model's input {item.name!r} does not say how many dimensions it has.",
            code="dataset_required",
            fix="Give a data set with real samples.",
            details={"input": item.name},
            field="dataset",
        )
    shape = _made_up_shape(item, batch_size)
    if item.dtype == "string":
        return np.full(shape, "text")
    if item.quantized:
        limits = np.iinfo(item.dtype)
        return random.integers(limits.min, limits.max + 1, shape).astype(item.dtype)
    if item.dtype.startswith("float"):
        return random.random(shape).astype(item.dtype)
    return random.integers(0, 2, shape).astype(item.dtype)


def _made_up_shape(item: Tensor, batch_size: int) -> tuple[int, ...]:
    """Return the shape of an input: a free dimension past the first is an image's height or width, or a length."""
    shape = item.shape or ()
    free = _MADE_UP_IMAGE_SIZE if len(shape) == 4 else _MADE_UP_LENGTH
    return tuple(
        size if isinstance(size, int) else (batch_size if axis == 0 else free) for axis, size in enumerate(shape)
    )
