"""What one operator has to do, from its type and the shapes of its tensors. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Final

Shape = tuple[int, ...]

#: Bytes of one value, by the names that ONNX Runtime's profile has for types. Texts have no fixed size.
ITEM_BYTES: Final[Mapping[str, float]] = {
    "float": 4,
    "double": 8,
    "float16": 2,
    "bfloat16": 2,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "bool": 1,
    "int4x2": 0.5,
    "uint4x2": 0.5,
}


class OperatorClass(StrEnum):
    """Operators that use the machine alike: one efficiency and one dispatch cost each."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise"
    MATRIX = "matrix"
    RECURRENT = "recurrent"
    INT8_CONVOLUTION = "int8_convolution"
    INT8_DEPTHWISE = "int8_depthwise"
    INT8_NARROW = "int8_narrow"
    INT8_MATRIX = "int8_matrix"
    QUANTIZE = "quantize"
    MATH = "math"
    REDUCTION = "reduction"
    ELEMENTWISE = "elementwise"
    MOVEMENT = "movement"
    VIEW = "view"
    OTHER = "other"


#: Multiply-accumulates count; their peak is the device's.
MULTIPLYING: Final = frozenset(
    {
        OperatorClass.CONVOLUTION,
        OperatorClass.DEPTHWISE,
        OperatorClass.MATRIX,
        OperatorClass.RECURRENT,
        OperatorClass.INT8_CONVOLUTION,
        OperatorClass.INT8_DEPTHWISE,
        OperatorClass.INT8_NARROW,
        OperatorClass.INT8_MATRIX,
    }
)
#: Held against the peak for int8.
INTEGER: Final = frozenset({OperatorClass.INT8_CONVOLUTION, OperatorClass.INT8_DEPTHWISE, OperatorClass.INT8_MATRIX})
#: Output channels that convolutions compute at a time.
LANES: Final = 16
#: Neither computes nor copies: the dispatch is all.
FREE: Final = frozenset({OperatorClass.VIEW})


