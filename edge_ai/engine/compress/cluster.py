"""Clustered weights: a small palette and an index instead of floats, unfolded when the model is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edge_ai.engine.compress.base import (
    FLOATS,
    Applied,
    Slot,
    defined,
    ready,
    replace_initializers,
    replace_nodes,
    slots,
)
from edge_ai.engine.compress.kmeans import nearest, palette_of
from edge_ai.engine.compress.prune import MAX_LAYERS_TOLD
from edge_ai.engine.formats.onnx import subgraphs

PACKED_SIZE: Final = 16
"""Palettes of this size have indices of four bits, two of which share a byte."""

MARK: Final = "::unfold"
"""Ends the names of the nodes that unfold weights."""

PAIRS: Final = "palette::pairs"

KEEP_FOR: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Scales decide what integers mean, and take next to no room."""

NOTE: Final = (
    "The palette is unfolded once, when the model is loaded: it runs as fast as with plain weights, and takes as much memory"
    " while it runs."
)

_FRAME: Final = 6
"""Bytes that a tensor or a node takes in a graph besides its own, at most."""

Array = npt.NDArray[Any]


@dataclass(kw_only=True)
class _Sums:
    """What the report's figures are made of."""

    weights: int = 0
    elements: int = 0
    bytes_saved: int = 0
    signal: float = 0.0
    noise: float = 0.0
    layers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Unfolded:
    """What stands for a weight: constants, and the nodes that make the weight of them."""

    tensors: list[onnx.TensorProto]
    nodes: list[onnx.NodeProto]

    @property
    def size_bytes(self) -> int:
        sizes: list[int] = [*(tensor.ByteSize() for tensor in self.tensors), *(node.ByteSize() for node in self.nodes)]
        return sum(sizes) + _FRAME * len(sizes)


def apply(model: onnx.ModelProto, *, size: int = 256) -> Applied:
    """Replace float weights by the nearest of ``size`` numbers that are chosen for each weight by k-means.

    A weight becomes ``Gather(palette, Cast(index))`` of constants, which onnxruntime computes once, when it loads the model.
    Indices of 256 numbers take a byte. With 16, a byte holds two of them, and is looked up in a table of all 256 pairs,
    which is made of the palette in the same way. The palettes stay in the type of the weight: in fp16 they would save 512
    bytes at most.

    Weights are left as they are where that would save no bytes, where they have fewer than two axes (biases,
    normalizations), where they hold infinities or NaN besides many other values, and where they are scales of quantized
    tensors.

    Parameters
    ----------
    model
        It is changed.
    size
        16 or 256.
    """
    ready(model)
    graphs = list(subgraphs(model.graph))
    names = {name for graph in graphs for name in defined(graph)}
    sums = _Sums()
    replaced: dict[int, dict[str, _Unfolded]] = {}
    pairs_bytes = 0
    for slot in _candidates(slots(model)):
        values = numpy_helper.to_array(slot.tensor)
        if not _worth_a_try(values, size):
            continue
        palette = _palette(values, size)
        if palette is None:
            continue
        index = nearest(values, palette)
        unfolded = _unfold(slot.tensor.name, values, palette, index, packed=size == PACKED_SIZE, names=names)
        saved = slot.tensor.ByteSize() - unfolded.size_bytes
        if saved <= 0:
            continue
        replaced.setdefault(id(slot.graph), {})[slot.tensor.name] = unfolded
        _count(sums, slot, values, palette[index], saved)
    if size == PACKED_SIZE and replaced:
        model.graph.initializer.append(_all_pairs())
        pairs_bytes = model.graph.initializer[-1].ByteSize()
    for graph in reversed(graphs):
        # The inner ones first: the nodes that hold them are copied.
        _put(graph, replaced.get(id(graph), {}))
    done: dict[str, Any] = {
        "weights": sums.weights,
        "elements": sums.elements,
        "bytes_saved": sums.bytes_saved - pairs_bytes,
        "weights_sqnr_db": _sqnr_db(sums.signal, sums.noise),
        "layers": sums.layers[:MAX_LAYERS_TOLD],
    }
    note = NOTE if sums.weights else "The model has no float weights that clustering would make smaller."
    settings = {"palette": size, "bits": 4 if size == PACKED_SIZE else 8, "start": "density and equal steps"}
    return Applied(step="cluster", model=model, settings=settings, done=done, note=note)


