"""Static int8 for ONNX: weights and activations as integers (QDQ), with ranges measured on samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge_ai.engine.convert.onnx_prepare import drop_unused_domains
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import read_model, write_model
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.quantize.fp16 import halve_weights
from edge_ai.engine.quantize.ranges import Limits, activations_of, extremes, histograms, least_entropy, percentiles
from edge_ai.engine.quantize.weight_only import narrow_spared, narrow_tables
from edge_ai.engine.quiet import quiet
from edge_ai.engine.runtime.base import Feed

#: Operators that hold the weights, and most of the work.
CORE_OPERATORS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
#: With them, those between them, so that whole stretches of the network stay in integers. Softmax, normalizations and
#: embeddings are not among them: they lose too much.
ALL_OPERATORS = (
    *CORE_OPERATORS,
    "Add",
    "Mul",
    "Relu",
    "Clip",
    "LeakyRelu",
    "Sigmoid",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
    "Split",
    "Pad",
    "Resize",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
)
#: What may stand between the last activation and an output.
MOVES_DATA = frozenset({"Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
#: Operators all of whose inputs are activations; the further inputs of others are weights, shapes and sizes.
READ_ALL = frozenset({"Add", "Mul", "Concat", "MatMul"})
HISTOGRAM_SAMPLES = 50
FIRST_OPSET_PER_CHANNEL = 13


class Calibration(StrEnum):
    """How the range of an activation follows from the samples."""

    MIN_MAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"


@dataclass(frozen=True, kw_only=True)
class StaticRecipe:
    """One way to do it; ``spared`` are the names of layers that stay in float.

    With ``reduce_range`` weights have 7 bits, so that two products with an activation fit in 16.
    """

    name: str
    calibration: Calibration
    operators: tuple[str, ...]
    per_channel: bool = True
    symmetric: bool = False
    reduce_range: bool = False
    spared: tuple[str, ...] = ()


def recipes(options: OptimizeOptions, *, saturating: bool = False) -> list[StaticRecipe]:
    """Return the ways that the options leave open, in the order in which they are tried.

    Parameters
    ----------
    saturating
        Products of 8 bits saturate on this machine: what the options leave open becomes 7 bits.
    """
    methods: tuple[Calibration, ...] = (Calibration.MIN_MAX, Calibration.PERCENTILE)
    if options.calibration_method != "auto":
        methods = (Calibration(options.calibration_method),)
    words = {
        Calibration.MIN_MAX: "MinMax",
        Calibration.PERCENTILE: f"Percentile {options.percentile:g}",
        Calibration.ENTROPY: "Entropy",
    }
    found = []
    for method in methods:
        for operators, suffix in ((ALL_OPERATORS, ""), (CORE_OPERATORS, ", only Conv, MatMul and Gemm")):
            found.append(
                StaticRecipe(
                    name=f"{words[method]}{suffix}",
                    calibration=method,
                    operators=operators,
                    per_channel=options.per_channel is not False,
                    symmetric=options.symmetric_activations,
                    reduce_range=saturating if options.reduce_range is None else options.reduce_range,
                )
            )
    return found


def calibrate(
    prepared: Path,
    feeds: Sequence[Feed],
    calibration: Calibration,
    workdir: Path,
    *,
    percentile: float = 99.99,
    known: TensorsData | None = None,
) -> TensorsData:
    """Measure the range of every activation.

    Parameters
    ----------
    prepared
        The graph that will be quantized.
    feeds
        The samples.
    workdir
        Where a temporary model is written.
    percentile
        Which share of the activations the range covers, in percent.
    known
        The extremes, where they were measured already.
    """
    names = activations_of(read_model(prepared), ALL_OPERATORS)
    if calibration is not Calibration.MIN_MAX:
        feeds = feeds[:HISTOGRAM_SAMPLES]
    limits = extremes(prepared, names, feeds, workdir) if known is None else limits_of(known)
    if calibration is not Calibration.MIN_MAX:
        counts = histograms(prepared, limits, feeds, workdir)
        limits = (
            least_entropy(limits, counts)
            if calibration is Calibration.ENTROPY
            else percentiles(limits, counts, percentile)
        )
    return TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(low), np.float32(high)) for name, (low, high) in limits.items()},
    )


def quantize_statically(
    prepared: Path, target: Path, recipe: StaticRecipe, ranges: TensorsData, *, spare: Sequence[str] = ()
) -> int:
    """Write the quantized variant of a prepared graph.

    Activations are uint8, weights int8 with a scale for each channel: the fastest combination on processors with VNNI, and
    the most exact one on all whose products do not saturate.

    Parameters
    ----------
    spare
        Names of nodes, or operators, that stay in float, beside those of the recipe.

    Returns
    -------
    int
        How many activations and weights are integers now.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize`` when nothing changed.
    """
    model = read_model(prepared)
    per_channel = recipe.per_channel and any(
        item.domain in {"", "ai.onnx"} and item.version >= FIRST_OPSET_PER_CHANNEL for item in model.opset_import
    )
    kept = {*final_activations(model), *unmeasured(model, limits_of(ranges)), *recipe.spared}
    kept |= {node.name for node in model.graph.node if node.name in spare}
    quantizer = QDQQuantizer(
        model,
        per_channel,
        recipe.reduce_range,
        QuantType.QInt8,
        QuantType.QInt8 if recipe.symmetric else QuantType.QUInt8,
        # A copy: the quantizer narrows the ranges before activations, and what other ways make may not hang on that.
        TensorsData(ranges.calibration_method, dict(ranges.items())),
        [],
        sorted(kept),
        [name for name in recipe.operators if name not in spare],
        {"ActivationSymmetric": recipe.symmetric, "WeightSymmetric": True, "MinimumRealRange": 1e-4},
    )
    with quiet():
        quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    count: int = sum(node.op_type == "DequantizeLinear" for node in made.graph.node)
    if count == 0:
        raise UnsupportedError(
            "None of the model's operators could be turned into integers.",
            code="nothing_to_quantize",
            fix="Choose fp16.",
            details={"nearest": {"target_format": "onnx", "precision": "fp16"}},
        )
    quantizer.model.topological_sort()
    # What stays in float is stored in less room; onnxruntime widens it when it loads the model, at no cost later.
    narrow_spared(made, recipe.spared)
    narrow_tables(made, spare)
    halve_weights(made)
    drop_unused_domains(made)
    write_model(made, target)
    return count


def limits_of(ranges: TensorsData) -> dict[str, tuple[float, float]]:
    """Return the calibrated range of each activation: low and high."""
    return {
        name: (float(np.min(data.range_value[0])), float(np.max(data.range_value[1])))
        for name, data in ranges.items()
        if data.range_value is not None
    }


def unmeasured(model: onnx.ModelProto, limits: Limits) -> list[str]:
    """Return the names of the nodes with activations of which no range is known, or which become infinite."""
    stored = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        read = node.input if node.op_type in READ_ALL else node.input[:1]
        if any(name and name not in limits and name not in stored for name in (*read, *node.output)):
            found.append(node.name)
    return found


def final_activations(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that turn scores into answers: integers there would flatten them."""
    wanted = {value.name for value in model.graph.output}
    found = []
    for node in reversed(model.graph.node):
        if not wanted & set(node.output):
            continue
        if node.op_type in {"Softmax", "LogSoftmax", "Sigmoid"}:
            found.append(node.name)
        elif node.op_type in MOVES_DATA:
            wanted.add(node.input[0])
    return found
