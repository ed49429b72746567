"""Why a variant answers something else: the layers that lose most, and what about their integers makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from onnx import numpy_helper

from edge_ai.engine.doctor.findings import Finding, Remedy
from edge_ai.engine.doctor.onnx_graph import DEQUANTIZE, Graph
from edge_ai.engine.doctor.taps import LayerError, Tap
from edge_ai.engine.evaluate.distance import MAX_SQNR_DB
from edge_ai.engine.evaluate.parity import Parity
from edge_ai.engine.quantize.sensitivity import LayerLoss, layers_to_spare
from edge_ai.engine.spec import Format, Precision

#: The answers should come as close as this, in dB, when the worst layers stay in float.
GOAL_DB: Final = 20.0
#: By how much a layer answers worse than what it was given, in dB, for the error to be made there.
JUMP_DB: Final = 10.0
#: A layer that costs the answers so little, in dB, is not a cause.
HARMLESS_DB: Final = 25.0
#: Above this share of the layers no few are to blame, and keeping them all in float is no remedy.
MOST_SPARED: Final = 0.4
#: The share of values beyond what integers hold from which on a range is too narrow.
CLIPPED: Final = 0.005
#: The part of the integers' range from which on downwards a range is too wide: less than 5 of 8 bits tell anything.
WASTED: Final = 0.1
#: By how much the channels of a weight may differ for one scale to do.
CHANNEL_SPREAD: Final = 8.0
_NAMED: Final = 8


@dataclass(frozen=True, kw_only=True)
class WrongCase:
    """A variant that answers something else, and what is known of it.

    Parameters
    ----------
    target
        The variant's format, in which a remedy is made.
    fault
        What the parity gate says of it.
    errors
        By layers of the baseline.
    losses
        What each layer alone costs the answers, the worst first.
    nameable
        Names of layers that the baseline's own file has; others cannot be kept in float by name.
    """

    target: Format
    precision: Precision
    parity: Parity
    fault: str
    taps: Sequence[Tap] = ()
    errors: Mapping[str, LayerError] = field(default_factory=dict)
    losses: Sequence[LayerLoss] = ()
    baseline: Graph | None = None
    variant: Graph | None = None
    nameable: frozenset[str] = frozenset()


def causes(case: WrongCase) -> list[Finding]:
    """Return everything that explains a part of the error; that the answers differ is told in any case."""
    found = [finding for look in _LOOKS if (finding := look(case)) is not None]
    return [*found, _differs(case, alone=not found)]


def _differs(case: WrongCase, *, alone: bool) -> Finding:
    worst = sorted(case.parity.outputs, key=lambda one: one.sqnr_db if one.sqnr_db is not None else 0.0)
    metric = case.parity.metric
    return Finding(
        code="outputs_differ",
        title=f"The answers differ: {case.fault}",
        evidence={
            "sqnr_db": _rounded(case.parity.sqnr_db),
            "top1_agreement": case.parity.top1_agreement,
            "samples": case.parity.samples,
            "data": case.parity.data,
            "metric": None
            if metric is None
            else {"name": metric.name, "baseline": metric.reference, "variant": metric.variant, "drop": metric.drop},
            "outputs": [{"name": one.name, "sqnr_db": _rounded(one.sqnr_db)} for one in worst[:_NAMED]],
        },
        fix="Choose fp16, which stays close to the baseline at half its size."
        if case.precision is not Precision.FP16
        else "Keep the baseline in fp32.",
        weight=0.5 if alone else 0.1,
        remedy=Remedy(
            target_format=case.target,
            precision=Precision.FP32 if case.precision is Precision.FP16 else Precision.FP16,
        ),
    )


def _not_finite(case: WrongCase) -> Finding | None:
    broken = [tap for tap in case.taps if (error := case.errors.get(tap.layer.name)) is not None and not error.finite]
    if not broken:
        return None
    first = broken[0].layer
    return Finding(
        code="not_finite",
        title=f"From {first.name} ({first.type}) on the variant's values are infinite or no numbers: they are larger than its "
        "type can hold.",
        evidence={"first": first.name, "type": first.type, "layers": len(broken)},
        fix="Store the weights in fp16 and compute in float32, which cannot overflow.",
        weight=1.0,
        remedy=Remedy(target_format=case.target, precision=Precision.FP16, options={"fp16_mode": "weights"})
        if case.target is Format.ONNX
        else Remedy(target_format=case.target, precision=Precision.FP32),
    )


def _few_layers(case: WrongCase) -> Finding | None:
    """A few layers without which the rest would be close."""
    if not case.losses or case.losses[0].sqnr_db >= HARMLESS_DB:
        return None
    count = max(1, layers_to_spare(case.losses, GOAL_DB))
    if count > max(1, MOST_SPARED * len(case.losses)):
        return None
    worst = case.losses[:count]
    names = [layer.name for layer in worst]
    nameable = [name for name in names if name in case.nameable]
    told = ", ".join(f"{one.name} ({one.operator}, {one.sqnr_db:.1f} dB)" for one in worst[:3])
    return Finding(
        code="few_layers",
        title=f"{count} of {len(case.losses)} layers cost most of the accuracy: {told}.",
        evidence={
            "layers": [
                {
                    "name": one.name,
                    "type": one.operator,
                    "alone_sqnr_db": _rounded(one.sqnr_db),
                    "sqnr_db": _rounded(case.errors[one.name].sqnr_db) if one.name in case.errors else None,
                }
                for one in worst[:_NAMED]
            ],
            "count": count,
            "of": len(case.losses),
        },
        fix="Keep these layers in float and quantize the others again.",
        weight=0.6,
        remedy=Remedy(
            target_format=case.target,
            precision=Precision.INT8,
            options={"exclude_layers": nameable} if nameable and case.target is Format.ONNX else {},
            calibrated=True,
        ),
    )


def _jumps(case: WrongCase) -> Finding | None:
    """Layers that answer far worse than what they were given: the error is made there, whatever makes it."""
    if case.baseline is None:
        return None
    known = {
        tensor: (tap.layer.name, error.sqnr_db)
        for tap in case.taps
        if (error := case.errors.get(tap.layer.name)) is not None and error.sqnr_db is not None
        for tensor in tap.layer.tensors
    }
    nodes = {node.name: node for node in case.baseline.nodes}
    found: list[tuple[str, str, float, float]] = []
    for tap in case.taps:
        error = case.errors.get(tap.layer.name)
        if error is None or error.sqnr_db is None or error.sqnr_db >= GOAL_DB:
            continue
        given = [known[name][1] for name in nodes[tap.layer.name].input if name in known]
        # What reads the network's own inputs is given what is exact.
        before_db = min(given, default=MAX_SQNR_DB)
        if before_db - error.sqnr_db >= JUMP_DB:
            found.append((tap.layer.name, tap.layer.type, before_db, error.sqnr_db))
    if not found or len(found) > max(1, MOST_SPARED * len(case.taps)):
        return None
    found.sort(key=lambda one: one[3] - one[2])
    name, kind, before_db, after_db = found[0]
    told = "exact" if before_db >= MAX_SQNR_DB else f"{before_db:.1f} dB"
    nameable = [one[0] for one in found if one[0] in case.nameable]
    return Finding(
        code="error_jumps",
        title=f"Most of the error is made in {len(found)} of {len(case.taps)} layers: {name} ({kind}) is given values at "
        f"{told} and answers at {after_db:.1f} dB.",
        evidence={
            "layers": [
                {"name": one, "type": type_, "given_sqnr_db": _rounded(before), "sqnr_db": _rounded(after)}
                for one, type_, before, after in found[:_NAMED]
            ],
            "count": len(found),
            "of": len(case.taps),
        },
        fix="Keep these layers in float and quantize the others again: their weights, or what they answer, do not bear the "
        "integers that were chosen.",
        weight=0.5,
        remedy=Remedy(
            target_format=case.target,
            precision=Precision.INT8,
            options={"exclude_layers": nameable} if nameable and case.target is Format.ONNX else {},
            calibrated=True,
        ),
    )


def _clipped(case: WrongCase) -> Finding | None:
    layers = _with(case, lambda error: error.outside is not None and error.outside > CLIPPED)
    if not layers:
        return None
    layers.sort(key=lambda one: -float(one[1].outside or 0.0))
    most = float(layers[0][1].outside or 0.0)
    return Finding(
        code="clipped_activations",
        title=f"The integers of {len(layers)} layers are too narrow: up to {most:.1%} of their values are cut off "
        f"({layers[0][0].layer.name}).",
        evidence={
            "layers": [
                {"name": tap.layer.name, "cut_off": _rounded(error.outside, 4)} for tap, error in layers[:_NAMED]
            ],
            "count": len(layers),
        },
        fix="Calibrate on samples like the ones that it will see, with the whole range of their activations (minmax).",
        weight=min(0.9, 0.3 + 5 * most),
        remedy=Remedy(
            target_format=case.target,
            precision=Precision.INT8,
            options={"calibration_method": "minmax"},
            calibrated=True,
        ),
    )


def _wasted(case: WrongCase) -> Finding | None:
    layers = _with(case, lambda error: error.used is not None and error.used < WASTED)
    if not layers:
        return None
    layers.sort(key=lambda one: float(one[1].used or 0.0))
    least = float(layers[0][1].used or 0.0)
    return Finding(
        code="wasted_range",
        title=f"The integers of {len(layers)} layers are spread over far more than their values: in {layers[0][0].layer.name} "
        f"nearly all values share {least:.1%} of the range.",
        evidence={
            "layers": [{"name": tap.layer.name, "used": _rounded(error.used, 4)} for tap, error in layers[:_NAMED]],
            "count": len(layers),
        },
        fix="Let single outliers go: calibrate by percentile.",
        weight=min(0.8, 0.3 + 0.1 * len(layers) + (WASTED - least)),
        remedy=Remedy(
            target_format=case.target,
            precision=Precision.INT8,
            options={"calibration_method": "percentile"},
            calibrated=True,
        ),
    )


def _one_scale(case: WrongCase) -> Finding | None:
    """Weights with one scale for channels that differ by far."""
    if case.variant is None:
        return None
    found: list[tuple[str, float]] = []
    for node in case.variant.nodes:
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm", "MatMul"} or len(node.input) < 2:
            continue
        maker = case.variant.producer.get(node.input[1])
        scale = case.variant.scale_of(node.input[1])
        if maker is None or scale is None or scale.scale.size != 1 or maker.op_type not in DEQUANTIZE:
            continue
        stored = case.variant.stored.get(maker.input[0])
        if stored is None or len(stored.dims) < 2:
            continue
        values = np.abs(numpy_helper.to_array(stored).astype(np.float64) - float(scale.zero_point.flat[0]))
        axis = _channel_axis(node)
        rest = tuple(place for place in range(values.ndim) if place != axis % values.ndim)
        largest = values.max(axis=rest)
        # A channel of zeros loses nothing.
        typical = float(np.median(largest[largest > 0])) if (largest > 0).any() else 0.0
        if typical and float(largest.max()) / typical >= CHANNEL_SPREAD:
            found.append((node.name, float(largest.max()) / typical))
    if not found:
        return None
    found.sort(key=lambda one: -one[1])
    return Finding(
        code="one_scale_for_all_channels",
        title=f"{len(found)} weights have one scale for all channels, though these differ by up to {found[0][1]:.0f} times "
        f"({found[0][0]}): most channels are left with a few levels.",
        evidence={
            "layers": [{"name": name, "channel_spread": round(spread, 2)} for name, spread in found[:_NAMED]],
            "count": len(found),
        },
        fix="Give each channel a scale of its own (per_channel).",
        weight=min(0.9, 0.4 + 0.02 * found[0][1]),
        remedy=Remedy(
            target_format=case.target, precision=Precision.INT8, options={"per_channel": True}, calibrated=True
        ),
    )


def _final_activation(case: WrongCase) -> Finding | None:
    """A Softmax, or what takes its place, in integers: scores become steps of 1/255."""
    if case.variant is None:
        return None
    found = [
        layer
        for layer in case.variant.layers
        if layer.type in {"Softmax", "LogSoftmax", "Sigmoid"}
        and (layer.in_integers or case.variant.flowing(layer.tensors[-1]) not in layer.tensors)
        and _is_last(case.variant, layer.tensors[-1])
    ]
    if not found:
        return None
    return Finding(
        code="final_activation_in_integers",
        title=f"{found[0].name} ({found[0].type}), which makes the answers, computes in integers: they have 256 values.",
        evidence={"layers": [{"name": layer.name, "type": layer.type} for layer in found]},
        fix="Keep it in float; int8 leaves it there.",
        weight=0.3,
        remedy=Remedy(target_format=case.target, precision=Precision.INT8, calibrated=True),
    )


_LOOKS: Final[Sequence[Callable[[WrongCase], Finding | None]]] = (
    _not_finite,
    _few_layers,
    _jumps,
    _clipped,
    _wasted,
    _one_scale,
    _final_activation,
)


def _with(case: WrongCase, wanted: Callable[[LayerError], bool]) -> list[tuple[Tap, LayerError]]:
    return [
        (tap, error) for tap in case.taps if (error := case.errors.get(tap.layer.name)) is not None and wanted(error)
    ]


def _channel_axis(node: Any) -> int:
    """Return the axis of a weight that counts what it answers."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and any(item.name == "transB" and item.i for item in node.attribute):
        return 0
    return 1 if node.op_type == "ConvTranspose" else -1


def _is_last(graph: Graph, tensor: str) -> bool:
    """Tell whether a tensor is an answer, or becomes one by its rounding alone."""
    return tensor in graph.outputs or graph.flowing(tensor) in graph.outputs


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