def _candidates(found: list[Slot]) -> Iterator[Slot]:
    for slot in found:
        scale = any(reader.node.op_type in KEEP_FOR for reader in slot.readers)
        if slot.tensor.data_type in FLOATS and len(slot.tensor.dims) >= 2 and not (slot.is_output or scale):
            yield slot


def _worth_a_try(values: Array, size: int) -> bool:
    bits = 4 if size == PACKED_SIZE else 8
    return bool(values.nbytes > values.size * bits // 8 + PACKED_SIZE * values.itemsize)


def _palette(values: Array, size: int) -> Array | None:
    if np.isfinite(values).all():
        return palette_of(values, size)
    distinct = np.unique(values)
    return None if distinct.size > size or np.isnan(distinct).any() else distinct


def _unfold(
    name: str, values: Array, palette: Array, index: npt.NDArray[np.uint8], *, packed: bool, names: set[str]
) -> _Unfolded:
    made = _Maker(name, names)
    flat = index.ravel()
    if not packed:
        table = made.tensor("palette", palette)
        made.gather(table, made.wide(made.tensor("index", index)), name)
        return made.unfolded
    # Every pair is looked up, of indices that no weight has too.
    table = made.tensor("palette", np.pad(palette, (0, PACKED_SIZE - palette.size), mode="edge"))
    even = flat.size - flat.size % 2
    byte = flat[0:even:2] * np.uint8(PACKED_SIZE) + flat[1:even:2]
    pairs = made.gather(table, made.wide(PAIRS))
    both = made.gather(pairs, made.wide(made.tensor("index", byte)))
    if even != flat.size:
        # The last of an odd number of values stands by itself.
        column = made.node("Reshape", [both, made.tensor("column", np.array([-1], np.int64))])
        both = made.node("Concat", [column, made.tensor("last", palette[flat[-1:]])], axis=0)
    made.node("Reshape", [both, made.tensor("shape", np.array(values.shape, np.int64))], name)
    return made.unfolded


class _Maker:
    """Makes constants and nodes with names that nothing else has."""

    def __init__(self, weight: str, names: set[str]) -> None:
        self._weight = weight
        self._names = names
        self.unfolded = _Unfolded(tensors=[], nodes=[])

    def tensor(self, role: str, values: Array) -> str:
        name = self._fresh(role)
        self.unfolded.tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def wide(self, index: str) -> str:
        return self.node("Cast", [index], to=onnx.TensorProto.INT32)

    def gather(self, table: str, index: str, output: str | None = None) -> str:
        return self.node("Gather", [table, index], output, axis=0)

    def node(self, kind: str, inputs: list[str], output: str | None = None, **settings: Any) -> str:
        output = output or self._fresh(kind.lower())
        self.unfolded.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}{MARK}", **settings))
        return output

    def _fresh(self, role: str) -> str:
        name = f"{self._weight}::{role}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _all_pairs() -> onnx.TensorProto:
    """Return for each byte the two indices that it holds, uint8 [256, 2]."""
    byte = np.arange(256, dtype=np.uint8)
    return numpy_helper.from_array(np.stack([byte // PACKED_SIZE, byte % PACKED_SIZE], axis=1), PAIRS)


def _put(graph: onnx.GraphProto, replaced: dict[str, _Unfolded]) -> None:
    """Replace weights in a graph; what unfolds them stands first, as nodes stand in the order in which they can run."""
    if not replaced:
        return
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    new = [tensor for unfolded in replaced.values() for tensor in unfolded.tensors]
    replace_initializers(graph, [*kept, *new])
    first = [node for unfolded in replaced.values() for node in unfolded.nodes]
    replace_nodes(graph, [*first, *graph.node])


def _count(sums: _Sums, slot: Slot, values: Array, clustered: Array, saved: int) -> None:
    usable = np.isfinite(values)
    x = values[usable].astype(np.float64)
    error = x - clustered[usable]
    signal, noise = float(x @ x), float(error @ error)
    sums.weights += 1
    sums.elements += values.size
    sums.bytes_saved += saved
    sums.signal += signal
    sums.noise += noise
    sums.layers.append(
        {"name": slot.tensor.name[:300], "elements": int(values.size), "sqnr_db": _sqnr_db(signal, noise)}
    )


def _sqnr_db(signal: float, noise: float) -> float | None:
    """Signal to noise in dB; ``None`` where there is no noise."""
    return round(10 * math.log10(signal / noise), 2) if signal and noise else None
