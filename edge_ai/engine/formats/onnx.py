"""ONNX files: reading them without trusting them, walking their graphs, writing them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_ai.engine.errors import UnsupportedError, UserInputError

#: Bits of an element, for types that NumPy lacks; the others are multiples of a byte.
PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})
MAX_DEPTH = 16


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


def read_model(path: Path) -> onnx.ModelProto:
    """Read a model, with weights that are kept in other files of its folder.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``external_data_missing``, ``model_unsafe``.
    """
    try:
        model: onnx.ModelProto = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError:
        raise unreadable("The ONNX file is damaged or was cut short: its contents end too early.") from None
    if not model.HasField("graph") or not model.graph.output:
        raise unreadable("The ONNX file holds no network: it has no graph with outputs.")
    if _check_external_data(model, path.parent):
        onnx.load_external_data_for_model(model, str(path.parent))
    return model


def write_model(model: onnx.ModelProto, path: Path) -> int:
    """Write a model into one file and return its size in bytes.

    Raises
    ------
    UnsupportedError
        ``resource_limit`` when it is larger than a protobuf can be.
    """
    try:
        data = model.SerializeToString(deterministic=True)
    except (ValueError, DecodeError) as error:
        raise UnsupportedError(
            "The variant would be larger than 2 GB, which one ONNX file cannot hold.",
            code="resource_limit",
            fix="Use a smaller model.",
        ) from error
    path.write_bytes(data)
    return len(data)


def unreadable(message: str) -> UserInputError:
    """Return the refusal of a damaged file."""
    return UserInputError(
        message,
        code="model_unreadable",
        fix="Export the model again, check it with onnx.checker, and upload the whole file.",
        field="file",
    )


def subgraphs(graph: onnx.GraphProto, depth: int = 0) -> Iterator[onnx.GraphProto]:
    """Yield a graph and every graph in the attributes of its nodes.

    Raises
    ------
    UserInputError
        ``model_unsafe`` when they are nested absurdly deep: runtimes hang on such files.
    """
    if depth > MAX_DEPTH:
        raise UserInputError(
            f"The model nests graphs more than {MAX_DEPTH} deep.",
            code="model_unsafe",
            fix="Export the network without such nesting.",
            field="file",
        )
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from subgraphs(attribute.g, depth + 1)
            elif attribute.type == onnx.AttributeProto.GRAPHS:
                for inner in attribute.graphs:
                    yield from subgraphs(inner, depth + 1)


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


def dtype_name(element_type: int) -> str:
    """Return the name of a tensor's type, such as ``float32``, ``int4`` or ``string``."""
    if element_type == onnx.TensorProto.STRING:
        return "string"
    name: str = onnx.TensorProto.DataType.Name(element_type)
    if name in PACKED_BITS or name.startswith("FLOAT8"):
        return name.lower()
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type)).name)
    except (KeyError, TypeError):
        return name.lower()


def elements(tensor: onnx.TensorProto) -> int:
    """Return how many elements a tensor has."""
    count = 1
    for axis in tensor.dims:
        count *= axis
    return count


def size_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes a tensor's elements take."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(len(value) for value in tensor.string_data)
    bits = PACKED_BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    if bits is None:
        bits = 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return (elements(tensor) * bits + 7) // 8


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


def _all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    functions = [node for function in model.functions for node in function.node]
    for graph in subgraphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _attribute_tensors(list(graph.node))
    yield from _attribute_tensors(functions)


def _attribute_tensors(nodes: list[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_external_data(model: onnx.ModelProto, folder: Path) -> bool:
    """Refuse paths that lead out of the model's folder and files that are not there; say whether there are any."""
    missing: set[str] = set()
    found = False
    for tensor in _all_tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        found = True
        facts = {item.key: item.value for item in tensor.external_data}
        location = facts.get("location", "")
        path = PurePosixPath(location.replace("\\", "/"))
        outside = path.is_absolute() or ".." in path.parts or re.match(r"^[A-Za-z]:", location) or "\0" in location
        target = folder / path
        if outside or target.is_symlink() or not target.resolve().is_relative_to(folder.resolve()):
            raise UserInputError(
                f"The model asks for weights outside its own folder ({location[:80]!r}).",
                code="model_unsafe",
                fix="Save the model with its weights inside: onnx.save(model, path, save_as_external_data=False).",
                field="file",
                details={"location": location[:200]},
            )
        if not location or not target.is_file() or _lies_beyond(target, facts, tensor):
            missing.add(location[:200])
    if missing:
        names = ", ".join(repr(name) for name in sorted(missing)[:5])
        raise UserInputError(
            f"The model keeps its weights in another file that is not there or is too short: {names}.",
            code="external_data_missing",
            fix="Save the model with its weights inside: onnx.save(model, path, save_as_external_data=False).",
            field="file",
            details={"missing": sorted(missing)[:20]},
        )
    return found


def _lies_beyond(path: Path, facts: dict[str, str], tensor: onnx.TensorProto) -> bool:
    try:
        offset = int(facts.get("offset") or 0)
        length = int(facts.get("length") or size_bytes(tensor))
    except ValueError:
        return True
    return offset < 0 or length < 0 or offset + length > path.stat().st_size


def softmax_outputs(model: onnx.ModelProto) -> dict[str, int]:
    """Return the outputs of a model that a Softmax makes, with the axis that it goes over."""
    wanted = {value.name for value in model.graph.output}
    default = -1 if (opset_of(model) or 0) >= 13 else 1
    return {
        node.output[0]: next((item.i for item in node.attribute if item.name == "axis"), default)
        for node in model.graph.node
        if node.op_type == "Softmax" and node.output[0] in wanted
    }
