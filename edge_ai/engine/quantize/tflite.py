"""TensorFlow Lite in every precision, from a float TensorFlow Lite file, with ai-edge-quantizer: no TensorFlow is loaded."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.installed import version_of
from edge_ai.engine.lanes.base import LaneContext, require_layers
from edge_ai.engine.options import OptimizeOptions, refuse
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize.tflite_ranges import Activations, is_simple, observe, too_far
from edge_ai.engine.quantize.tflite_screen import LayerLoss, layers_of, screen
from edge_ai.engine.quantize.trial import QUANTIZER_FAILURES, Trial, first_line
from edge_ai.engine.quiet import quiet
from edge_ai.engine.runtime.litert import signature_of
from edge_ai.engine.spec import Precision

SUFFIX: Final = ".tflite"
TOOL: Final = "ai-edge-quantizer"
#: The operators that hold the weights, and most of the work.
CORE: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "BATCH_MATMUL")
#: What loses most in integers: what turns scores into answers, and what normalizes.
DELICATE: Final = ("SOFTMAX", "LOGISTIC", "TANH", "RSQRT", "SQUARED_DIFFERENCE", "MEAN", "GELU", "SQRT", "DIV")
#: With integer activations LiteRT takes the first scale of its weights for all channels, and computes nonsense.
PLAIN_SCALES: Final = "BATCH_MATMUL"
THREADS: Final = 2
#: Where single values reach far beyond the others, covering them all wastes most of 256 steps.
USUAL_PERCENTILE: Final = 99.9
#: As close as int8 usually comes; closer than that, nothing more is tried.
GOOD_DB: Final = 20.0
#: How many layers are kept in float at first, how many are told, and how many samples decide which.
FEW: Final = 3
TOLD: Final = 10
SCREENED_SAMPLES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Way:
    """One recipe.

    Parameters
    ----------
    kind
        ``static``, ``dynamic`` or ``weight_only``.
    only
        The operators that are changed; all that can be, where it is empty.
    spared
        The operators that stay in float.
    spared_layers
        The layers that stay in float, by the name of what they answer.
    layer
        The only layer that is changed, by the same name.
    percentile
        Which share of the activations their ranges cover, in percent; ``None`` for all.
    """

    name: str
    kind: str
    weight_bits: int = 8
    activation_bits: int = 8
    only: Sequence[str] = ()
    spared: Sequence[str] = ()
    spared_layers: Sequence[str] = ()
    layer: str | None = None
    percentile: float | None = None
    algorithm: str = "min_max_uniform_quantize"

    def settings(self, options: OptimizeOptions) -> dict[str, object]:
        """Return what the trial table and the recipe say of it."""
        said: dict[str, object] = {
            "quantizer": TOOL,
            "version": version_of(TOOL),
            "kind": self.kind,
            "weights": f"int{self.weight_bits}",
            "activations": f"int{self.activation_bits}" if self.kind == "static" else "float32",
            "operators": list(self.only) or "all",
            "kept_in_float": [*self.spared, *self.spared_layers, *options.exclude_layers],
            "algorithm": self.algorithm,
            "integer_io": options.integer_io,
        }
        if self.kind == "static":
            said["calibration"] = "minmax" if self.percentile is None else f"percentile {self.percentile:g}"
        return said


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the ways to make a variant of a float TensorFlow Lite file, the most promising first.

    What was tried before decides what is tried next, so a trial must be made and compared before the next is asked for.

    Raises
    ------
    EngineError
        ``nothing_to_quantize`` for a file whose weights are integers already, ``unsupported_precision``,
        ``invalid_request`` for a layer that is not there.
    """
    if context.precision is Precision.FP32:
        yield context.trial(0, "float32", {}, lambda path: shutil.copyfile(context.model, path), suffix=SUFFIX)
        return
    _require_float(context)
    _require_excluded(context)
    if context.precision is Precision.FP16:
        if context.options.exclude_layers:
            context.cautions.append(
                Caution(
                    code="option_ignored",
                    detail="All large weights are stored in fp16 here; layers kept in float make no difference to that.",
                    fix="Choose onnx as the target format where this matters.",
                )
            )
        yield context.trial(0, "fp16 weights", {"weights": "fp16"}, partial(_halve, context.model), suffix=SUFFIX)
        return
    maker = Maker(context)
    for place, way in enumerate(_ways(context, maker)):
        trial = context.trial(place, way.name, way.settings(context.options), partial(maker.make, way), suffix=SUFFIX)
        maker.tried.append((way, trial))
        yield trial


