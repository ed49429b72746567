"""Pruning by magnitude: the smallest weights of a network become zero, anywhere or two of each four."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edge_ai.engine.compress.base import FLOATS, Applied, Slot, ready, slots

MAX_LAYERS_TOLD: Final = 200
"""How many layers a report lists; the total always counts all."""

GROUP: Final = 4
KEPT_OF_GROUP: Final = 2

NOTE: Final = (
    "Runtimes for ordinary processors multiply with zeros as with any number: the variant is not faster, and it is smaller"
    " only when it is packed (see the gzip sizes)."
)
NOTE_2_4: Final = " Hardware with 2:4 sparsity, such as NVIDIA GPUs since Ampere, can skip the zeros."

Array = npt.NDArray[Any]


@dataclass(kw_only=True)
class _Layer:
    """A weight that may be pruned, and what the report calls it."""

    slot: Slot
    operator: str
    axis: int | None

    @property
    def name(self) -> str:
        return str(self.slot.tensor.name)

    @property
    def elements(self) -> int:
        return self.slot.elements

    def values(self) -> Array:
        """Return the weight as it is in the file, to be changed."""
        return np.array(numpy_helper.to_array(self.slot.tensor))

    def store(self, values: Array) -> None:
        self.slot.tensor.CopyFrom(numpy_helper.from_array(values, self.name))


def apply(model: onnx.ModelProto, *, method: str = "unstructured", sparsity: float = 0.5) -> Applied:
    """Set the least important weights to zero.

    What is pruned are the kernels and matrices of Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU, RNN and Attention, in
    subgraphs and Constant nodes too. Biases, normalizations and embeddings are left alone, and so is a matrix that is an
    embedding as well.

    Parameters
    ----------
    model
        It is changed.
    method
        ``unstructured``: the share ``sparsity`` of all those weights, which is spread over the layers by LAMP: the score of
        a weight is its square over the sum of the squares of all weights of its layer that are at least as large, and the
        lowest scores go. A single threshold for the magnitude itself would erase whole layers whose weights happen to be
        small, since scale is arbitrary once normalizations are folded; the same share in each layer would hurt small layers
        most. ``2:4``: in each layer, the two smallest of each four along the axis of input channels, where that is a multiple
        of four.
    sparsity
        Between 0 and 1, with ``unstructured``; zeros that are there already count.

    References
    ----------
    J. Lee et al., Layer-adaptive sparsity for the magnitude-based pruning, ICLR 2021.
    """
    ready(model)
    layers = list(_prunable(slots(model)))
    if method == "2:4":
        left_out = [layer.name for layer in layers if not _fits_groups(layer)]
        layers = [layer for layer in layers if _fits_groups(layer)]
        told = [_prune_groups(layer) for layer in layers]
    else:
        left_out = []
        counts = spread(layers, sparsity)
        told = [_prune_smallest(layer, count) for layer, count in zip(layers, counts, strict=True)]
    elements = sum(item["elements"] for item in told)
    zeros = sum(item["zeros"] for item in told)
    done: dict[str, Any] = {
        "weights": len(told),
        "elements": elements,
        "zeros": zeros,
        "achieved_sparsity": round(zeros / elements, 6) if elements else 0.0,
        "layers": [item | {"sparsity": round(item["zeros"] / item["elements"], 4)} for item in told[:MAX_LAYERS_TOLD]],
        "layers_left_out": left_out[:MAX_LAYERS_TOLD],
    }
    settings: dict[str, Any] = {"method": method}
    if method != "2:4":
        settings |= {"sparsity": sparsity, "threshold": "global, by the LAMP score"}
    return Applied(step="prune", model=model, settings=settings, done=done, note=_note(method, told, left_out))


def _note(method: str, told: Sequence[object], left_out: Sequence[str]) -> str:
    if not told:
        return "The model has no weights that could be pruned."
    note = NOTE + (NOTE_2_4 if method == "2:4" else "")
    if left_out:
        note += f" {len(left_out)} weights were left alone: their input channels are no multiple of {GROUP}."
    return note


def _prunable(found: Iterable[Slot]) -> Iterable[_Layer]:
    for slot in found:
        right = slot.tensor.data_type in FLOATS and len(slot.tensor.dims) >= 2 and slot.elements > 0
        if not right or slot.is_output or not slot.readers:
            continue
        if all(reader.multiplies for reader in slot.readers):
            axes = {reader.input_axis for reader in slot.readers}
            axis = axes.pop() if len(axes) == 1 else None
            yield _Layer(slot=slot, operator=slot.readers[0].operator, axis=axis)


def spread(layers: Sequence[_Layer], sparsity: float) -> list[int]:
    """Return how many weights of each layer become zero, so that the share of all is ``sparsity``, by LAMP scores."""
    total = sum(layer.elements for layer in layers)
    wanted = round(sparsity * total)
    if wanted == 0:
        return [0] * len(layers)
    scores = [lamp_scores(layer.values()) for layer in layers]
    threshold = np.partition(np.concatenate(scores), wanted - 1)[wanted - 1]
    counts = [int(np.searchsorted(score, threshold, side="left")) for score in scores]
    missing = wanted - sum(counts)
    for place, score in enumerate(scores):
        ties = int(np.searchsorted(score, threshold, side="right")) - counts[place]
        taken = min(ties, missing)
        counts[place] += taken
        missing -= taken
    return counts


def lamp_scores(values: Array) -> npt.NDArray[np.float32]:
    """Return the LAMP scores of a weight in rising order, between 0 and 1, float32; the largest magnitude has 1."""
    squares = np.sort(np.abs(np.nan_to_num(values.astype(np.float64, copy=False)).ravel())) ** 2
    remaining = np.cumsum(squares[::-1])[::-1]
    scores = np.divide(squares, remaining, out=np.zeros_like(squares), where=remaining > 0)
    # Sums lose digits; what must rise is made to.
    return np.maximum.accumulate(scores).astype(np.float32)


def _prune_smallest(layer: _Layer, count: int) -> dict[str, Any]:
    values = layer.values()
    flat = values.reshape(-1)
    if count > 0:
        magnitude = np.abs(flat)
        threshold = np.partition(magnitude, count - 1)[count - 1]
        below = magnitude < threshold
        ties = np.flatnonzero(magnitude == threshold)[: count - int(np.count_nonzero(below))]
        flat[below] = 0
        flat[ties] = 0
        layer.store(values)
    return _told(layer, values)


def _fits_groups(layer: _Layer) -> bool:
    return layer.axis is not None and layer.slot.tensor.dims[layer.axis] % GROUP == 0


def _prune_groups(layer: _Layer) -> dict[str, Any]:
    values = layer.values()
    last = np.moveaxis(values, layer.axis or 0, -1)
    groups = np.ascontiguousarray(last).reshape(-1, GROUP)
    order = np.argsort(np.abs(groups), axis=1, kind="stable")
    np.put_along_axis(groups, order[:, : GROUP - KEPT_OF_GROUP], 0, axis=1)
    pruned = np.ascontiguousarray(np.moveaxis(groups.reshape(last.shape), -1, layer.axis or 0))
    layer.store(pruned)
    return _told(layer, pruned)


def _told(layer: _Layer, values: Array) -> dict[str, Any]:
    zeros = values.size - int(np.count_nonzero(values))
    return {"name": layer.name[:300], "operator": layer.operator, "elements": int(values.size), "zeros": zeros}