@dataclass(frozen=True, kw_only=True)
class TensorShape:
    """A tensor as the runtime saw it: its type in the words of ONNX Runtime's profile, and its shape."""

    dtype: str
    shape: Shape

    @property
    def elements(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> float:
        """What it takes in memory; texts count as pointers."""
        return self.elements * ITEM_BYTES.get(self.dtype, 8)


@dataclass(frozen=True, kw_only=True)
class OperatorWork:
    """What one operator does in one inference.

    Parameters
    ----------
    flops
        Operations of one call: a multiplication and an addition are two; of operators that multiply no matrices, one for
        each value that is made or read, whichever are more.
    size_bytes
        Bytes of all inputs, weights included, and of all outputs: each is moved once.
    calls
        How often it runs in one inference; in a loop more than once.
    fill
        Which part of the vector lanes has something to do: a convolution to few channels leaves the others empty.
    """

    name: str
    type: str
    operator_class: OperatorClass
    flops: float
    size_bytes: float
    calls: float = 1.0
    fill: float = 1.0


def work_of(
    name: str, type: str, inputs: Sequence[TensorShape], outputs: Sequence[TensorShape], *, calls: float = 1.0
) -> OperatorWork:
    """Return what an operator does.

    Parameters
    ----------
    type
        The operator's type, such as ``Conv``; those that ONNX Runtime puts in the place of others are known too.
    inputs, outputs
        In the operator's own order; weights are inputs.
    """
    kind = _class_of(type, inputs)
    elements = max([tensor.elements for tensor in (*inputs, *outputs)], default=0)
    macs = _macs(type, inputs, outputs) if kind in MULTIPLYING else None
    return OperatorWork(
        name=name,
        type=type,
        operator_class=kind if kind not in MULTIPLYING or macs is not None else OperatorClass.OTHER,
        flops=float(elements if macs is None else 2 * macs),
        size_bytes=0.0 if kind in FREE else float(sum(tensor.size_bytes for tensor in (*inputs, *outputs))),
        calls=calls,
        fill=_fill(type, kind, inputs),
    )


def _class_of(type: str, inputs: Sequence[TensorShape]) -> OperatorClass:
    if type in _WEIGHT_PLACE:
        weight = _shape(inputs, _WEIGHT_PLACE[type])
        integer = type in {"QLinearConv", "ConvInteger"}
        # One input channel for each output: hardly any value is used twice. ONNX Runtime has integers with channels last.
        data = _shape(inputs, 0) or ()
        if (
            weight is not None
            and len(weight) > 2
            and weight[1] == 1 < weight[0]
            and weight[0] in {*data[1:2], *data[-1:]}
        ):
            return OperatorClass.INT8_DEPTHWISE if integer else OperatorClass.DEPTHWISE
        if integer and weight is not None and weight[0] < LANES:
            return OperatorClass.INT8_NARROW
        return OperatorClass.INT8_CONVOLUTION if integer else OperatorClass.CONVOLUTION
    return _CLASSES.get(type, OperatorClass.OTHER)


def _fill(type: str, kind: OperatorClass, inputs: Sequence[TensorShape]) -> float:
    if kind not in {OperatorClass.CONVOLUTION, OperatorClass.INT8_NARROW} or type == "ConvTranspose":
        return 1.0
    weight = _shape(inputs, _WEIGHT_PLACE[type])
    return min(1.0, weight[0] / LANES) if weight else 1.0


def _macs(type: str, inputs: Sequence[TensorShape], outputs: Sequence[TensorShape]) -> int | None:
    """Return the multiply-accumulates of a call; ``None`` where the shapes do not tell."""
    try:
        if type == "ConvTranspose":
            return inputs[0].elements * prod(inputs[1].shape[1:])
        if type in _WEIGHT_PLACE:
            return outputs[0].elements * prod(inputs[_WEIGHT_PLACE[type]].shape[1:])
        if type in {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}:
            # Every weight meets each step of each sample once.
            steps = prod(inputs[0].shape[:2])
            return steps * (inputs[1].elements + inputs[2].elements)
        if type in {"Attention", "QAttention"}:
            batch, length, _ = inputs[0].shape
            wide, projected = inputs[1].shape
            return batch * length * wide * projected + 2 * batch * length * length * projected // 3
        if type == "MultiHeadAttention":
            batch, length, hidden = inputs[0].shape
            return 2 * batch * length * inputs[1].shape[1] * hidden
        if type in {"Gemm", "FusedGemm", "QGemm"}:
            # What both matrices have in common is what the output has not of the left one, whichever is turned.
            return outputs[0].elements * (inputs[0].elements // outputs[0].shape[0])
        return outputs[0].elements * inputs[0].shape[-1]
    except (IndexError, ValueError, ZeroDivisionError):
        return None


def _shape(tensors: Sequence[TensorShape], place: int) -> Shape | None:
    return tensors[place].shape if place < len(tensors) else None


_WEIGHT_PLACE: Final[Mapping[str, int]] = {
    "Conv": 1,
    "FusedConv": 1,
    "NhwcFusedConv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "DeformConv": 1,
    "QLinearConv": 3,
}
_OF_CLASS: Final[Mapping[OperatorClass, str]] = {
    OperatorClass.MATRIX: "MatMul FusedMatMul Gemm FusedGemm MatMulNBits Attention MultiHeadAttention",
    OperatorClass.RECURRENT: "LSTM GRU RNN DynamicQuantizeLSTM",
    OperatorClass.INT8_MATRIX: "QLinearMatMul MatMulInteger MatMulIntegerToFloat DynamicQuantizeMatMul QGemm QAttention",
    OperatorClass.QUANTIZE: "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    OperatorClass.MATH: (
        "Erf Exp Log Tanh Sigmoid Softmax LogSoftmax Gelu FastGelu QuickGelu BiasGelu HardSigmoid HardSwish Softplus Pow "
        "Sqrt Sin Cos Elu Selu Mish QLinearSigmoid QLinearSoftmax QLinearLeakyRelu"
    ),
    OperatorClass.REDUCTION: (
        "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp ArgMax ArgMin "
        "TopK LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization InstanceNormalization "
        "GroupNormalization BatchNormalization LRN LpNormalization MeanVarianceNormalization CumSum MaxPool AveragePool "
        "GlobalAveragePool GlobalMaxPool LpPool QLinearAveragePool QLinearGlobalAveragePool NhwcMaxPool"
    ),
    OperatorClass.ELEMENTWISE: (
        "Add Sub Mul Div Max Min Sum Mean Relu LeakyRelu PRelu Clip Abs Neg Sign Floor Ceil Round Reciprocal Where Equal "
        "Greater Less GreaterOrEqual LessOrEqual And Or Not Xor Mod QLinearAdd QLinearMul IsNaN IsInf"
    ),
    OperatorClass.MOVEMENT: (
        "Transpose Concat QLinearConcat Split Slice Gather GatherND GatherElements ScatterND ScatterElements Pad Tile Expand "
        "Resize Upsample ReorderInput ReorderOutput Cast DepthToSpace SpaceToDepth OneHot ConstantOfShape Range "
        "EmbedLayerNormalization ReverseSequence Trilu"
    ),
    OperatorClass.VIEW: "Reshape Squeeze Unsqueeze Flatten Identity Shape Size Constant Dropout",
}
_CLASSES: Final[Mapping[str, OperatorClass]] = {
    name: kind for kind, names in _OF_CLASS.items() for name in names.split()
}
