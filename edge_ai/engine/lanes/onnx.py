"""ONNX variants in every precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_ai.engine.convert.onnx_prepare import (
    DYNAMIC_OPSET,
    STATIC_OPSET,
    drop_unused_domains,
    drop_unused_weights,
    drop_weight_inputs,
    prepare_graph,
)
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import read_graph, read_model, subgraphs, write_model
from edge_ai.engine.lanes.base import LaneContext, require_layers
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize import dynamic, static
from edge_ai.engine.quantize.fp16 import compute_in_fp16, store_weights_as_fp16
from edge_ai.engine.quantize.sensitivity import layers_to_spare, screen_layers
from edge_ai.engine.quantize.trial import Trial
from edge_ai.engine.saturating import products_saturate
from edge_ai.engine.spec import Precision

SUFFIX = ".onnx"
#: How close the answers should come, in dB, when the layers that cost most stay in float, one attempt after the other.
GOALS_DB = (12.0, 20.0, 28.0)
#: A variant this close, in dB, needs no layer kept in float.
CLOSE_DB = 25.0
#: What fp16 usually reaches, in dB.
HALF_DB = 45.0
#: What int8 usually reaches, in dB.
USUAL_DB = 20.0


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield what is worth trying; see :mod:`edge_ai.engine.lanes`.

    Raises
    ------
    EngineError
        ``invalid_request`` for a layer that the model does not have.
    """
    _check_layers(context)
    makers: dict[Precision, Callable[[LaneContext], Iterator[Trial]]] = {
        Precision.FP32: _plain,
        Precision.FP16: _fp16,
        Precision.FP8: _fp8,
        Precision.INT4: _int4,
        Precision.INT8_DYNAMIC: _dynamic,
        Precision.INT8: _weight_only if context.options.weight_only else _static,
    }
    maker = makers.get(context.precision)
    if maker is None:
        raise UnsupportedError(
            f"ONNX files are not made in {context.precision}.",
            code="unsupported_precision",
            fix="Choose int8, int8_dynamic or fp16.",
            details={"nearest": {"target_format": "onnx", "precision": "int8"}},
        )
    yield from maker(context)


def _check_layers(context: LaneContext) -> None:
    """Refuse names of layers that are not there, and say which are like them."""
    if not context.options.exclude_layers:
        return
    nodes = [node for graph in subgraphs(read_graph(context.model)[0].graph) for node in graph.node]
    known = {node.name for node in nodes} | {node.op_type for node in nodes}
    require_layers(context.options.exclude_layers, known)


def _plain(context: LaneContext) -> Iterator[Trial]:
    yield context.trial(0, "float32", {"weights": "float32"}, partial(_write_plain, context.model), suffix=SUFFIX)


def _write_plain(source: Path, target: Path) -> None:
    """Write the graph without what no runtime needs."""
    model = read_model(source)
    drop_weight_inputs(model)
    drop_unused_weights(model)
    drop_unused_domains(model)
    write_model(model, target)


def _fp16(context: LaneContext) -> Iterator[Trial]:
    if context.options.fp16_mode == "full":
        settings = {"mode": "full", "keep_io_float32": context.options.keep_io_float32}
        compute = partial(
            compute_in_fp16,
            context.model,
            keep_io=context.options.keep_io_float32,
            spare=context.options.exclude_layers,
        )
        yield context.trial(0, "fp16 arithmetic", settings, compute, suffix=SUFFIX)
        return

    def make(path: Path, *, spare_wide: bool) -> None:
        done = store_weights_as_fp16(context.model, path, spare_wide=spare_wide, spare=context.options.exclude_layers)
        context.steps.append({"step": "store weights in fp16", "weights": done.halved})
        if done.out_of_range:
            context.cautions.append(
                Caution(
                    code="fp16_out_of_range",
                    detail=f"{done.out_of_range} weights hold numbers beyond 65,504 and stay in float32.",
                    fix="Nothing, unless the file is still too large.",
                )
            )

    first = context.trial(0, "fp16 weights", {"mode": "weights"}, partial(make, spare_wide=False), suffix=SUFFIX)
    yield first
    if first.parity is not None and _closeness(first) < HALF_DB:
        settings = {"mode": "weights", "kept_in_float": "weights with a wide range"}
        name = "fp16 weights, but those with a wide range"
        yield context.trial(1, name, settings, partial(make, spare_wide=True), suffix=SUFFIX)


