"""TensorFlow Lite in every precision, from a SavedModel with TensorFlow's own converter."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from edge_ai.engine.convert.tensorflow_freeze import LOOPS, Frozen, fixed_sizes, freeze, refuse_tables
from edge_ai.engine.convert.tensorflow_halve import halve_weights
from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.formats.saved_model_graph import find_folder, read_graph
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize.trial import Trial, first_line
from edge_ai.engine.quiet import quiet_natively
from edge_ai.engine.runtime.base import Array, Feed
from edge_ai.engine.runtime.tensorflow import FAILURES, explain
from edge_ai.engine.spec import Format, Precision

SUFFIX: Final = ".tflite"
BUILTINS: Final = (tf.lite.OpsSet.TFLITE_BUILTINS,)
INTEGERS: Final = (tf.lite.OpsSet.TFLITE_BUILTINS_INT8,)
WIDE_INTEGERS: Final = (tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,)


class Halve(Enum):
    """Which weights are stored as fp16."""

    ALL = "all"
    ALL_BUT_WIDE = "all but those of which fp16 would lose the digits of more than a few numbers"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to set the converter.

    Parameters
    ----------
    operators
        The sets that the converter may choose from.
    quantize
        Reduce the weights at all.
    halve
        Store these weights as fp16 afterwards. The converter would halve every constant, small ones to zero.
    calibrate
        Measure the activations' ranges on samples.
    integer_io
        What inputs and outputs are, where they are no floats.
    """

    name: str
    operators: Sequence[Any] = BUILTINS
    quantize: bool = True
    halve: Halve | None = None
    calibrate: bool = False
    per_channel: bool = True
    integer_io: Any = None
    settings: Mapping[str, object] = field(default_factory=dict)


class _Source:
    """The SavedModel, frozen once for all ways."""

    def __init__(self, context: LaneContext) -> None:
        self.context = context

    @cached_property
    def frozen(self) -> Frozen:
        folder = find_folder(self.context.model)
        graph = read_graph(folder)
        refuse_tables(graph, "TensorFlow Lite")
        with self.context.timed("freeze", folder):
            return freeze(folder, fixed_sizes(graph.inputs, self.context.sample))

    @cached_property
    def plain(self) -> bytes:
        """The float32 file, of which both fp16 ways are made."""
        return _converted(self, Way(name="float32", quantize=False))

    @property
    def spares_nothing(self) -> bool:
        """Whether both fp16 ways make the same file. Where the converter fails, the first way has told."""
        with contextlib.suppress(EngineError):
            return _halved(self.plain, Halve.ALL) == _halved(self.plain, Halve.ALL_BUT_WIDE)
        return True

    def samples(self) -> Iterator[dict[str, Array]]:
        """Yield one sample after the other, each with a batch of one, under the names of the function's arguments."""
        for feed in self.context.calibration:
            yield from _rows(feed, self.frozen)


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the ways to make a TensorFlow Lite file from an unpacked SavedModel, the most promising first.

    The file takes a batch of one. Inputs and outputs keep the names of the SavedModel's signature.

    Raises
    ------
    EngineError
        ``unsupported_precision``; ``dataset_required``; ``unsupported_operator`` naming the operators that TensorFlow Lite
        lacks.
    """
    chosen = _ways(context)
    _caution(context)
    source = _Source(context)
    for place, way in enumerate(chosen):
        if way.halve is Halve.ALL and source.spares_nothing:
            continue
        settings = {"converter": "tensorflow", "per_channel": way.per_channel, **way.settings}
        yield context.trial(place, way.name, settings, partial(_make, source, way), suffix=SUFFIX)


def _ways(context: LaneContext) -> list[Way]:
    precision, options = context.precision, context.options
    if precision is Precision.FP32:
        return [Way(name="float32", quantize=False)]
    if precision is Precision.FP16:
        return [
            Way(name="fp16 weights", quantize=False, halve=Halve.ALL_BUT_WIDE, settings={"weights": "fp16"}),
            Way(
                name="fp16 weights, those with a wide range too",
                quantize=False,
                halve=Halve.ALL,
                settings={"weights": "fp16"},
            ),
        ]
    channels = [True, False] if options.per_channel is None else [options.per_channel]
    if precision is Precision.INT8_DYNAMIC:
        # A scale per tensor is no smaller, and was seen to lose 5 to 10 dB.
        channels = channels[:1]
        return [
            Way(
                name="dynamic int8" if by_channel else "dynamic int8, a scale per tensor",
                per_channel=by_channel,
                settings={"weights": "int8", "activations": "measured while the model runs"},
            )
            for by_channel in channels
        ]
    if precision not in {Precision.INT8, Precision.INT16X8} or options.weight_only:
        raise _not_made(context)
    if not context.calibration:
        raise UserInputError(
            f"{precision} is calibrated: the ranges of the activations are measured on samples, and none were given.",
            code="dataset_required",
            fix="Give a data set of 50 to 300 representative samples, or choose int8_dynamic or fp16.",
            field="dataset",
            details=_nearest(Precision.INT8_DYNAMIC),
        )
    wide = precision is Precision.INT16X8
    whole = WIDE_INTEGERS if wide else INTEGERS
    integer = (tf.int16 if wide else tf.int8) if options.integer_io else None
    return [
        Way(
            name=f"{precision}, a scale per {'channel' if by_channel else 'tensor'}",
            # With floats at the edges, an operator that has no integer form may stay float.
            operators=whole if options.integer_io else (*whole, *BUILTINS) if wide else BUILTINS,
            calibrate=True,
            per_channel=by_channel,
            integer_io=integer,
            settings={
                "weights": "int8",
                "activations": "int16" if wide else "int8",
                "calibration": "minmax",
                "integer_io": options.integer_io,
            },
        )
        for by_channel in channels
    ]


def _make(source: _Source, way: Way, path: Path) -> None:
    if way.calibrate:
        _refuse_loops(source.frozen)
    path.write_bytes(_converted(source, way) if way.halve is None else _halved(source.plain, way.halve))


def _converted(source: _Source, way: Way) -> bytes:
    """Return the file that the converter makes."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([source.frozen.function], tf.Module())
    converter.target_spec.supported_ops = list(way.operators)
    if way.quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if way.calibrate:
        converter.representative_dataset = source.samples
    if way.integer_io is not None:
        converter.inference_input_type = converter.inference_output_type = way.integer_io
    converter._experimental_disable_per_channel = not way.per_channel
    try:
        with quiet_natively():
            return bytes(converter.convert())
    except EngineError:
        raise
    except Exception as error:
        raise refused(error) from error


