"""The ranges of an ONNX graph's activations, measured on samples: their extremes, or what covers most of their values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edge_ai.engine.formats.onnx import read_model, write_model
from edge_ai.engine.measure.session import explained, open_session
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.spec import Format

BINS: Final = 2048
LEVELS: Final = 128
"""Half of what 8 bits hold: how many steps the positive side of a symmetric range has."""

MOST_VALUES: Final = 1 << 16
"""How many values of an activation are looked at in one sample, evenly spread."""

LOW, HIGH = "::low", "::high"

Limits = dict[str, tuple[float, float]]
Counts = npt.NDArray[np.int64]


def activations_of(model: onnx.ModelProto, operators: Iterable[str]) -> list[str]:
    """Return the float activations that some operators of the main graph read or write."""
    wanted = set(operators)
    stored = {tensor.name for tensor in model.graph.initializer}
    typed = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    floats = {value.name for value in typed if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    names = (
        name for node in model.graph.node if node.op_type in wanted for name in (*node.input, *node.output) if name
    )
    return [name for name in dict.fromkeys(names) if name in floats and name not in stored]


def extremes(source: Path, names: Sequence[str], feeds: Sequence[Feed], workdir: Path) -> Limits:
    """Return the least and the largest value of each activation, found by the graph itself as it runs.

    Activations that are ever infinite, or not a number, are left out.
    """
    model = read_model(source)
    outputs = []
    for name in names:
        for kind, end in (("ReduceMin", LOW), ("ReduceMax", HIGH)):
            model.graph.node.append(helper.make_node(kind, [name], [name + end], name=name + end, keepdims=0))
            outputs.append(helper.make_tensor_value_info(name + end, onnx.TensorProto.FLOAT, []))
    found: Limits = {}
    for answers in _run(model, outputs, feeds, workdir):
        for name in names:
            low, high = float(answers[name + LOW]), float(answers[name + HIGH])
            if name in found:
                low, high = min(low, found[name][0]), max(high, found[name][1])
            found[name] = low, high
    return {name: limits for name, limits in found.items() if all(map(math.isfinite, limits))}


def histograms(source: Path, limits: Limits, feeds: Sequence[Feed], workdir: Path) -> dict[str, Counts]:
    """Return how many values of each activation lie in each of equal parts of its range, int64 [BINS]."""
    model = read_model(source)
    given = {value.name for value in model.graph.input}
    counts = {name: np.zeros(BINS, np.int64) for name in limits}
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in limits.keys() - given]
    for answers in _run(model, sorted(outputs, key=lambda value: value.name), feeds, workdir):
        for name, (low, high) in limits.items():
            values = np.ravel(answers[name])
            values = values[:: math.ceil(values.size / MOST_VALUES) | 1] if values.size > MOST_VALUES else values
            if high > low and values.size:
                places = ((values - np.float32(low)) * np.float32(BINS / (high - low))).astype(np.int32)
                counts[name] += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)
    return counts


def percentiles(limits: Limits, counts: Mapping[str, Counts], percentile: float) -> Limits:
    """Return the ranges that leave out equally many of the least and of the largest values.

    Parameters
    ----------
    percentile
        Which share of the values is covered, in percent.
    """
    cut = (100.0 - percentile) / 200.0
    found: Limits = {}
    for name, (low, high) in limits.items():
        total = int(counts[name].sum())
        if total == 0 or cut == 0.0:
            found[name] = low, high
            continue
        shares = np.cumsum(counts[name]) / total
        step = (high - low) / BINS
        first = int(np.searchsorted(shares, cut, side="right"))
        last = int(np.searchsorted(shares, 1.0 - cut, side="left"))
        found[name] = low + first * step, low + (min(last, BINS - 1) + 1) * step
    return found


def least_entropy(limits: Limits, counts: Mapping[str, Counts]) -> Limits:
    """Return the ranges, symmetric but for what lies outside the extremes, that lose least information in 8 bits."""
    found: Limits = {}
    for name, (low, high) in limits.items():
        widest = max(abs(low), abs(high))
        if widest == 0.0 or not counts[name].any():
            found[name] = low, high
            continue
        middles = np.abs(low + (np.arange(BINS) + 0.5) * (high - low) / BINS)
        places = np.minimum((middles / widest * BINS).astype(int), BINS - 1)
        folded = np.bincount(places, weights=counts[name], minlength=BINS).astype(float)
        threshold = _best_cut(folded) / BINS * widest
        found[name] = max(low, -threshold), min(high, threshold)
    return found


def _best_cut(counts: npt.NDArray[np.float64]) -> int:
    """Return after how many parts of a histogram of magnitudes to cut, by the least Kullback-Leibler divergence."""
    beyond = counts.sum() - np.cumsum(counts)
    best, least = BINS, math.inf
    for end in range(LEVELS, BINS + 1, 16):
        kept = counts[:end].copy()
        kept[-1] += beyond[end - 1]
        starts = np.arange(LEVELS) * end // LEVELS
        filled = np.add.reduceat((counts[:end] > 0).astype(float), starts)
        sums = np.add.reduceat(counts[:end], starts)
        level = np.searchsorted(starts, np.arange(end), side="right") - 1
        coarse = np.where(counts[:end] > 0, (sums / np.maximum(filled, 1.0))[level], 0.0)
        used = (kept > 0) & (coarse > 0)
        if not used.any():
            continue
        p, q = kept[used] / kept.sum(), coarse[used] / coarse.sum()
        # What the coarse form has no room for counts as if it were spread thinly.
        lost = float(kept[~used].sum() / kept.sum())
        divergence = float((p * np.log(p / q)).sum()) + lost * 10.0
        if divergence < least:
            best, least = end, divergence
    return best


def _run(
    model: onnx.ModelProto, outputs: Sequence[onnx.ValueInfoProto], feeds: Sequence[Feed], workdir: Path
) -> Iterable[Mapping[str, Any]]:
    """Run a graph for other outputs than its own; yields what it answers, with what it was fed."""
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    if not outputs:
        yield from feeds
        return
    path = workdir / "calibrate.onnx"
    write_model(model, path)
    try:
        session = open_session(path, Format.ONNX, threads=0)
        names = [value.name for value in outputs]
        for feed in feeds:
            with explained("run", {"model_path": "", "input": "dataset"}):
                answers = session.run(names, dict(feed))
            yield dict(feed) | dict(zip(names, answers, strict=True))
    finally:
        path.unlink(missing_ok=True)