def _require_float(context: LaneContext) -> None:
    """Refuse to quantize again what is quantized."""
    from edge_ai.engine.formats.tflite_analysis import precision_of
    from edge_ai.engine.formats.tflite_file import read_file

    kept = precision_of(read_file(context.model)) or ""
    if "int8" in kept or kept in {"int16x8", "weight-only"}:
        raise UnsupportedError(
            f"The model's weights are quantized already ({kept}); doing it again would only lose accuracy.",
            code="nothing_to_quantize",
            fix="Keep the model as it is, or start from the float model that it was made from.",
            field="precision",
            details={"nearest": {"target_format": "tflite", "precision": "fp32"}},
        )


def _require_excluded(context: LaneContext) -> None:
    """Refuse layers to be kept in float that are not there; the tool itself passes over them in silence."""
    if not context.options.exclude_layers:
        return
    from edge_ai.engine.formats.tflite_analysis import operator_name
    from edge_ai.engine.formats.tflite_file import read_file

    graphs = read_file(context.model).subgraphs
    layers = {
        graph.tensors[place].name for graph in graphs for operator in graph.operators for place in operator.outputs
    }
    kinds = {operator_name(operator) for graph in graphs for operator in graph.operators}
    require_layers(context.options.exclude_layers, layers | kinds, parts=True)


def _ways(context: LaneContext, maker: Maker) -> Iterator[Way]:
    precision, options = context.precision, context.options
    if precision is Precision.INT8 and options.weight_only:
        yield Way(name="int8 weights", kind="weight_only")
    elif precision is Precision.INT8:
        yield from _static_ways(context, maker)
    elif precision is Precision.INT8_DYNAMIC:
        yield Way(name="dynamic int8", kind="dynamic")
    elif precision is Precision.INT16X8:
        wide = Way(name="int16 activations", kind="static", activation_bits=16)
        yield wide
        yield replace(wide, name="int16 activations, delicate operators in float", spared=DELICATE)
        yield replace(wide, name="int16 activations, only convolutions and matrix products", only=CORE)
    elif precision is Precision.INT4:
        yield Way(name="int4 weights, int8 activations", kind="dynamic", weight_bits=4)
        yield Way(name="int4 weights", kind="weight_only", weight_bits=4)
        yield Way(name="int4 weights, chosen by squared error", kind="weight_only", weight_bits=4, algorithm="MSE")
    else:
        raise UnsupportedError(
            f"TensorFlow Lite files are not made in {precision}.",
            code="unsupported_precision",
            fix="Choose int8, int8_dynamic or fp16.",
            field="precision",
            details={"nearest": {"target_format": "tflite", "precision": "fp16"}},
        )


