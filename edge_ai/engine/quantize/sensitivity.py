"""Which layers lose most when their activations become integers, told from one run of the float graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from edge_ai.engine.evaluate.distance import MAX_SQNR_DB
from edge_ai.engine.formats.onnx import read_model, write_model
from edge_ai.engine.measure.session import explained, open_session
from edge_ai.engine.quantize.static import CORE_OPERATORS
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format

SAMPLES: Final = 4
LEVELS: Final = 255
LAYERS_AT_ONCE: Final = 40
"""How many layers' activations are held at a time, which bounds memory."""


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """A layer, and how far its input in integers is above its rounding noise, in dB."""

    name: str
    operator: str
    sqnr_db: float

    def to_json(self) -> dict[str, Any]:
        """Return it for the result."""
        return {"layer": self.name, "operator": self.operator, "sqnr_db": round(self.sqnr_db, 2)}


def screen_layers(prepared: Path, feeds: Sequence[Feed], ranges: Mapping[str, tuple[float, float]]) -> list[LayerLoss]:
    """Return the layers that hold weights, those whose input loses most first.

    Parameters
    ----------
    prepared
        The float graph that is quantized.
    feeds
        Samples, of which a few are used.
    ranges
        The calibrated range of each activation: low and high.
    """
    model = read_model(prepared)
    layers = [node for node in model.graph.node if node.op_type in CORE_OPERATORS and node.input[0] in ranges]
    found: list[LayerLoss] = []
    for begin in range(0, len(layers), LAYERS_AT_ONCE):
        some = layers[begin : begin + LAYERS_AT_ONCE]
        closeness = _closeness(model, [node.input[0] for node in some], feeds[:SAMPLES], ranges, prepared.parent)
        found += [
            LayerLoss(name=node.name, operator=node.op_type, sqnr_db=closeness[node.input[0]])
            for node in some
            if node.input[0] in closeness
        ]
    return sorted(found, key=lambda layer: layer.sqnr_db)


def _closeness(
    model: onnx.ModelProto,
    names: Sequence[str],
    feeds: Sequence[Feed],
    ranges: Mapping[str, tuple[float, float]],
    folder: Path,
) -> dict[str, float]:
    """Return the SQNR of each named activation when it is rounded to 8 bits within its range, in dB."""
    given = {value.name for value in model.graph.input}
    inner = [name for name in dict.fromkeys(names) if name not in given]
    path = folder / "layers.onnx"
    _write_with_outputs(model, inner, path)
    session = open_session(path, Format.ONNX, threads=0)
    signal = dict.fromkeys(names, 0.0)
    noise = dict.fromkeys(names, 0.0)
    with explained("run", {"model_path": "", "input": "dataset"}):
        for feed in feeds:
            answers = dict(zip(inner, session.run(inner, dict(feed)) if inner else [], strict=True))
            for name in signal:
                value = answers.get(name, feed.get(name))
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    wide = value.astype(np.float64)
                    signal[name] += float((wide * wide).sum())
                    noise[name] += float(((wide - _rounded(wide, *ranges[name])) ** 2).sum())
    path.unlink()
    return {name: _sqnr_db(signal[name], noise[name]) for name in signal if signal[name] > 0}


def _rounded(value: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / LEVELS or 1.0
    zero = round(-low / step)
    rounded: npt.NDArray[np.float64] = (np.clip(np.rint(value / step) + zero, 0, LEVELS) - zero) * step
    return rounded


def _sqnr_db(signal: float, noise: float) -> float:
    return MAX_SQNR_DB if noise == 0 else 10.0 * math.log10(signal / noise)


def _write_with_outputs(model: onnx.ModelProto, names: Sequence[str], path: Path) -> None:
    """Write a copy of a graph whose outputs are the named activations."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    types = {value.name: value for value in (*copy.graph.value_info, *copy.graph.output)}
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in copy.graph.output]
    del copy.graph.output[:]
    for name in names:
        value = onnx.ValueInfoProto()
        if name in types:
            value.CopyFrom(types[name])
        else:
            value.name = name
        copy.graph.output.append(value)
    if not names:
        copy.graph.output.extend(kept)
    write_model(copy, path)
