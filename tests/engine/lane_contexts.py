"""What a lane is given, made from a model file, and how close what it makes is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_ai.engine.evaluate.pairing import pair, translate
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.runtime import open_model
from edge_ai.engine.runtime.base import Array, Feed
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision
from tests.engine.graphs import Told


def lane_context(
    model: Path,
    format: Format,
    precision: Precision,
    workdir: Path,
    *,
    feeds: Sequence[Feed] = (),
    **options: Any,
) -> LaneContext:
    """Return the context of a lane; ``feeds`` are for calibration, and the first of them shows sizes."""
    session = open_model(model, format, threads=1, optimize=False)
    workdir.mkdir(exist_ok=True)
    return LaneContext(
        model=model,
        format=format,
        inputs=tuple(session.inputs),
        outputs=tuple(session.outputs),
        precision=precision,
        level=OptimizationLevel.BALANCED,
        options=OptimizeOptions.read(options),
        calibration=feeds,
        sample=feeds[0] if feeds else None,
        workdir=workdir,
        progress=Told(),
    )


def normal_feeds(name: str, *shape: int, count: int = 8, seed: int = 3) -> list[dict[str, Array]]:
    """Return feeds of one input of normal numbers."""
    random = np.random.default_rng(seed)
    return [{name: random.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def closeness_db(source: Path, format: Format, made: Path, target: Format, feeds: Sequence[Feed]) -> float:
    """Return the signal-to-noise ratio of what was made, in dB, over all feeds and outputs."""
    before, after = open_model(source, format, threads=1), open_model(made, target, threads=1)
    names, found = pair(before.inputs, after.inputs), pair(before.outputs, after.outputs)
    order = [tensor.name for tensor in after.outputs]
    places = [order.index(found[tensor.name]) for tensor in before.outputs]
    signal = noise = 0.0
    for feed in feeds:
        raw = after.run(translate(feed, names, before.inputs, after.inputs))
        for answer, place in zip(before.run(feed), places, strict=True):
            known = answer.astype(np.float64)
            signal += float(np.sum(known**2))
            noise += float(np.sum((known - raw[place].reshape(known.shape)) ** 2))
    return float(10 * np.log10(signal / max(noise, 1e-30)))