def _weight_only(context: LaneContext) -> Iterator[Trial]:
    # Needs onnx alone; what it does without is not loaded.
    from edge_ai.engine.quantize.weight_only import store_weights_as_int8

    for place, per_channel in enumerate(_granularities(context)):
        settings = {"weights": f"int8 {_granularity(per_channel)}", "activations": "float32", "other_weights": "fp16"}
        make = partial(
            store_weights_as_int8, context.model, per_channel=per_channel, spare=context.options.exclude_layers
        )
        name = f"int8 weights, a scale {_granularity(per_channel)}"
        yield context.trial(place, name, settings, make, suffix=SUFFIX)


def _fp8(context: LaneContext) -> Iterator[Trial]:
    from edge_ai.engine.quantize.weight_only import store_weights_as_fp8

    for place, per_channel in enumerate(_granularities(context)):
        settings = {
            "weights": f"float8e4m3fn {_granularity(per_channel)}",
            "activations": "float32",
            "other_weights": "fp16",
        }
        make = partial(
            store_weights_as_fp8, context.model, per_channel=per_channel, spare=context.options.exclude_layers
        )
        yield context.trial(place, f"fp8 weights, a scale {_granularity(per_channel)}", settings, make, suffix=SUFFIX)


def _int4(context: LaneContext) -> Iterator[Trial]:
    from edge_ai.engine.quantize.int4 import quantize_to_int4

    prepared = _prepare(context, opset=STATIC_OPSET)
    for place, symmetric in enumerate((False, True)):
        settings = {
            "weights": f"int4, {context.options.block_size} share a scale",
            "symmetric": symmetric,
            "other_weights": "fp16",
        }
        make = partial(
            quantize_to_int4,
            prepared,
            block_size=context.options.block_size,
            symmetric=symmetric,
            spare=context.options.exclude_layers,
        )
        yield context.trial(place, "int4, symmetric" if symmetric else "int4", settings, make, suffix=SUFFIX)


def _dynamic(context: LaneContext) -> Iterator[Trial]:
    prepared = _prepare(context, opset=DYNAMIC_OPSET)
    recipes = [way for way in dynamic.RECIPES if context.options.per_channel in (None, way.per_channel)]
    for place, way in enumerate(recipes):
        settings = {
            "weight_type": "uint8" if way.unsigned_weights else "int8",
            "per_channel": way.per_channel,
            "operators": list(dynamic.OPERATORS),
            "kept_in_float": list(context.options.exclude_layers),
            "other_weights": "fp16",
        }
        make = partial(dynamic.quantize_dynamically, prepared, recipe=way, spare=context.options.exclude_layers)
        made = context.trial(place, way.name, settings, make, suffix=SUFFIX)
        yield made
        if made.failure is not None and made.failure.code == "nothing_to_quantize":
            break
    else:
        return
    # Inside branches, and behind operators that compute weights, no activation can become integers: the weights still can.
    for last in _weight_only(context):
        context.cautions.append(
            Caution(
                code="activations_stay_float",
                detail="No operator of this network can take integer activations here; its weights are stored as int8 and "
                "widened when the model loads.",
                fix="It is smaller, not faster. Export it without control flow to have its activations quantized.",
            )
        )
        yield replace(last, path=context.workdir / f"trial-weights{SUFFIX}")
        return


