"""Static int8 for ONNX: weights and activations as integers (QDQ), with ranges measured on samples."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edge_ai.engine.convert.onnx_prepare import drop_unused_domains
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.evaluate.parity import Feed
from edge_ai.engine.formats.onnx import read_model, write_model
from edge_ai.engine.measure.session import explained
from edge_ai.engine.quantize.fp16 import halve_weights

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
PERCENTILE = 99.99
#: A histogram keeps the activations of a chunk of samples in memory at once.
HISTOGRAM_CHUNK = 4
HISTOGRAM_SAMPLES = 50
FIRST_OPSET_PER_CHANNEL = 13


class Calibration(StrEnum):
    """How the range of an activation follows from the samples."""

    MIN_MAX = "minmax"
    PERCENTILE = "percentile"


@dataclass(frozen=True, kw_only=True)
class StaticRecipe:
    """One way to do it."""

    name: str
    calibration: Calibration
    operators: tuple[str, ...]


#: In the order in which they are tried.
RECIPES = (
    StaticRecipe(name="MinMax", calibration=Calibration.MIN_MAX, operators=ALL_OPERATORS),
    StaticRecipe(name="MinMax, only Conv, MatMul and Gemm", calibration=Calibration.MIN_MAX, operators=CORE_OPERATORS),
    StaticRecipe(name="Percentile 99.99", calibration=Calibration.PERCENTILE, operators=ALL_OPERATORS),
    StaticRecipe(
        name="Percentile 99.99, only Conv, MatMul and Gemm",
        calibration=Calibration.PERCENTILE,
        operators=CORE_OPERATORS,
    ),
)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands samples to onnxruntime's calibration one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        """Return the next sample, or ``None`` after the last."""
        return next(self._feeds, None)


def calibrate(prepared: Path, feeds: Sequence[Feed], calibration: Calibration, workdir: Path) -> TensorsData:
    """Measure the range of every activation.

    Parameters
    ----------
    prepared
        The graph that will be quantized.
    feeds
        The samples.
    workdir
        Where a temporary model is written.
    """
    augmented = workdir / "calibrate.onnx"
    percentile = calibration is Calibration.PERCENTILE
    options: dict[str, Any] = {"symmetric": False}
    if percentile:
        options["percentile"] = PERCENTILE
        feeds = feeds[:HISTOGRAM_SAMPLES]
    chunk = HISTOGRAM_CHUNK if percentile else max(1, len(feeds))
    # onnxruntime prints as it goes along.
    with (
        contextlib.redirect_stdout(io.StringIO()),
        explained("run", {"model_path": str(prepared), "input": "dataset"}),
    ):
        calibrator = create_calibrator(
            str(prepared),
            list(ALL_OPERATORS),
            augmented_model_path=str(augmented),
            calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
            extra_options=options,
        )
        for begin in range(0, len(feeds), chunk):
            calibrator.collect_data(_Reader(feeds[begin : begin + chunk]))
        ranges: TensorsData = calibrator.compute_data()
    augmented.unlink(missing_ok=True)
    return ranges


def quantize_statically(prepared: Path, target: Path, recipe: StaticRecipe, ranges: TensorsData) -> int:
    """Write the quantized variant of a prepared graph.

    Activations are uint8, weights int8 with a scale for each channel: the fastest combination on processors with VNNI, and
    the most exact one on all.

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
    per_channel = any(
        item.domain in {"", "ai.onnx"} and item.version >= FIRST_OPSET_PER_CHANNEL for item in model.opset_import
    )
    quantizer = QDQQuantizer(
        model,
        per_channel,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        ranges,
        [],
        final_activations(model),
        list(recipe.operators),
        {"ActivationSymmetric": False, "WeightSymmetric": True, "MinimumRealRange": 1e-4},
    )
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
    # What stays in float is stored in half the room; onnxruntime widens it when it loads the model, at no cost later.
    halve_weights(made)
    drop_unused_domains(made)
    write_model(made, target)
    return count


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
