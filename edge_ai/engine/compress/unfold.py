"""The constants and nodes that stand for a clustered weight, and make it when a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

PACKED_SIZE: Final = 16
"""Palettes of at most this size have indices of four bits, two of which share a byte."""

MARK: Final = "::unfold"
"""Ends the names of the nodes that unfold weights."""

PAIRS: Final = "palette::pairs"
"""The name of the constant that holds for each byte the two indices in it."""

_FRAME: Final = 6
"""Bytes that a tensor or a node takes in a graph besides its own, at most."""

Array = npt.NDArray[Any]
Index = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Code:
    """A weight as ``palette[index] * scale``.

    Parameters
    ----------
    palette
        Rising, of the weight's type.
    index
        Of the weight's shape.
    scale
        Of the weight's type, and of a shape that is broadcast to the weight's.
    """

    palette: Array
    index: Index
    scale: Array | None = None

    @property
    def values(self) -> Array:
        """The weight that it stands for."""
        plain: Array = self.palette[self.index]
        return plain if self.scale is None else plain * self.scale


@dataclass(frozen=True, kw_only=True)
class Unfolding:
    """What makes a weight: constants, and nodes in the order in which they can run."""

    tensors: list[onnx.TensorProto]
    nodes: list[onnx.NodeProto]

    @property
    def size_bytes(self) -> int:
        """What it takes in the file."""
        sizes: list[int] = [*(tensor.ByteSize() for tensor in self.tensors), *(node.ByteSize() for node in self.nodes)]
        return sum(sizes) + _FRAME * len(sizes)


def unfolding(name: str, code: Code, *, packed: bool, names: set[str]) -> Unfolding:
    """Return what makes the weight ``name`` of its code.

    Parameters
    ----------
    packed
        Put two indices into a byte; the palette then has at most 16 values, and the graph needs :func:`all_pairs`.
    names
        Those that are taken; new ones are added.
    """
    made = _Maker(name, names)
    if packed:
        plain = _packed(made, code)
    else:
        index = made.node("Cast", [made.tensor("index", code.index)], to=onnx.TensorProto.INT32)
        plain = made.node("Gather", [made.tensor("palette", code.palette), index], axis=0)
    if code.scale is not None:
        made.node("Mul", [plain, made.tensor("scale", code.scale)])
    made.name_result()
    return made.unfolding


def all_pairs() -> onnx.TensorProto:
    """Return for each byte the two indices that it holds, uint8 [256, 2]."""
    byte = np.arange(256, dtype=np.uint8)
    return numpy_helper.from_array(np.stack([byte // PACKED_SIZE, byte % PACKED_SIZE], axis=1), PAIRS)


def _packed(made: _Maker, code: Code) -> str:
    flat = code.index.ravel()
    # Every pair is looked up, of indices that no weight has too.
    table = made.tensor("palette", np.pad(code.palette, (0, PACKED_SIZE - code.palette.size), mode="edge"))
    pairs = made.node("Gather", [table, made.node("Cast", [PAIRS], to=onnx.TensorProto.INT32)], axis=0)
    even = flat.size - flat.size % 2
    byte = flat[0:even:2] * np.uint8(PACKED_SIZE) + flat[1:even:2]
    index = made.node("Cast", [made.tensor("index", byte)], to=onnx.TensorProto.INT32)
    both = made.node("Gather", [pairs, index], axis=0)
    if even != flat.size:
        # The last of an odd number of values stands by itself.
        column = made.node("Reshape", [both, made.tensor("column", np.array([-1], np.int64))])
        both = made.node("Concat", [column, made.tensor("last", code.palette[flat[-1:]])], axis=0)
    return made.node("Reshape", [both, made.tensor("shape", np.array(code.index.shape, np.int64))])


class _Maker:
    """Makes constants and nodes with names that nothing else has."""

    def __init__(self, weight: str, names: set[str]) -> None:
        self._weight = weight
        self._names = names
        self.unfolding = Unfolding(tensors=[], nodes=[])

    def tensor(self, role: str, values: Array) -> str:
        name = self._fresh(role)
        self.unfolding.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], **settings: Any) -> str:
        output = self._fresh(kind.lower())
        self.unfolding.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}{MARK}", **settings))
        return output

    def name_result(self) -> None:
        """Let the last node make the weight itself."""
        node = self.unfolding.nodes[-1]
        self._names.discard(node.output[0])
        node.output[0] = self._weight
        node.name = f"{self._weight}{MARK}"

    def _fresh(self, role: str) -> str:
        name = f"{self._weight}::{role}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name
