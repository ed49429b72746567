"""OpenVINO IR from ONNX, TensorFlow Lite and SavedModel, in fp32, fp16 and int8 (nncf)."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_ai.engine.errors import EngineError, UnsupportedError, UserInputError
from edge_ai.engine.formats.openvino import reproducible
from edge_ai.engine.installed import version_of
from edge_ai.engine.lanes.base import LaneContext
from edge_ai.engine.options import OptimizeOptions, refuse
from edge_ai.engine.plan import Caution
from edge_ai.engine.quantize.trial import QUANTIZER_FAILURES, Trial, first_line
from edge_ai.engine.quiet import quiet
from edge_ai.engine.runtime.openvino import FRONTEND_FAILURES, IR_NAME, name_of, openvino, translated
from edge_ai.engine.spec import Format, Precision

RECURRENT: Final = frozenset(
    {"LSTMSequence", "GRUSequence", "RNNSequence", "TensorIterator", "Loop", "LSTMCell", "GRUCell"}
)
TRANSFORMERS: Final = frozenset({"ScaledDotProductAttention", "MVN", "Gelu"})
#: Operators that hold the weights, and most of the work.
CORE: Final = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
)
#: What nncf leaves alone anyway.
NO_WORK: Final = frozenset({"Parameter", "Result", "Constant", "Convert"})

#: What OpenVINO says of operators that it has no form of.
_LACKING: Final = re.compile(r"No conversion rule found for operations: ([^\n]+)|No translator found for (\w+) node")
_NEAREST: Final = frozenset({Format.ONNX, Format.TFLITE})


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to quantize: nncf's ``preset``, and whether only the operators with weights become integers."""

    name: str
    preset: str
    core_only: bool = False


WAYS: Final = (
    Way(name="int8, mixed preset", preset="mixed"),
    Way(name="int8, mixed preset, only convolutions and matrix products", preset="mixed", core_only=True),
    Way(name="int8, performance preset", preset="performance"),
)
#: The performance preset has symmetric activations.
SYMMETRIC_WAYS: Final = (
    Way(name="int8, performance preset", preset="performance"),
    Way(name="int8, performance preset, only convolutions and matrix products", preset="performance", core_only=True),
)


def ways(context: LaneContext) -> Iterator[Trial]:
    """Yield the ways to make OpenVINO IR, the most promising first; each writes a folder with the .xml and its .bin.

    Raises
    ------
    EngineError
        ``unsupported_operator`` where OpenVINO cannot convert the network; ``dataset_required`` for int8.
    """
    with context.timed(f"convert {context.format} to openvino", context.model):
        model = _converted(context)
    found = {operator.get_type_name() for operator in model.get_ops()}
    if found & RECURRENT:
        context.cautions.append(
            Caution(
                code="recurrent_slow_in_openvino",
                detail="OpenVINO was seen to run recurrent networks 15 to 20 times slower than ONNX Runtime.",
                fix="Benchmark it, or choose onnx with int8_dynamic.",
            )
        )
    if context.precision in {Precision.FP32, Precision.FP16}:
        halve = context.precision is Precision.FP16
        name = "fp16 weights" if halve else "float32"
        yield context.trial(0, name, _settings(weights="fp16" if halve else "float32"), partial(_save, model, halve))
        return
    if context.options.weight_only:
        yield _weights_trial(context, model, 0)
        return
    if not context.calibration:
        raise UserInputError(
            "int8 is calibrated on samples, and none were given.",
            code="dataset_required",
            fix="Give a data set of 50 to 300 representative samples, or choose fp16.",
            field="dataset",
            details={"nearest": {"target_format": "openvino", "precision": "fp16"}},
        )
    if context.options.calibration_method == "entropy":
        raise refuse(
            "options.calibration_method",
            "nncf, which quantizes OpenVINO models, has no calibration by entropy.",
            "Choose auto, minmax or percentile.",
        )
    tried: list[Trial] = []
    for way in SYMMETRIC_WAYS if context.options.symmetric_activations else WAYS:
        settings = _settings(
            preset=way.preset,
            nncf=version_of("nncf"),
            calibration=context.options.calibration_method,
            weights="int8" if context.options.per_channel is False else "int8 per channel",
            operators=sorted(CORE & found) if way.core_only else "all",
            kept_in_float=list(context.options.exclude_layers),
        )
        place = len(tried)
        context.progress.stage("calibrate", 20 + 5 * place, f"{way.name}: {len(context.calibration)} samples")
        make = partial(_quantize, context, model, way, bool(found & TRANSFORMERS))
        tried.append(context.trial(place, way.name, settings, make))
        yield tried[-1]
    if not any(trial.fair for trial in tried):
        # What is left of int8 where the activations do not bear it: its size.
        yield _weights_trial(context, model, len(tried))


def _weights_trial(context: LaneContext, model: Any, place: int) -> Trial:
    settings = _settings(weights="int8 per channel", activations="float32", nncf=version_of("nncf"))
    return context.trial(place, "int8 weights", settings, partial(_weights_only, model))


