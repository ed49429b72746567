"""How far the values within two ONNX networks lie apart: both run with what they compute on the way as further outputs.

Nothing is fused while they run, so that a tap changes nothing: QuantizeLinear and DequantizeLinear round as they are written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

from edge_ai.engine.doctor.onnx_graph import Graph, Layer
from edge_ai.engine.evaluate.distance import OutputParity, compare_output
from edge_ai.engine.formats.onnx import write_model
from edge_ai.engine.runtime.base import Array, Feed
from edge_ai.engine.runtime.onnx import open_session
from edge_ai.engine.spec import Format

SAMPLES: Final = 8
#: How long all samples may take, and when to stop even with layers that had none.
MAX_SECONDS: Final = 20.0
MOST_SECONDS: Final = 120.0
#: What the values of one run may take in memory; layers beyond it are looked at in another run.
MAX_BYTES: Final = 256 << 20
#: How many tensors are tapped at a time.
AT_ONCE: Final = 48


@dataclass(frozen=True, kw_only=True)
class Tap:
    """What a layer of the baseline answers, and where the variant has the same; either may be ``None``."""

    layer: Layer
    baseline: str
    variant: str | None


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """How far a layer's values lie apart when both networks are fed the same, errors of earlier layers included.

    Parameters
    ----------
    sqnr_db, cosine
        ``None`` where the values cannot be compared.
    outside
        The share of the baseline's values that the variant's integers cannot hold; ``None`` where it has none.
    used
        The part of the integers' range that 99.8 % of the baseline's values take.
    finite
        The variant's values are all numbers.
    """

    sqnr_db: float | None
    cosine: float | None
    finite: bool = True
    outside: float | None = None
    used: float | None = None


def pair_tensors(baseline: Graph, variant: Graph) -> list[Tap]:
    """Find for each layer of the baseline the tensor of the variant that should hold the same, by name.

    Of a layer with what is folded into it, the last tensor that the variant still has is taken: quantizers fold
    normalizations and activations away.
    """
    taps = []
    for layer in baseline.layers:
        found = next(((name, at) for name in layer.tensors[::-1] if (at := variant.flowing(name)) is not None), None)
        taps.append(
            Tap(layer=layer, baseline=layer.tensors[-1], variant=None)
            if found is None
            else Tap(layer=layer, baseline=found[0], variant=found[1])
        )
    return taps


def measure_errors(
    baseline: Graph, variant: Graph, taps: Sequence[Tap], feeds: Sequence[tuple[Feed, Feed]], folder: Path
) -> dict[str, LayerError]:
    """Run both on a few samples and compare layer by layer.

    Parameters
    ----------
    feeds
        What the baseline and what the variant is fed; a few are used.
    folder
        A writable folder.

    Returns
    -------
    dict
        By the layers' names, those that could be compared.
    """
    wanted = [tap for tap in taps if tap.variant is not None]
    found: dict[str, LayerError] = {}
    begin_s = time.monotonic()
    for begin in range(0, len(wanted), AT_ONCE):
        if time.monotonic() > begin_s + MOST_SECONDS:
            break
        # Each part has its share of the time, and one sample in any case.
        end_s = begin_s + MAX_SECONDS * min(1.0, (begin + AT_ONCE) / len(wanted))
        part = wanted[begin : begin + AT_ONCE]
        ours = _Tapped(baseline, [tap.baseline for tap in part], folder / "baseline-taps.onnx")
        theirs = _Tapped(variant, [str(tap.variant) for tap in part], folder / "variant-taps.onnx")
        pairs: dict[str, list[tuple[Array, Array]]] = {tap.layer.name: [] for tap in part}
        held_bytes = 0
        for number, (ours_fed, theirs_fed) in enumerate(feeds[:SAMPLES]):
            if number > 0 and (held_bytes > MAX_BYTES or time.monotonic() > end_s):
                break
            exact, made = ours.run(ours_fed), theirs.run(theirs_fed)
            for tap in part:
                x, y = exact.get(tap.baseline), made.get(str(tap.variant))
                if x is not None and y is not None and x.dtype.kind == "f" and y.dtype.kind == "f" and x.size:
                    held_bytes += x.nbytes + y.nbytes
                    pairs[tap.layer.name].append((x, y))
        for tap in part:
            if pairs[tap.layer.name]:
                found[tap.layer.name] = _error(tap, pairs[tap.layer.name], variant)
    return found


class _Tapped:
    """A network that answers tensors within it."""

    def __init__(self, graph: Graph, tensors: Sequence[str], path: Path) -> None:
        model = onnx.ModelProto.FromString(graph.model.SerializeToString())
        known = {value.name for value in model.graph.output}
        # Without a type: onnxruntime infers it, whatever it is.
        model.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(tensors) if name not in known
        )
        write_model(model, path)
        try:
            self._session = open_session(path, Format.ONNX, threads=0, optimize=False)
        finally:
            path.unlink()
        self._tensors = list(dict.fromkeys(tensors))

    def run(self, feed: Feed) -> Mapping[str, Any]:
        """Return the tensors for a feed."""
        return dict(zip(self._tensors, self._session.raw.run(self._tensors, dict(feed)), strict=True))


def _error(tap: Tap, pairs: Sequence[tuple[Array, Array]], variant: Graph) -> LayerError:
    compared: OutputParity = compare_output(tap.layer.name, pairs)
    outside, used = _fit(tap, pairs, variant)
    return LayerError(
        sqnr_db=compared.sqnr_db, cosine=compared.cosine, finite=compared.finite, outside=outside, used=used
    )


def _fit(tap: Tap, pairs: Sequence[tuple[Array, Array]], variant: Graph) -> tuple[float | None, float | None]:
    """Return which share of the values the integers cannot hold, and which part of their range most values take."""
    scale = variant.scale_of(str(tap.variant))
    if scale is None or scale.scale.size != 1:
        return None, None
    low, high = scale.range
    values = np.concatenate([x.ravel() for x, _ in pairs])
    # Activations that are folded into the rounding lose what lies below zero on purpose.
    step = float(scale.scale.flat[0])
    outside = float(np.mean((values < low - step) | (values > high + step)))
    few, many = np.quantile(values, [0.001, 0.999])
    return outside, float((max(many, 0.0) - min(few, 0.0)) / (high - low or 1.0))
