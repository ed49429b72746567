"""TensorFlow Lite in every precision, from a float TensorFlow Lite file, with ai-edge-quantizer: no TensorFlow is loaded."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.options import OptimizeOptions, refuse
from edge_ai.engine.quantize.trial import Trial, first_line
from edge_ai.engine.runtime.base import Feed
from edge_ai.engine.runtime.litert import signature_of
from edge_ai.engine.spec import Precision

SUFFIX: Final = ".tflite"
TOOL: Final = "ai-edge-quantizer"
#: The operators that hold the weights, and most of the work.
CORE: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "BATCH_MATMUL")
#: What loses most in integers: what turns scores into answers, and what normalizes.
DELICATE: Final = ("SOFTMAX", "LOGISTIC", "TANH", "RSQRT", "SQUARED_DIFFERENCE", "MEAN", "GELU")
THREADS: Final = 2

# It raises plain exceptions of every kind at a graph that it cannot take.
_FAILURES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
    """

    name: str
    kind: str
    weight_bits: int = 8
    activation_bits: int = 8
    only: Sequence[str] = ()
    spared: Sequence[str] = ()
    algorithm: str = "min_max_uniform_quantize"


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the ways to make a variant of a float TensorFlow Lite file, the most promising first.

    Raises
    ------
    EngineError
        ``unsupported_precision``, ``invalid_request`` for a layer that is not there.
    """
    if context.precision is Precision.FP32:
        yield context.trial(0, "float32", {}, lambda path: shutil.copyfile(context.model, path), suffix=SUFFIX)
        return
    if context.precision is Precision.FP16:
        yield context.trial(0, "fp16 weights", {"weights": "fp16"}, partial(_halve, context.model), suffix=SUFFIX)
        return
    ranges: dict[int, Any] = {}
    for place, way in enumerate(_ways(context.precision, context.options)):
        settings: dict[str, object] = {
            "quantizer": TOOL,
            "version": version(TOOL),
            "kind": way.kind,
            "weights": f"int{way.weight_bits}",
            "activations": f"int{way.activation_bits}" if way.kind == "static" else "float32",
            "operators": list(way.only) or "all",
            "kept_in_float": [*way.spared, *context.options.exclude_layers],
            "algorithm": way.algorithm,
            "integer_io": context.options.integer_io,
        }
        yield context.trial(place, way.name, settings, partial(_make, context, way, ranges), suffix=SUFFIX)


def _ways(precision: Precision, options: OptimizeOptions) -> list[Way]:
    if precision is Precision.INT8 and options.weight_only:
        return [Way(name="int8 weights", kind="weight_only")]
    if precision is Precision.INT8:
        return [
            Way(name="static int8", kind="static"),
            Way(name="static int8, delicate operators in float", kind="static", spared=DELICATE),
            Way(name="static int8, only convolutions and matrix products", kind="static", only=CORE),
        ]
    if precision is Precision.INT8_DYNAMIC:
        return [Way(name="dynamic int8", kind="dynamic")]
    if precision is Precision.INT16X8:
        return [
            Way(name="int16 activations", kind="static", activation_bits=16),
            Way(
                name="int16 activations, delicate operators in float",
                kind="static",
                activation_bits=16,
                spared=DELICATE,
            ),
        ]
    if precision is Precision.INT4:
        return [
            Way(name="int4 weights, int8 activations", kind="dynamic", weight_bits=4),
            Way(name="int4 weights", kind="weight_only", weight_bits=4),
            Way(name="int4 weights, chosen by squared error", kind="weight_only", weight_bits=4, algorithm="MSE"),
        ]
    raise UnsupportedError(
        f"TensorFlow Lite files are not made in {precision}.",
        code="unsupported_precision",
        fix="Choose int8, int8_dynamic or fp16.",
        field="precision",
        details={"nearest": {"target_format": "tflite", "precision": "fp16"}},
    )


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


def _make(context: LaneContext, way: Way, ranges: dict[int, Any], target: Path) -> None:
    from ai_edge_quantizer import quantizer

    with _translated(way), _quiet():
        tool = quantizer.Quantizer(str(context.model))
        _configure(tool, way, context.options)
        if tool.need_calibration:
            if way.activation_bits not in ranges:
                context.progress.stage("calibrate", 20, f"{len(context.calibration)} samples")
                ranges[way.activation_bits] = _calibrate(tool, context)
            made = tool.quantize(ranges[way.activation_bits])
        else:
            made = tool.quantize()
        made.export_model(str(target), overwrite=True)


def _configure(tool: Any, way: Way, options: OptimizeOptions) -> None:
    """Write the recipe: what is changed first, then what stays as it is."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.recipe import AlgorithmName, QuantGranularity

    names = qtyping.TFLOperationName
    granularity = QuantGranularity.TENSORWISE if options.per_channel is False else QuantGranularity.CHANNELWISE
    algorithm = AlgorithmName(way.algorithm)
    add: dict[str, Callable[[Any], None]] = {
        "static": lambda operation: tool.add_static_config(
            ".*", operation, way.activation_bits, way.weight_bits, granularity, algorithm
        ),
        "dynamic": lambda operation: tool.add_dynamic_config(".*", operation, way.weight_bits, granularity, algorithm),
        "weight_only": lambda operation: tool.add_weight_only_config(
            ".*", operation, way.weight_bits, granularity, algorithm
        ),
    }
    for name in way.only or (names.ALL_SUPPORTED.value,):
        add[way.kind](names(name))
    spared = [*way.spared]
    if way.kind == "static" and not options.integer_io:
        spared += [names.INPUT.value, names.OUTPUT.value]
    for name in spared:
        tool.update_quantization_recipe(".*", names(name), algorithm_key=AlgorithmName.NO_QUANTIZE)
    for layer in options.exclude_layers:
        if layer in {name.value for name in names}:
            tool.update_quantization_recipe(".*", names(layer), algorithm_key=AlgorithmName.NO_QUANTIZE)
        else:
            regex = f".*{re.escape(layer)}.*"
            tool.update_quantization_recipe(regex, names.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _calibrate(tool: Any, context: LaneContext) -> Any:
    """Measure the activations' ranges."""
    if not context.calibration:
        raise refuse("dataset", "int8 is calibrated on samples, and none were given.", "Give a data set.")
    key, names = signature_of(context.model)
    feeds: list[Feed] = [{names.get(name, name): value for name, value in feed.items()} for feed in context.calibration]
    return tool.calibrate({key: feeds}, num_threads=THREADS)


@contextlib.contextmanager
def _translated(way: Way) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except _FAILURES as error:
        raise UnsupportedError(
            f"ai-edge-quantizer cannot make {way.name} of this network: {first_line(error)}",
            code="unsupported_operator",
            fix="Choose int8_dynamic or fp16, or ONNX as the target format.",
            details={"nearest": {"target_format": "tflite", "precision": "fp16"}},
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep its progress bars and notes out of the log."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