def _static(context: LaneContext) -> Iterator[Trial]:
    """Plain ways first; where none of them is close, ways that keep the worst layers in float."""
    prepared = _prepare(context, opset=STATIC_OPSET)
    ranges: dict[static.Calibration, Any] = {}
    tried: list[tuple[static.StaticRecipe, Trial]] = []

    def trial(way: static.StaticRecipe) -> Trial:
        made = context.trial(
            len(tried),
            way.name,
            {
                "calibration": way.calibration.value,
                "operators": list(way.operators),
                "activations": "int8, symmetric" if way.symmetric else "uint8",
                "weights": ("int8 per channel" if way.per_channel else "int8")
                + (", 7 bits of it used" if way.reduce_range else ""),
                "kept_in_float": [*way.spared, *context.options.exclude_layers],
                "other_weights": "int8, widened when the model loads" if way.spared else "fp16",
            },
            partial(_make_static, context, prepared, way, ranges, tried),
            suffix=SUFFIX,
        )
        tried.append((way, made))
        return made

    for way in static.recipes(context.options, saturating=products_saturate()):
        context.progress.stage(
            "calibrate", 15 + 5 * min(10, len(tried)), f"{way.name}: {len(context.calibration)} samples"
        )
        yield trial(way)
    if any(_closeness(made) >= CLOSE_DB and made.fair for _, made in tried):
        return
    # Around a layer in float nothing else may be in integers, or the same noise comes in through its neighbours.
    base, best = max(
        (pair for pair in tried if pair[0].operators == static.CORE_OPERATORS), key=lambda pair: _closeness(pair[1])
    )
    if best.parity is None:
        return
    _calibrate(context, prepared, base.calibration, ranges, tried)
    context.progress.stage("calibrate", 60, "Looking for the layers that lose most")
    with context.timed("screen layers", prepared):
        worst = screen_layers(prepared, context.calibration, static.limits_of(ranges[base.calibration]))
    if not worst:
        return
    context.steps.append({"step": "sensitivity", "worst": [layer.to_json() for layer in worst[:10]]})
    before = 0
    for goal_db in GOALS_DB:
        count = layers_to_spare(worst, goal_db)
        if not before < count < len(worst):
            continue
        before = count
        names = tuple(layer.name for layer in worst[:count])
        yield trial(replace(base, name=f"{base.name}, {len(names)} worst layers in float", spared=names))
        latest = tried[-1][1]
        if latest.fair and _closeness(latest) >= CLOSE_DB:
            return
    if not any(made.fair and _closeness(made) >= USUAL_DB for _, made in tried):
        # What is left of int8 where the activations do not bear it: its size.
        for last in _weight_only(context):
            yield replace(last, path=context.workdir / f"trial-{len(tried)}{SUFFIX}")
            return


def _make_static(
    context: LaneContext,
    prepared: Path,
    way: static.StaticRecipe,
    ranges: dict[static.Calibration, Any],
    tried: Sequence[tuple[static.StaticRecipe, Trial]],
    path: Path,
) -> None:
    _calibrate(context, prepared, way.calibration, ranges, tried)
    static.quantize_statically(prepared, path, way, ranges[way.calibration], spare=context.options.exclude_layers)


def _calibrate(
    context: LaneContext,
    prepared: Path,
    calibration: static.Calibration,
    ranges: dict[static.Calibration, Any],
    tried: Sequence[tuple[static.StaticRecipe, Trial]],
) -> None:
    """Measure ranges that were not measured yet. Ways that were taken over count as if their ranges were."""
    minmax = static.Calibration.MIN_MAX
    measured = any(way.calibration is minmax and made.parity is not None for way, made in tried)
    wanted = [minmax, calibration] if measured else [calibration]
    for each in wanted:
        if each not in ranges:
            with context.timed(f"calibrate {each}", prepared):
                ranges[each] = static.calibrate(
                    prepared,
                    context.calibration,
                    each,
                    context.workdir,
                    percentile=context.options.percentile,
                    known=ranges.get(minmax),
                )


def _closeness(trial: Trial) -> float:
    parity = trial.parity
    return -1000.0 if parity is None or parity.sqnr_db is None else parity.sqnr_db


def _prepare(context: LaneContext, *, opset: int) -> Path:
    context.progress.stage("prepare", 10, "Preparing the graph")
    target = context.workdir / "prepared.onnx"
    with context.timed("prepare", target):
        prepared = prepare_graph(context.model, context.workdir, opset=opset)
    context.steps.append({"step": "prepare", "done": list(prepared.steps), "opset": prepared.opset})
    return prepared.path


def _granularities(context: LaneContext) -> Sequence[bool]:
    return (True, False) if context.options.per_channel is None else (context.options.per_channel,)


def _granularity(per_channel: bool) -> str:
    return "per channel" if per_channel else "per weight"
