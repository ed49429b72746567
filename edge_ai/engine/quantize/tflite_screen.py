"""Which layers of a TensorFlow Lite network lose most in integers: each is quantized alone, and the answers compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError
from edge_ai.engine.formats.tflite_analysis import operator_name
from edge_ai.engine.formats.tflite_file import read_file
from edge_ai.engine.runtime.base import Array, Feed
from edge_ai.engine.runtime.litert import open_session
from edge_ai.engine.spec import Format

MAX_SECONDS: Final = 15.0
#: What is told for a layer whose loss is too small to be seen, in dB.
MOST_DB: Final = 200.0


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """What the network loses when one layer alone is quantized.

    Parameters
    ----------
    layer
        The name of what it answers.
    operator
        Its kind.
    sqnr_db
        Of the network's answers, the worst of them; in dB.
    """

    layer: str
    operator: str
    sqnr_db: float

    def to_json(self) -> dict[str, Any]:
        """Return what the result says of it."""
        return {"layer": self.layer, "operator": self.operator, "sqnr_db": round(self.sqnr_db, 2)}


def layers_of(model: Path, operators: Collection[str]) -> list[tuple[str, str]]:
    """Return the layers with constant weights, as (name of the answer, operator), those with most weights first."""
    graph = read_file(model).subgraphs[0]
    found = []
    for operator in graph.operators:
        size = sum(
            graph.tensors[index].size_bytes
            for index in operator.inputs
            if index >= 0 and graph.tensors[index].data is not None
        )
        if size and operator_name(operator) in operators:
            found.append((size, graph.tensors[operator.outputs[0]].name, operator_name(operator)))
    return [(layer, name) for _, layer, name in sorted(found, key=lambda item: -item[0])]


def screen(
    model: Path,
    layers: Sequence[tuple[str, str]],
    feeds: Sequence[Feed],
    make: Callable[[str, Path], None],
    path: Path,
    *,
    max_seconds: float = MAX_SECONDS,
) -> list[LayerLoss]:
    """Quantize each layer alone.

    Parameters
    ----------
    layers
        As of :func:`layers_of`; what the time does not suffice for is left out.
    make
        Writes the network with one layer quantized.
    path
        Where to.

    Returns
    -------
    list
        The worst first.
    """
    if not layers or not feeds:
        return []
    expected = _answers(model, feeds)
    found = []
    end_s = time.monotonic() + max_seconds
    for layer, operator in layers:
        if time.monotonic() > end_s:
            break
        try:
            make(layer, path)
            answers = _answers(path, feeds)
        except EngineError:
            # What cannot be quantized alone is no candidate.
            continue
        losses = [_sqnr_db(x, y) for x, y in zip(expected, answers, strict=True)]
        found.append(LayerLoss(layer=layer, operator=operator, sqnr_db=min(losses, default=MOST_DB)))
    path.unlink(missing_ok=True)
    return sorted(found, key=lambda item: item.sqnr_db)


def _answers(model: Path, feeds: Sequence[Feed]) -> list[Array]:
    """Return each real output over all samples, flat."""
    session = open_session(model, Format.TFLITE, threads=2)
    rows = [session.run(feed) for feed in feeds]
    columns = [np.concatenate([value.reshape(-1) for value in column]) for column in zip(*rows, strict=True)]
    return [column.astype(np.float64) for column in columns if column.dtype.kind == "f"]


def _sqnr_db(expected: Array, answer: Array) -> float:
    signal, noise = float(np.sum(expected**2)), float(np.sum((expected - answer) ** 2))
    if not np.isfinite(noise):
        return -MOST_DB
    if noise <= signal * 10 ** (-MOST_DB / 10):
        return MOST_DB
    return 10.0 * float(np.log10(max(signal, 1e-30) / noise))
