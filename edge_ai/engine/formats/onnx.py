"""ONNX files: reading them without trusting them, walking their graphs, writing them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.beside import data_of as data_of
from edge_ai.engine.formats.onnx_checks import check_model
from edge_ai.engine.formats.onnx_checks import unreadable as unreadable
from edge_ai.engine.formats.onnx_tensors import PACKED_BITS as PACKED_BITS
from edge_ai.engine.formats.onnx_tensors import dtype_name as dtype_name
from edge_ai.engine.formats.onnx_tensors import elements as elements
from edge_ai.engine.formats.onnx_tensors import size_bytes as size_bytes
from edge_ai.engine.spec import MAX_ONE_FILE_BYTES

DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
#: Weights this small stay in the model, and are read wherever they are: they may say something about shapes.
SMALL_BYTES: Final = 64 << 10
_PAGE: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A constant of a graph: an initializer, or the value of a Constant node."""

    name: str
    tensor: onnx.TensorProto
    graph: onnx.GraphProto
    from_node: bool

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return elements(self.tensor)

    @property
    def size_bytes(self) -> int:
        """What they take in the file, in bytes, apart from names and shape."""
        return size_bytes(self.tensor)

    @property
    def dtype(self) -> str:
        """Such as ``float32``."""
        return dtype_name(self.tensor.data_type)


#: Files that were found to be sound and whole: a job reads one of them many times, and looking takes as long as reading.
_CHECKED: Final[set[tuple[str, int, int, int]]] = set()


def read_model(path: Path) -> onnx.ModelProto:
    """Read a model, with weights that are kept in other files of its folder.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``external_data_missing``, ``model_unsafe``.
    """
    model, outside = _read(path)
    if outside:
        onnx.load_external_data_for_model(model, str(path.parent))
    return model


def read_graph(path: Path) -> tuple[onnx.ModelProto, frozenset[str]]:
    """Read a model without the large weights that it keeps in other files; returns their names as well.

    Raises
    ------
    UserInputError
        Those of :func:`read_model`.
    """
    model, outside = _read(path)
    if outside:
        _bring_in(model, path.parent, most=SMALL_BYTES)
    return model, outside


def _bring_in(model: onnx.ModelProto, folder: Path, *, most: int | None = None) -> None:
    """Read weights of at most ``most`` bytes that are kept in other files into the model."""
    for weight in weights(model):
        tensor = weight.tensor
        if tensor.data_location == onnx.TensorProto.EXTERNAL and (most is None or weight.size_bytes <= most):
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")


def _read(path: Path) -> tuple[onnx.ModelProto, frozenset[str]]:
    seen = _seen(path)
    try:
        model: onnx.ModelProto = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        raise unreadable("The ONNX file is damaged or was cut short: its contents end too early.") from None
    if not model.HasField("graph") or not model.graph.output:
        raise unreadable("The ONNX file holds no network: it has no graph with outputs.")
    if seen in _CHECKED:
        return model, frozenset()
    outside = check_model(model, path.parent)
    if not outside:
        _CHECKED.add(seen)
    return model, outside


def _seen(path: Path) -> tuple[str, int, int, int]:
    """Tell a file from what may stand under the same name later."""
    facts = path.stat()
    return str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns


def write_model(model: onnx.ModelProto, path: Path) -> int:
    """Write a model and return its size in bytes; what one file cannot hold, into another that :func:`data_of` names.

    Raises
    ------
    UnsupportedError
        ``resource_limit`` when what is left in it is larger than a protobuf can be.
    """
    outside = data_of(path)
    outside.unlink(missing_ok=True)
    if sum(weight.size_bytes for weight in weights(model)) > MAX_ONE_FILE_BYTES:
        _move_weights(model, outside)
        size = _write(model, path) + outside.stat().st_size
        # Whoever gave the model goes on with it.
        _bring_in(model, path.parent)
        return size
    return _write(model, path)


