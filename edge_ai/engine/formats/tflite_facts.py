"""A TensorFlow Lite file's network as plain facts: subgraphs, tensors, operators."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.formats.tflite_flatbuffer import Table

#: The types by their number, and the bits of one value; strings have no fixed size.
TYPES: Final[tuple[tuple[str, int | None], ...]] = (
    ("float32", 32),
    ("float16", 16),
    ("int32", 32),
    ("uint8", 8),
    ("int64", 64),
    ("string", None),
    ("bool", 8),
    ("int16", 16),
    ("complex64", 64),
    ("int8", 8),
    ("float64", 64),
    ("complex128", 128),
    ("uint64", 64),
    ("resource", None),
    ("variant", None),
    ("uint32", 32),
    ("uint16", 16),
    ("int4", 4),
    ("bfloat16", 16),
    ("int2", 2),
    ("uint4", 4),
    ("float8e4m3fn", 8),
    ("float8e5m2", 8),
)
CUSTOM: Final = 32
#: Options that name other subgraphs, and where.
_CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "Call": ("subgraph",),
    "If": ("then", "else"),
    "While": ("cond", "body"),
    "CallOnce": ("init",),
    "StablehloReduce": ("body",),
    "StablehloScatter": ("body",),
    "StablehloReduceWindow": ("body",),
    "StablehloSort": ("body",),
    "StablehloWhile": ("cond", "body"),
    "StableHLOComposite": ("body",),
}


@dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """One tensor.

    Parameters
    ----------
    signature
        The shape with -1 for free axes; the shape itself where the file tells no more.
    bits
        Of one value; ``None`` for strings and handles.
    data
        The bytes of a constant, ``None`` for what is computed.
    scales
        Of a quantized tensor: one, or one for each index along ``dimension``.
    """

    name: str
    dtype: str
    bits: int | None
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    buffer: int
    data: npt.NDArray[np.uint8] | None
    is_variable: bool
    sparse: bool
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    dimension: int

    @property
    def elements(self) -> int:
        """How many values it has; free axes count as the file's shape has them."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, packed; 0 for strings and handles."""
        return (self.elements * (self.bits or 0) + 7) // 8


@dataclass(frozen=True, kw_only=True)
class OperatorFacts:
    """One operator: the number of its kind, its tensors (-1: left out) and the options that are looked at."""

    code: int
    custom: str | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_kind: str | None
    options: Table

    @property
    def calls(self) -> tuple[int, ...]:
        """The subgraphs that it runs."""
        named = [self.options.get(name, 0) for name in _CALLS.get(self.options_kind or "", ())]
        return (*named, *map(int, self.options.get("branches", ())), *map(int, self.options.get("called", ())))


@dataclass(frozen=True, kw_only=True)
class SubgraphFacts:
    """A network, or a part that one of its operators runs."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: Sequence[TensorFacts]
    operators: Sequence[OperatorFacts]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A whole file; the first subgraph is the network.

    Parameters
    ----------
    signatures
        By key and ``inputs`` or ``outputs``, the tensors by name.
    """

    version: int
    description: str
    subgraphs: Sequence[SubgraphFacts]
    signatures: Mapping[str, Mapping[str, Mapping[str, int]]]
    metadata: Mapping[str, npt.NDArray[np.uint8] | None] = field(default_factory=dict)
