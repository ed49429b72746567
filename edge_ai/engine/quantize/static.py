"""int8 static: QDQ with ranges measured on samples, in the settings that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edge_ai.engine.evaluate.dataset import Dataset
from edge_ai.engine.evaluate.task import Input, feed_sample, required_batch
from edge_ai.engine.quantize.prepare import opset_of

CORE_OPERATORS = ("Conv", "MatMul", "Gemm")
#: Layers that lose much and gain nothing.
LEFT_FLOAT = frozenset({"LayerNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization", "LogSoftmax"})
PER_CHANNEL_OPSET = 13
#: Histograms of the percentile method keep every activation of every sample in memory.
HISTOGRAM_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to quantize."""

    name: str
    method: str
    operators: tuple[str, ...] | None

    def describe(self) -> dict[str, Any]:
        """Return a JSON object for the recipe."""
        return asdict(self)


#: In the order in which they are tried: the quickest model first, then what rescues accuracy.
SETTINGS = (
    Setting(name="minmax", method="MinMax", operators=None),
    Setting(name="minmax, core operators", method="MinMax", operators=CORE_OPERATORS),
    Setting(name="percentile", method="Percentile", operators=None),
    Setting(name="percentile, core operators", method="Percentile", operators=CORE_OPERATORS),
)


class Feeds:
    """The calibration samples as onnxruntime asks for them: one inference's inputs after the other."""

    def __init__(self, inputs: Sequence[Input], dataset: Dataset, limit: int) -> None:
        self._inputs = inputs
        self._dataset = dataset
        self._batch = required_batch(inputs, dataset.inputs)
        self._limit = max(self._batch, min(limit, dataset.samples))
        self.rewind()

    def rewind(self) -> None:
        """Begin again."""
        self._feeds = self._walk()

    def _walk(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        for begin in range(0, self._limit - self._batch + 1, self._batch):
            yield feed_sample(self._inputs, self._dataset.inputs, list(range(begin, begin + self._batch)))

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """Return the next inference's inputs, or None."""
        return next(self._feeds, None)


def to_int8_static(
    source: Path,
    target: Path,
    setting: Setting,
    *,
    inputs: Sequence[Input],
    calibration: Dataset,
) -> int:
    """Write the prepared model in int8 QDQ: uint8 activations, int8 weights per channel.

    Parameters
    ----------
    source
        A prepared model (see :func:`edge_ai.engine.quantize.prepare.prepare`).
    setting
        How to quantize.
    inputs
        What the model takes.
    calibration
        Samples to measure the ranges on.

    Returns
    -------
    int
        How many samples the ranges were measured on.
    """
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    model = onnx.load_model(source)
    limit = calibration.samples
    if setting.method == "Percentile":
        limit = max(8, min(limit, HISTOGRAM_BYTES // max(1, _activation_bytes(model))))
    feeds = Feeds(inputs, calibration, limit)

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no type information
        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            return feeds.get_next()

        def rewind(self) -> None:
            feeds.rewind()

    extra: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
    if setting.method == "Percentile":
        extra["CalibPercentile"] = 99.99
    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=opset_of(model) >= PER_CHANNEL_OPSET,
        op_types_to_quantize=list(setting.operators) if setting.operators else None,
        nodes_to_exclude=_left_float(model),
        calibrate_method=CalibrationMethod[setting.method],
        extra_options=extra,
    )
    return limit


def _left_float(model: onnx.ModelProto) -> list[str]:
    """Name the nodes that stay in float: normalizations, and the Softmax that makes an output. Nameless ones get a name."""
    outputs = {item.name for item in model.graph.output}
    return [
        node.name
        for node in model.graph.node
        if node.name and (node.op_type in LEFT_FLOAT or (node.op_type == "Softmax" and node.output[0] in outputs))
    ]


def _activation_bytes(model: onnx.ModelProto) -> int:
    """Estimate how many bytes the float activations of one inference have; free axes count as 64."""
    total = 0
    for item in model.graph.value_info:
        dims = item.type.tensor_type.shape.dim
        total += 4 * int(np.prod([dim.dim_value or (1 if axis == 0 else 64) for axis, dim in enumerate(dims)], dtype=np.int64))
    return total