def _move_weights(model: onnx.ModelProto, target: Path) -> None:
    """Write the large weights of a model into a file, each from a page's beginning, and refer to them there."""
    with target.open("wb") as sink:
        for weight in weights(model):
            tensor = weight.tensor
            if weight.size_bytes <= SMALL_BYTES or tensor.data_type == onnx.TensorProto.STRING:
                continue
            if not tensor.HasField("raw_data"):
                whole = onnx.numpy_helper.from_array(np.asarray(onnx.numpy_helper.to_array(tensor)), tensor.name)
                tensor.CopyFrom(whole)
            sink.seek(-(-sink.tell() // _PAGE) * _PAGE)
            onnx.external_data_helper.set_external_data(
                tensor, target.name, offset=sink.tell(), length=len(tensor.raw_data)
            )
            sink.write(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL


def _write(model: onnx.ModelProto, path: Path) -> int:
    try:
        data = model.SerializeToString(deterministic=True)
    except (ValueError, EncodeError) as error:
        raise UnsupportedError(
            "The variant would be larger than 2 GB, which one ONNX file cannot hold.",
            code="resource_limit",
            fix="Use a smaller model.",
        ) from error
    path.write_bytes(data)
    return len(data)


def subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and every graph in the attributes of its nodes; :func:`read_model` has seen how deep they are nested."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from subgraphs(attribute.g)
            for inner in attribute.graphs:
                yield from subgraphs(inner)


def weights(model: onnx.ModelProto) -> Iterator[Weight]:
    """Yield every constant of a model, those of subgraphs too."""
    for graph in subgraphs(model.graph):
        for tensor in graph.initializer:
            yield Weight(name=tensor.name, tensor=tensor, graph=graph, from_node=False)
        for node in graph.node:
            tensor_value = constant_value(node)
            if tensor_value is not None:
                yield Weight(name=node.output[0], tensor=tensor_value, graph=graph, from_node=True)


def constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the tensor of a Constant node that holds one."""
    if node.op_type != "Constant" or node.domain not in DEFAULT_DOMAINS or len(node.output) != 1:
        return None
    for attribute in node.attribute:
        if attribute.name == "value":
            tensor: onnx.TensorProto = attribute.t
            return tensor
    return None


def shape_of(value: onnx.ValueInfoProto) -> list[int | str | None]:
    """Return a value's shape; a free dimension is its name, or ``None`` where it has none worth the word."""
    shape: list[int | str | None] = []
    for axis in value.type.tensor_type.shape.dim:
        if axis.WhichOneof("value") == "dim_value":
            shape.append(axis.dim_value if axis.dim_value > 0 else None)
        else:
            # Some exporters write "?" for every free dimension, which does not mean that they are equal.
            shape.append(axis.dim_param if re.search(r"\w", axis.dim_param) else None)
    return shape


def describe_value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Describe an input or output as an analysis does."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return {"name": value.name, "dtype": (kind or "unknown").removesuffix("_type"), "shape": None}
    has_shape = value.type.tensor_type.HasField("shape")
    return {
        "name": value.name,
        "dtype": dtype_name(value.type.tensor_type.elem_type),
        "shape": shape_of(value) if has_shape else None,
    }


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that somebody must feed: old exporters list the weights among them."""
    known = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in known]


def opset_of(model: onnx.ModelProto) -> int | None:
    """Return the version of the standard operators that a model uses."""
    return next((item.version for item in model.opset_import if item.domain in DEFAULT_DOMAINS), None)


def softmax_outputs(model: onnx.ModelProto) -> dict[str, int]:
    """Return the outputs of a model that a Softmax makes, with the axis that it goes over."""
    wanted = {value.name for value in model.graph.output}
    default = -1 if (opset_of(model) or 0) >= 13 else 1
    return {
        node.output[0]: next((item.i for item in node.attribute if item.name == "axis"), default)
        for node in model.graph.node
        if node.op_type == "Softmax" and node.output[0] in wanted
    }
