"""The layers of an ONNX network, quantized or not: which tensors they answer, what they compute in, where that changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edge_ai.engine.formats.onnx import constant_value, dtype_name

QUANTIZE: Final = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})
DEQUANTIZE: Final = frozenset({"DequantizeLinear"})
CORE: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Attention"})
#: Operators that compute in integers by themselves, and the type of their products' left side where nothing else tells.
IN_INTEGERS: Final[Mapping[str, str]] = {
    "ConvInteger": "Conv",
    "QLinearConv": "Conv",
    "MatMulInteger": "MatMul",
    "QLinearMatMul": "MatMul",
    "QGemm": "Gemm",
    "DynamicQuantizeMatMul": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeLSTM": "LSTM",
    "QAttention": "Attention",
    "QLinearAdd": "Add",
    "QLinearMul": "Mul",
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearAveragePool": "AveragePool",
    "QLinearConcat": "Concat",
    "QLinearSoftmax": "Softmax",
}
#: Those of them that answer whole numbers, which are cast, scaled and given their bias behind them.
PRODUCTS: Final = frozenset({"ConvInteger", "MatMulInteger"})
#: What is folded into the layer before it, by runtimes or by quantizers.
FOLDED: Final = frozenset({"BatchNormalization", "Relu", "Clip", "LeakyRelu", "Identity"})
#: What computes nothing of the network's own.
PLUMBING: Final = (
    frozenset({"Constant", "Shape", "ConstantOfShape", "Range", "Identity", "Cast"}) | QUANTIZE | DEQUANTIZE
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the integers of a tensor stand for.

    Parameters
    ----------
    scale, zero_point
        One number, or one for each channel along ``axis``.
    dtype
        Such as ``uint8``.
    """

    scale: Array
    zero_point: Array
    dtype: str
    axis: int = 1

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest real number that a tensor with one scale holds."""
        limits = np.iinfo(self.dtype)
        zero, step = float(self.zero_point.flat[0]), float(self.scale.flat[0])
        return (limits.min - zero) * step, (limits.max - zero) * step


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of the network.

    Parameters
    ----------
    tensors
        What it answers, and what the operators that are folded into it answer after one another.
    precision
        What it reads: ``uint8``, ``int8``, ``float32``, … or ``int8 weights`` for float activations.
    """

    name: str
    type: str
    tensors: tuple[str, ...]
    precision: str

    @property
    def in_integers(self) -> bool:
        """It is said to compute in integers."""
        return self.precision.startswith(("int", "uint")) and not self.precision.endswith("weights")


