"""Which layers lose most when their activations become integers: each alone is rounded, and the answers are compared."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edge_ai.engine.evaluate.distance import MAX_SQNR_DB
from edge_ai.engine.formats.onnx import opset_of, read_model, write_model
from edge_ai.engine.measure.session import explained, open_session
from edge_ai.engine.quantize.static import CORE_OPERATORS
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format

SAMPLES: Final = 2
#: Only the first sample is sure to be used; further ones take at most this long, in seconds.
MAX_SECONDS: Final = 10.0
#: With more layers than this, neighbours are judged together, which bounds how often the network runs.
MOST_GROUPS: Final = 64
LEVELS: Final = 255
FIRST_OPSET_WITH_QUANTIZE: Final = 10
SWITCHES: Final = "::switches"

Array = npt.NDArray[Any]
Ranges = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """A layer, and what becomes of the answers when it alone reads and answers 8-bit integers.

    Parameters
    ----------
    sqnr_db
        Of the answer that suffers most.
    noise
        For each answer, the power of the error in proportion to that of the signal.
    """

    name: str
    operator: str
    sqnr_db: float
    noise: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it for the result."""
        return {"layer": self.name, "operator": self.operator, "sqnr_db": round(self.sqnr_db, 2)}


def screen_layers(prepared: Path, feeds: Sequence[Feed], ranges: Ranges) -> list[LayerLoss]:
    """Return the layers that hold weights, those that cost the answers most first.

    Each layer's activations can be switched between float and rounded in one and the same graph, so that it is loaded once and
    run once for each layer.

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
    if not layers or not feeds or (opset_of(model) or 0) < FIRST_OPSET_WITH_QUANTIZE:
        return []
    size = math.ceil(len(layers) / MOST_GROUPS)
    groups = [layers[begin : begin + size] for begin in range(0, len(layers), size)]
    group_of = {node.name: place for place, group in enumerate(groups) for node in group}
    operators = {node.name: node.op_type for node in layers}
    _add_switches(model, group_of, ranges)
    noise = _noise(model, len(groups), feeds, prepared.parent)
    found = [
        LayerLoss(name=name, operator=operators[name], sqnr_db=_decibels(max(noise[group])), noise=noise[group])
        for name, group in group_of.items()
    ]
    return sorted(found, key=lambda layer: layer.sqnr_db)


def layers_to_spare(worst: Sequence[LayerLoss], goal_db: float) -> int:
    """Return how many of the worst layers to keep in float so that the answers may be as close as a goal.

    The errors of layers are taken to be independent, so that their powers add up; in truth it takes a few more.
    """
    rest = np.zeros(len(worst[0].noise)) if worst else np.zeros(1)
    for count in range(len(worst), 0, -1):
        rest = rest + np.array(worst[count - 1].noise)
        if _decibels(float(rest.max())) < goal_db:
            return count
    return 0


def _add_switches(model: onnx.ModelProto, group_of: Mapping[str, int], ranges: Ranges) -> None:
    """Let each layer's activations be rounded or not, as an input of the graph says, in place."""
    graph = model.graph
    count = max(group_of.values()) + 1
    graph.input.append(helper.make_tensor_value_info(SWITCHES, onnx.TensorProto.BOOL, [count]))
    nodes: list[onnx.NodeProto] = []
    for group in range(count):
        graph.initializer.append(numpy_helper.from_array(np.array(group, np.int64), f"{SWITCHES}{group}"))
        nodes.append(helper.make_node("Gather", [SWITCHES, f"{SWITCHES}{group}"], [f"{SWITCHES}{group}::on"], axis=0))
    for original in graph.node:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        group_number = group_of.get(node.name)
        if group_number is None:
            nodes.append(node)
            continue
        switch = f"{SWITCHES}{group_number}::on"
        for place, name in enumerate(node.input):
            if name in ranges:
                node.input[place] = f"{name}::into::{node.name}{place}"
                nodes.append(_switched(name, node.input[place], switch, ranges[name]))
        nodes.append(node)
        name = node.output[0]
        if name in ranges:
            node.output[0] = f"{name}::exact"
            nodes.append(_switched(node.output[0], name, switch, ranges[name]))
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]


def _switched(source: str, target: str, switch: str, limits: tuple[float, float]) -> onnx.NodeProto:
    """Return a node that rounds an activation to 8 bits, or passes it on as it is."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    step = (high - low) / LEVELS or 1.0
    scale = numpy_helper.from_array(np.array(step, np.float32), f"{target}::scale")
    zero = numpy_helper.from_array(np.array(round(-low / step), np.uint8), f"{target}::zero")
    answers = [helper.make_tensor_value_info(f"{target}::{way}", onnx.TensorProto.FLOAT, None) for way in ("in", "out")]
    rounding = [
        helper.make_node("QuantizeLinear", [source, scale.name, zero.name], [f"{target}::integers"]),
        helper.make_node("DequantizeLinear", [f"{target}::integers", scale.name, zero.name], [answers[0].name]),
    ]
    passing = [helper.make_node("Identity", [source], [answers[1].name])]
    return helper.make_node(
        "If",
        [switch],
        [target],
        then_branch=helper.make_graph(rounding, "rounded", [], answers[:1], [scale, zero]),
        else_branch=helper.make_graph(passing, "exact", [], answers[1:]),
    )


def _noise(model: onnx.ModelProto, groups: int, feeds: Sequence[Feed], folder: Path) -> list[tuple[float, ...]]:
    """Return for each group of layers the noise in each answer, as a share of the signal's power."""
    path = folder / "layers.onnx"
    write_model(model, path)
    try:
        session = open_session(path, Format.ONNX, threads=0)
    finally:
        path.unlink()
    floats = [item.name for item in session.get_outputs() if item.type == "tensor(float)"]
    signal = np.zeros(len(floats) or 1)
    noise = np.zeros((groups, len(floats) or 1))
    end_s = time.monotonic() + MAX_SECONDS
    for number, feed in enumerate(feeds[:SAMPLES]):
        if not floats or (number > 0 and time.monotonic() > end_s):
            break
        with explained("run", {"model_path": "", "input": "dataset"}):
            exact = session.run(floats, dict(feed) | {SWITCHES: np.zeros(groups, bool)})
            signal += [_power(answer) for answer in exact]
            for group in range(groups):
                made = session.run(floats, dict(feed) | {SWITCHES: np.arange(groups) == group})
                noise[group] += [_power(x - y) for x, y in zip(exact, made, strict=True)]
    shares = np.where(np.isfinite(noise), noise, np.inf) / np.maximum(signal, 1e-30)
    return [tuple(float(share) for share in row) for row in shares]


def _power(values: Array) -> float:
    wide = values.astype(np.float64)
    return float((wide * wide).sum())


def _decibels(share: float) -> float:
    return MAX_SQNR_DB if share <= 0 else max(-MAX_SQNR_DB, min(MAX_SQNR_DB, -10.0 * math.log10(share)))
