"""Clustered weights: a small palette and an index instead of floats, unfolded when the model is loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

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
from edge_ai.engine.compress.unfold import PACKED_SIZE, Array, Code, Unfolding, all_pairs, unfolding
from edge_ai.engine.formats.onnx import subgraphs

WHOLE_SIZE: Final = 256
"""Palettes of this size have indices of a byte."""

KEEP_FOR: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Scales decide what integers mean, and take next to no room."""

SMALL_SHARE: Final = 0.1
"""The smallest weights that together hold this share of all numbers have 256 values where the others have 16."""

WORTH_A_SCALE: Final = 0.95
"""A scale for each channel is stored where it brings the mean error of channels below this share of what it was."""

DEAD: Final = 1e-30
"""Channels whose weights are smaller than this, in the root of their mean square, do nothing."""

NOTE: Final = (
    "The palette is unfolded once, when the model is loaded: it runs as fast as with plain weights, and takes as much memory"
    " while it runs."
)


@dataclass(kw_only=True)
class _Sums:
    """What the report's figures are made of."""

    weights: int = 0
    scaled: int = 0
    finer: int = 0
    elements: int = 0
    bytes_saved: int = 0
    signal: float = 0.0
    noise: float = 0.0
    layers: list[dict[str, Any]] = field(default_factory=list)


def apply(model: onnx.ModelProto, *, size: int = WHOLE_SIZE) -> Applied:
    """Replace float weights by the nearest of ``size`` numbers, which are chosen for each weight by k-means.

    A weight becomes ``Gather(palette, Cast(index))`` of constants, which onnxruntime computes once, when it loads the model.
    Indices of 256 numbers take a byte. With 16, a byte holds two of them, and is looked up in a table of all 256 pairs,
    which is made of the palette in the same way. The palettes stay in the type of the weight: in fp16 they would save 512
    bytes at most.

    Two things keep small parts of a network from spoiling it, for few bytes: a weight whose output channels differ in scale is
    stored with a scale for each, by which what is looked up is multiplied; and with 16, the smallest weights, with a tenth of
    all numbers, have 256 values.

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
    found = _candidates(slots(model))
    finer = _small(found) if size == PACKED_SIZE else set()
    replaced: dict[int, dict[str, Unfolding]] = {}
    for place, slot in enumerate(found):
        values = numpy_helper.to_array(slot.tensor)
        packed = size == PACKED_SIZE and place not in finer
        code = _encode(values, slot, packed=packed)
        if code is None:
            continue
        made = unfolding(slot.tensor.name, code, packed=packed, names=names)
        saved = slot.tensor.ByteSize() - made.size_bytes
        if saved > 0:
            replaced.setdefault(id(slot.graph), {})[slot.tensor.name] = made
            _count(sums, slot, values, code, saved, finer=place in finer)
    if size == PACKED_SIZE and sums.weights > sums.finer:
        pairs = all_pairs()
        sums.bytes_saved -= pairs.ByteSize()
        if sums.bytes_saved > 0:
            model.graph.initializer.append(pairs)
    if sums.bytes_saved <= 0:
        sums, replaced = _Sums(), {}
    for graph in reversed(graphs):
        # The inner ones first: the nodes that hold them are copied.
        _put(graph, replaced.get(id(graph), {}))
    note = NOTE if sums.weights else "The model has no float weights that clustering would make smaller."
    settings = {"palette": size, "bits": 4 if size == PACKED_SIZE else 8}
    return Applied(step="cluster", model=model, settings=settings, done=_done(sums), note=note)


def _done(sums: _Sums) -> dict[str, Any]:
    return {
        "weights": sums.weights,
        "weights_with_scales": sums.scaled,
        "weights_with_256": sums.finer,
        "elements": sums.elements,
        "bytes_saved": sums.bytes_saved,
        "weights_sqnr_db": _sqnr_db(sums.signal, sums.noise),
        "layers": sums.layers[:MAX_LAYERS_TOLD],
    }


def _candidates(found: Iterable[Slot]) -> list[Slot]:
    return [
        slot
        for slot in found
        if slot.tensor.data_type in FLOATS
        and len(slot.tensor.dims) >= 2
        and slot.elements > PACKED_SIZE
        and not slot.is_output
        and not any(reader.node.op_type in KEEP_FOR for reader in slot.readers)
    ]


def _small(found: Sequence[Slot]) -> set[int]:
    """Return the places of the smallest weights, up to their share of all numbers."""
    left = SMALL_SHARE * sum(slot.elements for slot in found)
    small = set()
    for place in sorted(range(len(found)), key=lambda place: found[place].elements):
        left -= found[place].elements
        if left < 0:
            break
        small.add(place)
    return small


def _encode(values: Array, slot: Slot, *, packed: bool) -> Code | None:
    """Return a weight's code, or ``None`` where it cannot have one or would not be smaller."""
    size = PACKED_SIZE if packed else WHOLE_SIZE
    if values.nbytes <= values.size // (2 if packed else 1) + PACKED_SIZE * values.itemsize:
        return None
    if not np.isfinite(values).all():
        palette = np.unique(values)
        if palette.size > size or np.isnan(palette).any():
            return None
        index = np.searchsorted(palette, values.ravel()).astype(np.uint8).reshape(values.shape)
        return Code(palette=palette, index=index)
    palette = palette_of(values, size)
    plain = Code(palette=palette, index=nearest(values, palette))
    axes = {reader.output_axis for reader in slot.readers}
    axis = axes.pop() if len(axes) == 1 else None
    if axis is None or np.array_equal(plain.values, values):
        return plain
    scaled = _with_scales(values, axis, size)
    better = _channel_error(values, scaled.values, axis) < WORTH_A_SCALE * _channel_error(values, plain.values, axis)
    return scaled if better else plain


def _with_scales(values: Array, axis: int, size: int) -> Code:
    others = tuple(place for place in range(values.ndim) if place != axis)
    scale = np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=others, keepdims=True))
    # Channels that training has left dead become zero: numbers below the normal ones make processors crawl.
    alive = scale > DEAD
    scale = np.where(alive, scale, 0).astype(values.dtype)
    even = np.where(alive, values / np.where(alive, scale, 1), 0).astype(values.dtype)
    palette = palette_of(even, size)
    return Code(palette=palette, index=nearest(even, palette), scale=scale)


def _channel_error(values: Array, made: Array, axis: int) -> float:
    """Return the squared error as a share of the square, in the mean over channels."""
    others = tuple(place for place in range(values.ndim) if place != axis)
    signal = np.sum(np.square(values, dtype=np.float64), axis=others)
    noise = np.sum(np.square(values.astype(np.float64) - made), axis=others)
    return float(np.mean(np.divide(noise, signal, out=np.zeros_like(noise), where=signal > 0)))


def _put(graph: onnx.GraphProto, replaced: dict[str, Unfolding]) -> None:
    """Replace weights in a graph; what unfolds them stands first, as nodes stand in the order in which they can run."""
    if not replaced:
        return
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    new = [tensor for made in replaced.values() for tensor in made.tensors]
    replace_initializers(graph, [*kept, *new])
    first = [node for made in replaced.values() for node in made.nodes]
    replace_nodes(graph, [*first, *graph.node])


def _count(sums: _Sums, slot: Slot, values: Array, code: Code, saved: int, *, finer: bool) -> None:
    usable = np.isfinite(values)
    x = values[usable].astype(np.float64)
    error = x - code.values[usable]
    signal, noise = float(x @ x), float(error @ error)
    sums.weights += 1
    sums.scaled += code.scale is not None
    sums.finer += finer
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