def _settings(**more: object) -> dict[str, object]:
    return {"converter": "openvino", "version": openvino.get_version().partition("-")[0], **more}


def _converted(context: LaneContext) -> Any:
    """Return OpenVINO's form of the network, with the names that its source has."""
    with translated(context.model), quiet(level=logging.ERROR, errors_too=True):
        if context.format is Format.OPENVINO:
            path = context.model / IR_NAME if context.model.is_dir() else context.model
            return openvino.Core().read_model(path)
        try:
            model = openvino.convert_model(str(context.model))
        except FRONTEND_FAILURES as error:
            raise _not_converted(context.format, str(error)) from error
    for ports, tensors in ((model.inputs, context.inputs), (model.outputs, context.outputs)):
        known = {name for port in ports for name in port.get_names()}
        if len(ports) == len(tensors) and not {tensor.name for tensor in tensors} <= known:
            _rename(ports, tensors)
    return model


def _not_converted(format: Format, text: str) -> UnsupportedError:
    """Return the refusal of a network, with the operators that OpenVINO says it lacks."""
    named = [name for found in _LACKING.findall(text) for name in re.split(r",\s*", found[0] or found[1])]
    failed = re.findall(r"Conversion failed for (\w+)", text)
    operators = sorted({name.strip() for name in (*named, *failed) if name.strip()})
    what = ", ".join(operators[:8]) or "this network"
    return UnsupportedError(
        f"OpenVINO cannot convert {what}.",
        code="unsupported_operator",
        fix="Choose onnx or tflite as the target format.",
        details={
            "operators": operators,
            "nearest": {"target_format": (format if format in _NEAREST else Format.ONNX).value, "precision": "fp16"},
        },
    )


def _rename(ports: Any, tensors: Any) -> None:
    """Add the source's names where the converter left them out, port by port."""
    for port, tensor in zip(ports, tensors, strict=True):
        if not port.get_names():
            port.get_tensor().set_names({tensor.name})


def _save(model: Any, halve: bool, target: Path) -> None:
    target.mkdir()
    with translated(target):
        openvino.save_model(model, str(target / IR_NAME), compress_to_fp16=halve)
    reproducible(target / IR_NAME)


def _weights_only(model: Any, target: Path) -> None:
    import nncf

    with _nncf("int8 weights"):
        made = nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_SYM)
    _save(made, False, target)


def _quantize(context: LaneContext, model: Any, way: Way, transformer: bool, target: Path) -> None:
    import nncf

    places = {name_of(port, place, "input"): place for place, port in enumerate(model.inputs)}
    samples = [
        {places.get(name, name): np.ascontiguousarray(value) for name, value in feed.items()}
        for feed in context.calibration
    ]
    ignored: Callable[..., Any] = nncf.IgnoredScope
    known = {operator.get_type_name() for operator in model.get_ops()}
    spared = set(context.options.exclude_layers)
    types = sorted((spared & known) | (known - CORE - NO_WORK if way.core_only else set()))
    layers = sorted(spared - known)
    with _nncf(way.name):
        made = nncf.quantize(
            model.clone(),
            nncf.Dataset(samples),
            preset=nncf.QuantizationPreset(way.preset),
            subset_size=len(samples),
            fast_bias_correction=True,
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            ignored_scope=ignored(types=types, names=layers, validate=False),
            advanced_parameters=_advanced(context.options),
        )
    _save(made, True, target)


def _advanced(options: OptimizeOptions) -> Any:
    """Return what of the options nncf takes as details, ``None`` where all is as usual."""
    import nncf
    from nncf.quantization import range_estimator as ranges
    from nncf.quantization.advanced_parameters import QuantizationParameters

    details: dict[str, Any] = {}
    if options.per_channel is False:
        details["weights_quantization_params"] = QuantizationParameters(per_channel=False)
    if options.calibration_method == "minmax":
        details["activations_range_estimator_params"] = ranges.RangeEstimatorParametersSet.MINMAX
    elif options.calibration_method == "percentile":
        side = ranges.StatisticsCollectorParameters(
            statistics_type=ranges.StatisticsType.QUANTILE,
            aggregator_type=ranges.AggregatorType.MEAN,
            quantile_outlier_prob=1 - options.percentile / 100,
        )
        details["activations_range_estimator_params"] = ranges.RangeEstimatorParameters(side, side)
    return nncf.AdvancedQuantizationParameters(**details) if details else None


@contextlib.contextmanager
def _nncf(name: str) -> Iterator[None]:
    try:
        with quiet(level=logging.ERROR, errors_too=True):
            yield
    except EngineError:
        raise
    except QUANTIZER_FAILURES as error:
        raise UnsupportedError(
            f"nncf cannot make {name} of this network: {first_line(error)}",
            code="unsupported_operator",
            fix="Choose fp16, or onnx as the target format.",
            details={"nearest": {"target_format": "openvino", "precision": "fp16"}},
        ) from error