class Graph:
    """An ONNX network to be looked at; its nodes all have names of their own."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.named = {node.name for node in model.graph.node if node.name}
        name_nodes(model)
        self.nodes: Sequence[onnx.NodeProto] = list(model.graph.node)
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            tensor = constant_value(node)
            if tensor is not None:
                self.stored[node.output[0]] = tensor
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in model.graph.output}

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, in the order in which they are computed."""
        found: list[Layer] = []
        folded: set[str] = set()
        constant = self._constants
        for node in self.nodes:
            if node.op_type in PLUMBING or node.name in folded or not node.output or node.output[0] in constant:
                continue
            if node.input and all(name in self._scales or name in constant for name in node.input):
                continue
            tensors = [node.output[0]]
            while (after := self._folds(node, tensors[-1])) is not None:
                folded.add(after.name)
                tensors.append(after.output[0])
            found.append(
                Layer(
                    name=node.name,
                    type=IN_INTEGERS.get(node.op_type, node.op_type),
                    tensors=tuple(tensors),
                    precision=self.precision_of(node),
                )
            )
        return tuple(found)

    def precision_of(self, node: onnx.NodeProto) -> str:
        """Return what a node reads, as its file says."""
        if node.op_type in IN_INTEGERS:
            for name in node.input:
                maker = self.producer.get(name)
                if maker is not None and maker.op_type == "DynamicQuantizeLinear":
                    return "uint8"
                kind = self._integer_type(name)
                if kind is not None:
                    return kind
            return "int8"
        activations = [name for name in node.input if name and name not in self._constants]
        kinds = [self.scale_of(name) for name in activations]
        if kinds and kinds[0] is not None and (node.op_type in CORE or self._rounded(node.output[0])):
            return kinds[0].dtype
        for name in node.input:
            maker = self.producer.get(name)
            if name in self._constants and maker is not None and maker.op_type in DEQUANTIZE:
                return f"{self._stored_type(maker.input[0]) or 'int8'} weights"
        halves = [name for name in node.input if self._stored_type(name) == "float16"]
        return "float16" if halves else "float32"

    def scale_of(self, name: str) -> Scale | None:
        """Return the scale of a tensor that comes out of a DequantizeLinear; ``None`` for others, and for unknown scales."""
        maker = self.producer.get(name)
        if maker is None or maker.op_type not in DEQUANTIZE or len(maker.input) < 2:
            return None
        scale = self.stored.get(maker.input[1])
        if scale is None:
            return None
        zero = self.stored.get(maker.input[2]) if len(maker.input) > 2 else None
        dtype = self._stored_type(maker.input[2]) if zero is not None else self._stored_type(maker.input[0])
        if dtype is None or not dtype.startswith(("int", "uint")) or dtype in {"int4", "uint4"}:
            return None
        values = numpy_helper.to_array(scale).astype(np.float64)
        zeros = np.zeros_like(values) if zero is None else numpy_helper.to_array(zero).astype(np.float64)
        axis = next((item.i for item in maker.attribute if item.name == "axis"), 1)
        return Scale(scale=values, zero_point=zeros, dtype=dtype, axis=axis)

    def flowing(self, name: str) -> str | None:
        """Return the tensor that carries a value on: behind its quantization where it has one; ``None`` where it is not.

        Parameters
        ----------
        name
            What the float network calls it; quantizers put another name before or behind it.
        """
        for spelled in (name, f"{name}_QuantizeLinear_Input"):
            if spelled not in self.producer:
                continue
            for reader in self.readers.get(spelled, []):
                if reader.op_type == "QuantizeLinear":
                    for last in self.readers.get(reader.output[0], []):
                        if last.op_type in DEQUANTIZE:
                            return str(last.output[0])
            return spelled
        rounded = f"{name}_DequantizeLinear_Output"
        return rounded if rounded in self.producer else None

    def transitions(self) -> Iterator[tuple[str, str]]:
        """Yield each place where activations become integers or floats: the tensor, and ``quantize`` or ``dequantize``.

        A pair of both between two layers in integers changes nothing: runtimes compute through it.
        """
        integers = {layer.name for layer in self.layers if layer.in_integers}
        by_tensor = {tensor: layer.name for layer in self.layers for tensor in layer.tensors}
        for node in self.nodes:
            if node.op_type != "QuantizeLinear":
                continue
            source = by_tensor.get(node.input[0])
            readers = [
                reader
                for last in self.readers.get(node.output[0], [])
                if last.op_type in DEQUANTIZE
                for reader in self.readers.get(last.output[0], [])
            ]
            if source not in integers and any(reader.name in integers for reader in readers):
                yield node.input[0], "quantize"
            if source in integers and (
                any(reader.name not in integers and reader.op_type not in QUANTIZE for reader in readers)
                or any(last.output[0] in self.outputs for last in self.readers.get(node.output[0], []))
            ):
                yield node.input[0], "dequantize"

    def islands(self) -> list[list[Layer]]:
        """Return the stretches of layers in float that lie between layers in integers, and send activations back and forth."""
        layers = {layer.name: layer for layer in self.layers}
        by_tensor = {tensor: layer.name for layer in self.layers for tensor in layer.tensors}
        before: dict[str, set[str]] = {name: set() for name in layers}
        after: dict[str, set[str]] = {name: set() for name in layers}
        for node in self.nodes:
            if node.name not in layers:
                continue
            for name in node.input:
                source = by_tensor.get(self.undone(name))
                if source is not None and source != node.name:
                    before[node.name].add(source)
                    after[source].add(node.name)
        found: list[list[Layer]] = []
        seen: set[str] = set()
        for layer in self.layers:
            if layer.in_integers or layer.name in seen:
                continue
            members, edges, todo = [], [False, False], [layer.name]
            seen.add(layer.name)
            while todo:
                name = todo.pop()
                members.append(layers[name])
                for side, neighbours in enumerate((before[name], after[name])):
                    for other in neighbours:
                        if layers[other].in_integers:
                            edges[side] = True
                        elif other not in seen:
                            seen.add(other)
                            todo.append(other)
            if all(edges):
                order = {one.name: place for place, one in enumerate(self.layers)}
                found.append(sorted(members, key=lambda one: order[one.name]))
        return found

    @cached_property
    def _constants(self) -> frozenset[str]:
        """What no input of the network decides: weights, and what is computed from them alone."""
        known = set(self.stored)
        for node in self.nodes:
            if node.input and all(not name or name in known for name in node.input):
                known.update(node.output)
        return frozenset(known)

    @cached_property
    def _scales(self) -> frozenset[str]:
        """The scales and zeros that are found while the network runs, and what is computed from them and weights alone."""
        known = {name for node in self.nodes if node.op_type == "DynamicQuantizeLinear" for name in node.output[1:]}
        for node in self.nodes:
            if node.input and all(name in known or name in self._constants for name in node.input):
                known.update(node.output)
        return frozenset(known)

    def _folds(self, layer: onnx.NodeProto, tensor: str) -> onnx.NodeProto | None:
        """Return the operator that is folded into the layer that answers a tensor."""
        readers = self.readers.get(tensor, [])
        if tensor in self.outputs or len(readers) != 1:
            return None
        reader = readers[0]
        if layer.op_type in PRODUCTS and reader.op_type in {"Cast", "Mul", "Add"}:
            # Products of integers become real numbers again.
            return reader
        if reader.op_type == "Add" and layer.op_type in CORE:
            # A bias.
            return reader if any(name in self._constants for name in reader.input if name != tensor) else None
        return reader if reader.op_type in FOLDED and reader.input[0] == tensor else None

    def _rounded(self, tensor: str) -> bool:
        """Tell whether a tensor becomes integers, as that of an operator has to that is to compute in them."""
        readers = self.readers.get(tensor, [])
        return bool(readers) and all(reader.op_type == "QuantizeLinear" for reader in readers)

    def undone(self, name: str) -> str:
        """Return the tensor before a quantization and its undoing."""
        for kinds in (DEQUANTIZE, QUANTIZE):
            maker = self.producer.get(name)
            if maker is not None and maker.op_type in kinds:
                name = maker.input[0]
        return name

    def _integer_type(self, name: str) -> str | None:
        maker = self.producer.get(name)
        if maker is not None and maker.op_type == "QuantizeLinear" and len(maker.input) > 2:
            return self._stored_type(maker.input[2])
        return None

    def _stored_type(self, name: str) -> str | None:
        tensor = self.stored.get(name)
        return None if tensor is None else dtype_name(tensor.data_type)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each node of the main graph a name of its own, in place, so that its time can be told from the others'."""
    taken: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            first = node.output[0] if node.output else str(place)
            node.name = f"{node.op_type}:{first}"
        taken.add(node.name)