def _halved(made: bytes, which: Halve) -> bytes:
    halved, count = halve_weights(made, spare_wide=which is Halve.ALL_BUT_WIDE)
    if count == 0:
        raise UnsupportedError(
            "The model has no float32 weights that fp16 would make smaller.",
            code="nothing_to_quantize",
            fix="Keep the model as it is.",
            details=_nearest(Precision.FP32),
        )
    return halved


def _refuse_loops(frozen: Frozen) -> None:
    """Refuse to calibrate through loops: the converter's interpreter ends the process over some of them."""
    found = sorted(frozen.operators & LOOPS)
    if found:
        raise UnsupportedError(
            "The network has a recurrent layer or another loop, whose ranges TensorFlow's converter cannot measure.",
            code="unsupported_operator",
            fix="Choose int8_dynamic or fp16, or onnx as the target format.",
            details={"operators": found, **_nearest(Precision.INT8_DYNAMIC)},
        )


def refused(error: Exception) -> EngineError:
    """Return the `EngineError` for what the converter raised."""
    told = str(error)
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return explain("convert", error)
    named = re.search(r"(?:Select|Flex|Custom) ops: ([\w, ]+)", told)
    names = {name.strip() for name in named[1].split(",")} if named else set(re.findall(r"'tf\.(\w+)' op", told))
    names -= {""}
    if not names and not isinstance(error, FAILURES) and "Converter" not in type(error).__name__:
        raise error
    what = f"the operators {', '.join(sorted(names)[:8])}" if names else f"this network ({first_line(error)})"
    return UnsupportedError(
        f"TensorFlow's converter has no TensorFlow Lite form of {what}.",
        code="unsupported_operator",
        fix="Choose another precision, or onnx as the target format.",
        details={"operators": sorted(names)[:50], **_nearest(Precision.FP32, Format.ONNX)},
    )


def _rows(feed: Feed, frozen: Frozen) -> Iterator[dict[str, Array]]:
    count = max((feed[item.name].shape[0] for item in frozen.inputs if feed[item.name].ndim), default=1)
    for row in range(count):
        sample = {}
        for item, argument in zip(frozen.inputs, frozen.arguments, strict=True):
            value = feed[item.name]
            if value.ndim and value.shape[0] == count and item.shape and item.shape[0] == 1:
                value = value[row : row + 1]
            if value.shape != item.shape:
                break
            sample[argument] = np.ascontiguousarray(value, dtype=item.dtype)
        else:
            yield sample


def _caution(context: LaneContext) -> None:
    options = context.options
    ignored = []
    if context.precision in {Precision.INT8, Precision.INT16X8}:
        if options.calibration_method in {"percentile", "entropy"}:
            ignored.append(f"calibration by {options.calibration_method}; it uses the smallest and the largest value")
        if options.exclude_layers:
            ignored.append("layers kept in float")
    if ignored:
        context.cautions.append(
            Caution(
                code="option_ignored",
                detail=f"TensorFlow's converter does not know {' nor '.join(ignored)}.",
                fix="Choose onnx as the target format where this matters.",
            )
        )


def _not_made(context: LaneContext) -> UnsupportedError:
    what = "int8 weights alone" if context.options.weight_only else context.precision.value
    return UnsupportedError(
        f"TensorFlow's converter does not make {what} for TensorFlow Lite.",
        code="unsupported_precision",
        fix="Choose int8, int8_dynamic, int16x8 or fp16.",
        field="precision",
        details=_nearest(Precision.INT8_DYNAMIC),
    )


def _nearest(precision: Precision, target: Format = Format.TFLITE) -> dict[str, Any]:
    return {"nearest": {"target_format": target.value, "precision": precision.value}}
