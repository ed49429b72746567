"""What must hold in an ONNX file before anything follows it: onnx and onnxruntime trust what they find."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.formats.onnx_tensors import size_bytes

#: Runtimes hang on graphs that are nested deeper.
MAX_DEPTH: Final = 16
#: No library has more axes.
MAX_RANK: Final = 64
#: Functions that call functions, unfolded as runtimes unfold them.
MAX_NODES: Final = 1_000_000
MAX_CALLS: Final = 64
#: Where onnxruntime takes an offset for an address of its own memory.
ADDRESS: Final = "_ORT_MEM_ADDR_"
_VALUE_TYPES: Final = frozenset(onnx.TensorProto.DataType.values())
_TYPES: Final = _VALUE_TYPES - {onnx.TensorProto.UNDEFINED}
_INSIDE: Final = "Save the model with its weights inside: onnx.save(model, path, save_as_external_data=False)."

_Functions = Mapping[tuple[str, str], onnx.FunctionProto]


def check_model(model: onnx.ModelProto, folder: Path) -> frozenset[str]:
    """Refuse what no honest file has; return the names of the other files of ``folder`` in which the model keeps weights.

    Raises
    ------
    UserInputError
        ``model_unreadable`` for names that are no text and tensors that are none; ``model_unsafe`` for graphs nested absurdly
        deep, functions that call themselves or unfold without end, and weights outside of ``folder``;
        ``external_data_missing``.
    """
    tensors: list[onnx.TensorProto] = []
    _walk(model, 0, tensors)
    for tensor in tensors:
        if len(tensor.dims) > MAX_RANK or any(axis < 0 for axis in tensor.dims) or tensor.data_type not in _TYPES:
            raise unreadable(
                f"The ONNX file is damaged: the tensor {tensor.name[:80]!r} has no shape or type that can be."
            )
    _check_functions(model)
    return _check_external_data(tensors, folder)


def unreadable(message: str) -> UserInputError:
    """Return the refusal of a damaged file."""
    return UserInputError(
        message,
        code="model_unreadable",
        fix="Export the model again, check it with onnx.checker, and upload the whole file.",
        field="file",
    )


def _unsafe(message: str, fix: str, **details: object) -> UserInputError:
    return UserInputError(message, code="model_unsafe", fix=fix, field="file", details=details)


def _walk(message: Any, depth: int, tensors: list[onnx.TensorProto]) -> None:
    """Look at everything in a message: collect the tensors, and hold names against being text."""
    if isinstance(message, onnx.GraphProto):
        depth += 1
        if depth > MAX_DEPTH:
            raise _unsafe(
                f"The model nests graphs more than {MAX_DEPTH} deep.", "Export the network without such nesting."
            )
    if isinstance(message, onnx.TensorProto):
        # Not field by field: that would copy the weights.
        tensors.append(message)
        _check_text([message.name, message.doc_string])
        for entry in message.external_data:
            _check_text([entry.key, entry.value])
        return
    if isinstance(message, onnx.TypeProto.Tensor) and message.elem_type not in _VALUE_TYPES:
        raise unreadable("The ONNX file is damaged: an input or output is of a type that ONNX does not have.")
    for field, value in message.ListFields():
        many = field.is_repeated
        if field.type == FieldDescriptor.TYPE_STRING:
            _check_text(value if many else [value])
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if many else [value]:
                _walk(item, depth, tensors)


def _check_text(values: Any) -> None:
    # What is no text is handed out as bytes.
    if not all(isinstance(value, str) for value in values):
        raise unreadable("The ONNX file is damaged: a name in it is no text.")


def _check_functions(model: onnx.ModelProto) -> None:
    functions = {(function.domain, function.name): function for function in model.functions}
    known: dict[tuple[str, str], int] = {}
    total = sum(_unfolded(node, functions, known, ()) for node in _nodes(model.graph))
    for key, function in functions.items():
        # Those that nobody calls are looked at by the libraries as well.
        total = max(total, sum(_unfolded(node, functions, known, (key,)) for node in _nodes(function)))
    if total > MAX_NODES:
        raise _unsafe(
            f"The functions of the model unfold to more than {MAX_NODES:,} operators.",
            "Export the network without functions that call functions.",
        )


def _unfolded(
    node: onnx.NodeProto, functions: _Functions, known: dict[tuple[str, str], int], above: tuple[tuple[str, str], ...]
) -> int:
    """Return how many operators a node stands for."""
    key = (node.domain, node.op_type)
    function = functions.get(key)
    if function is None:
        return 1
    if key in above or len(above) >= MAX_CALLS:
        raise _unsafe(
            f"The function {node.op_type[:80]!r} of the model calls itself, or functions are nested absurdly deep.",
            "Export the network without such functions.",
        )
    if key not in known:
        known[key] = sum(_unfolded(inner, functions, known, (*above, key)) for inner in _nodes(function))
    return known[key]


def _nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph or function, and those of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for inner in attribute.graphs:
                yield from _nodes(inner)


def _check_external_data(tensors: list[onnx.TensorProto], folder: Path) -> frozenset[str]:
    """Refuse paths that lead out of the model's folder and files that are not there; return which there are."""
    missing: set[str] = set()
    found: set[str] = set()
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        facts = {item.key: item.value for item in tensor.external_data}
        location = facts.get("location", "")
        path = PurePosixPath(location.replace("\\", "/"))
        outside = path.is_absolute() or ".." in path.parts or re.match(r"^[A-Za-z]:", location) or "\0" in location
        if outside or ADDRESS in location or _leads_out(folder / path, folder):
            raise _unsafe(
                f"The model asks for weights outside its own folder ({location[:80]!r}).",
                _INSIDE,
                location=location[:200],
            )
        if not location or not (folder / path).is_file() or _lies_beyond(folder / path, facts, tensor):
            missing.add(location[:200])
        found.add(path.as_posix())
    if missing:
        names = ", ".join(repr(name) for name in sorted(missing)[:5])
        raise UserInputError(
            f"The model keeps its weights in another file that is not there or is too short: {names}.",
            code="external_data_missing",
            fix=f"Put the .onnx and {names} into one .zip, as they lie beside each other, and upload that. Or save "
            "the model with its weights inside: onnx.save(model, path, save_as_external_data=False).",
            field="file",
            details={"missing": sorted(missing)[:20]},
        )
    return frozenset(found)


def _leads_out(target: Path, folder: Path) -> bool:
    """A link of either kind may be a file of somebody else."""
    try:
        linked = target.is_symlink() or (target.is_file() and target.stat().st_nlink > 1)
        return linked or not target.resolve().is_relative_to(folder.resolve())
    except OSError:
        # A name that is too long, for one: there is no such file.
        return False


def _lies_beyond(path: Path, facts: dict[str, str], tensor: onnx.TensorProto) -> bool:
    try:
        offset = int(facts.get("offset") or 0)
        length = int(facts.get("length") or size_bytes(tensor))
    except ValueError:
        return True
    return offset < 0 or length < 0 or offset + length > path.stat().st_size
