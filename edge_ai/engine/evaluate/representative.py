"""Input for models that came without data, made up from what their files say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.onnx import constant_value, describe_value, true_inputs

Feed = dict[str, npt.NDArray[Any]]

#: Free axes: of pictures, of waveforms, and of other sequences.
PICTURE_SIZE = 224
WAVEFORM_LENGTH = 16_000
SEQUENCE_LENGTH = 32
PASSES_INDICES_ON = frozenset({"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze"})


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """Feeds, and how much they are worth.

    ``data`` is "representative" when the file itself says what range every input has, else "random": a guess from type
    and shape.
    """

    feeds: tuple[Feed, ...]
    data: str


@dataclass(frozen=True, kw_only=True)
class _Range:
    low: float
    high: float
    known: bool


def make_up_feeds(model: onnx.ModelProto, *, count: int, seed: int) -> MadeUp:
    """Make input up.

    Parameters
    ----------
    model
        Its weights tell how large its tables are, and its quantization which range its inputs have.
    count
        How many feeds.
    seed
        The same seed gives the same feeds.

    Raises
    ------
    UserInputError
        ``dataset_required`` for an input of a kind that cannot be made up.
    """
    random = np.random.default_rng(seed)
    described = [describe_value(value) for value in true_inputs(model.graph)]
    ranges = {item["name"]: _range(model, item) for item in described}
    feeds = tuple({item["name"]: _make(item, ranges[item["name"]], random) for item in described} for _ in range(count))
    known = all(found.known for found in ranges.values())
    return MadeUp(feeds=feeds, data="representative" if known else "random")


def _make(item: Mapping[str, Any], within: _Range, random: np.random.Generator) -> npt.NDArray[Any]:
    shape, dtype = _shape(item), str(item["dtype"])
    if dtype == "string":
        return np.full(shape, "text")
    if dtype == "bool":
        return np.asarray(random.integers(0, 2, shape), dtype=bool)
    if dtype.startswith("float"):
        return np.asarray(within.low + (within.high - within.low) * random.random(shape), dtype=dtype)
    if dtype.startswith(("int", "uint")) and dtype not in {"int4", "uint4", "int2", "uint2"}:
        return np.asarray(random.integers(int(within.low), int(within.high) + 1, shape), dtype=dtype)
    raise UserInputError(
        f"The model's input {item['name']!r} is a {dtype}, which cannot be made up.",
        code="dataset_required",
        fix="Give a data set with real samples.",
        field="dataset",
    )


def _shape(item: Mapping[str, Any]) -> tuple[int, ...]:
    axes: Sequence[int | str | None] = item["shape"] or ()
    rank = len(axes)
    waveform = rank == 2 and str(item["dtype"]).startswith("float")
    free = PICTURE_SIZE if rank == 4 else WAVEFORM_LENGTH if waveform else SEQUENCE_LENGTH
    return tuple(axis if isinstance(axis, int) else (1 if place == 0 else free) for place, axis in enumerate(axes))


def _range(model: onnx.ModelProto, item: Mapping[str, Any]) -> _Range:
    """Return what range an input has, from the file where it tells."""
    name, dtype = str(item["name"]), str(item["dtype"])
    if dtype.startswith(("int", "uint")):
        if "mask" in name.lower():
            return _Range(low=1, high=1, known=True)
        rows = _table_rows(model, name)
        return _Range(low=0, high=1 if rows is None else rows - 1, known=rows is not None)
    quantized = _quantized_range(model, name)
    if quantized is not None:
        return quantized
    picture = len(item["shape"] or ()) == 4
    return _Range(low=0.0 if picture else -1.0, high=1.0, known=dtype in {"bool", "string"})


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        tensor = constant_value(node)
        if tensor is not None:
            found[node.output[0]] = tensor
    return found


def _table_rows(model: onnx.ModelProto, name: str) -> int | None:
    """Return how many rows the smallest table has that an input picks from."""
    constants = _constants(model)
    widened = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type in PASSES_INDICES_ON}
    names = {name}
    rows: list[int] = []
    for node in model.graph.node:
        if node.op_type in PASSES_INDICES_ON and node.input[0] in names:
            names.add(node.output[0])
        elif node.op_type == "Gather" and len(node.input) > 1 and node.input[1] in names:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            table = constants.get(node.input[0]) or constants.get(widened.get(node.input[0], ""))
            if table is not None and len(table.dims) > axis:
                rows.append(table.dims[axis])
    return min(rows, default=None)


def _quantized_range(model: onnx.ModelProto, name: str) -> _Range | None:
    """Return the range that the scale and zero point of an input's QuantizeLinear can express."""
    constants = _constants(model)
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] != name or len(node.input) < 3:
            continue
        scale, zero = constants.get(node.input[1]), constants.get(node.input[2])
        if scale is None or zero is None or list(scale.dims) not in ([], [1]):
            continue
        point = numpy_helper.to_array(zero).reshape(-1)[0]
        limits = np.iinfo(point.dtype)
        step = float(numpy_helper.to_array(scale).reshape(-1)[0])
        return _Range(low=(limits.min - int(point)) * step, high=(limits.max - int(point)) * step, known=True)
    return None