def _static_ways(context: LaneContext, maker: Maker) -> Iterator[Way]:
    """Yield what differs in the ranges, then in what stays in float, then what the layers' own losses suggest."""
    for percentile in _percentiles(context.options):
        label = "" if percentile is None else f", percentile {percentile:g}"
        yield Way(name=f"static int8{label}", kind="static", percentile=percentile)
    best = maker.best()
    label = best.name.removeprefix("static int8")
    yield replace(best, name=f"static int8, only convolutions and matrix products{label}", only=CORE)
    yield replace(best, name=f"static int8, delicate operators in float{label}", spared=DELICATE)
    if maker.good():
        return
    best = maker.best()
    worst = maker.screen(replace(best, spared=(), spared_layers=()))
    if worst:
        few = tuple(item.layer for item in worst[:FEW])
        many = tuple(item.layer for item in worst[: max(2 * FEW, len(worst) // 4)])
        for layers in dict.fromkeys((few, many)):
            yield replace(best, name=f"{best.name}, {len(layers)} worst layers in float", spared_layers=layers)
    yield Way(name="int8 weights", kind="weight_only")


def _percentiles(options: OptimizeOptions) -> tuple[float | None, ...]:
    method = options.calibration_method
    if method == "entropy":
        raise refuse(
            "options.calibration_method",
            "TensorFlow Lite files are calibrated with minmax or percentile, not with entropy.",
            "Choose auto, minmax or percentile.",
        )
    return {"minmax": (None,), "percentile": (options.percentile,)}.get(method, (None, USUAL_PERCENTILE))


class Maker:
    """Makes the variants of one float file; the activations are observed once, by the first way that needs them.

    Parameters
    ----------
    tried
        The ways so far, with their outcomes.
    """

    def __init__(self, context: LaneContext) -> None:
        self._context = context
        self._activations: Activations | None = None
        self._signature = signature_of(context.model)
        self._measured: Any = None
        self.tried: list[tuple[Way, Trial]] = []

    def make(self, way: Way, target: Path) -> None:
        """Write a variant."""
        from ai_edge_quantizer import quantizer

        with _translated(way), quiet(level=logging.ERROR, errors_too=True):
            tool = quantizer.Quantizer(str(self._context.model))
            _configure(tool, way, self._context.options)
            ranges = self._ranges(tool, way) if tool.need_calibration else None
            if ranges is not None:
                _spare(tool, (_exactly(layer) for layer in too_far(self._context.model, ranges)))
            tool.quantize(ranges).export_model(str(target), overwrite=True)
            _require_sound(target)

    def best(self) -> Way:
        """Return the way that came closest to the original; the first where none could be compared."""
        made = [(way, trial.parity.sqnr_db or 0.0) for way, trial in self.tried if trial.parity is not None]
        return max(made, key=lambda item: item[1])[0] if made else self.tried[0][0]

    def good(self) -> bool:
        """Whether one of them is as close as is usual."""
        return any(
            trial.fair and trial.parity is not None and (trial.parity.sqnr_db or 0.0) >= GOOD_DB
            for _, trial in self.tried
        )

    def screen(self, way: Way) -> list[LayerLoss]:
        """Quantize layers one at a time, and tell in the result's steps which of them lose most.

        Returns
        -------
        list
            The worst first; empty where there is nothing to compare on.
        """
        context = self._context
        # The ways so far may have been taken over, and then nothing was observed yet.
        with contextlib.suppress(EngineError, *QUANTIZER_FAILURES):
            self._observe()
        layers = [] if self._activations is None else layers_of(context.model, set(CORE) | {"TRANSPOSE_CONV"})
        context.progress.stage("sensitivity", 60, f"Which of {len(layers)} layers lose most")
        with context.timed("sensitivity", context.model):
            worst = screen(
                context.model,
                layers,
                context.calibration[:SCREENED_SAMPLES],
                lambda layer, path: self.make(replace(way, only=(), layer=layer), path),
                context.workdir / f"screened{SUFFIX}",
            )
        if worst:
            context.steps.append({"step": "sensitivity", "worst": [item.to_json() for item in worst[:TOLD]]})
        return worst

    def _ranges(self, tool: Any, way: Way) -> Any:
        """Return the activations' ranges: by tensor, or what the tool itself measured where there are subgraphs."""
        context = self._context
        if not context.calibration:
            raise refuse("dataset", "int8 is calibrated on samples, and none were given.", "Give a data set.")
        self._observe()
        if self._activations is not None:
            return self._activations.ranges(way.percentile)
        if self._measured is None:
            self._measured = tool.calibrate({self._signature: context.calibration}, num_threads=THREADS)
        # A copy: what the tool does to it for one way is nothing to another.
        return copy.deepcopy(self._measured)

    def _observe(self) -> None:
        context = self._context
        if self._activations is None and context.calibration and is_simple(context.model):
            context.progress.stage("calibrate", 20, f"{len(context.calibration)} samples")
            self._activations = observe(
                context.model, context.inputs, context.calibration, threads=THREADS, seed=context.options.seed
            )


def _require_sound(variant: Path) -> None:
    """Refuse what LiteRT's process would end at."""
    from edge_ai.engine.formats.tflite_file import read_file

    try:
        read_file(variant)
    except UserInputError as error:
        raise UnsupportedError(
            f"What ai-edge-quantizer makes of this network cannot be run. {error.message}",
            code="unsupported_operator",
            fix="Choose int8_dynamic or fp16, or ONNX as the target format.",
            details={"nearest": {"target_format": "tflite", "precision": "fp16"}},
        ) from None


def _halve(source: Path, target: Path) -> None:
    """Store the weights as fp16; LiteRT widens them once, when it loads the file."""
    from edge_ai.engine.convert.tensorflow_halve import halve_weights

    halved, count = halve_weights(source.read_bytes(), spare_wide=True)
    if count == 0:
        raise UnsupportedError(
            "The model has no float32 weights that fp16 would make smaller.",
            code="nothing_to_quantize",
            fix="Keep the model as it is.",
            details={"nearest": {"target_format": "tflite", "precision": "fp32"}},
        )
    target.write_bytes(halved)


def _configure(tool: Any, way: Way, options: OptimizeOptions) -> None:
    """Write the recipe: what is changed first, then what stays as it is."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.recipe import AlgorithmName, QuantGranularity

    names = qtyping.TFLOperationName
    granularity = QuantGranularity.TENSORWISE if options.per_channel is False else QuantGranularity.CHANNELWISE
    algorithm = AlgorithmName(way.algorithm)
    where = ".*" if way.layer is None else _exactly(way.layer)
    add: dict[str, Callable[[Any], None]] = {
        "static": lambda operation: tool.add_static_config(
            where, operation, way.activation_bits, way.weight_bits, granularity, algorithm
        ),
        "dynamic": lambda operation: tool.add_dynamic_config(where, operation, way.weight_bits, granularity, algorithm),
        "weight_only": lambda operation: tool.add_weight_only_config(
            where, operation, way.weight_bits, granularity, algorithm
        ),
    }
    for name in way.only or (names.ALL_SUPPORTED.value,):
        add[way.kind](names(name))
    if way.kind == "static" and (not way.only or PLAIN_SCALES in way.only):
        tool.add_static_config(
            where, names(PLAIN_SCALES), way.activation_bits, way.weight_bits, QuantGranularity.TENSORWISE, algorithm
        )
    spared = [(".*", name) for name in way.spared]
    if way.kind == "static" and (way.layer is not None or not options.integer_io):
        spared += [(".*", names.INPUT.value), (".*", names.OUTPUT.value)]
    spared += [(_exactly(layer), names.ALL_SUPPORTED.value) for layer in way.spared_layers]
    kinds = {name.value for name in names}
    spared += [
        (".*", layer) if layer in kinds else (f".*{re.escape(layer)}.*", names.ALL_SUPPORTED.value)
        for layer in options.exclude_layers
    ]
    for place, name in spared:
        _spare(tool, [place], name)


def _spare(tool: Any, places: Iterable[str], name: str = "*") -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.recipe import AlgorithmName

    for place in places:
        tool.update_quantization_recipe(place, qtyping.TFLOperationName(name), algorithm_key=AlgorithmName.NO_QUANTIZE)


def _exactly(layer: str) -> str:
    """Return the pattern for one layer; the tool names layers by all that they answer, each with a semicolon behind."""
    return f"^{re.escape(layer)};"


@contextlib.contextmanager
def _translated(way: Way) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except QUANTIZER_FAILURES as error:
        raise UnsupportedError(
            f"ai-edge-quantizer cannot make {way.name} of this network: {first_line(error)}",
            code="unsupported_operator",
            fix="Choose int8_dynamic or fp16, or ONNX as the target format.",
            details={"nearest": {"target_format": "tflite", "precision": "fp16"}},
        ) from error
