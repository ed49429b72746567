"""Joining equal weights: what is stored several times is stored once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_ai.engine.compress.base import (
    FLOATS,
    Applied,
    defined,
    inner_graphs,
    ready,
    replace_initializers,
    replace_nodes,
)
from edge_ai.engine.formats.onnx import elements, size_bytes, subgraphs

MIN_TRANSPOSED: Final = 1024
"""Elements from which a Transpose takes less room than a second weight."""

MIN_SHARED_BYTES: Final = 64
"""What weights of different graphs must have to be joined: the small ones are often shapes, and best left where they are."""

_Key = tuple[int, tuple[int, ...], bytes]


def apply(model: onnx.ModelProto, *, transposed: bool = False) -> Applied:
    """Store weights that are equal to the last bit only once, and drop those that nothing reads.

    Weights are equal when type, shape and bytes are. Graphs inside others use what is outside of them; weights of several
    inner graphs that do not see each other move to the outermost one.

    Parameters
    ----------
    model
        It is changed.
    transposed
        Also replace a matrix that is another one's transpose, as where an embedding is tied to the last layer, by a Transpose
        of that one, which runtimes compute when they load the model. Quantizers would no longer see it as a weight.
    """
    ready(model)
    before = _bytes(model)
    unused = _drop_unused(model)
    graphs = list(subgraphs(model.graph))
    hoisted = _hoist(graphs, _movable(graphs))
    counts = Counter(name for graph in graphs for name in defined(graph))
    joined = _join(model.graph, {}, _movable(graphs), counts)
    turned = _join_transposed(model.graph) if transposed else 0
    done = {
        "joined": joined,
        "moved_out": hoisted,
        "transposes_joined": turned,
        "unused_dropped": unused,
        "weight_bytes_saved": before - _bytes(model),
    }
    note = "" if joined or turned or unused else "No two weights of the model are equal, and all are used."
    return Applied(step="deduplicate", model=model, settings={"transposed": transposed}, done=done, note=note)


def _bytes(model: onnx.ModelProto) -> int:
    return sum(size_bytes(tensor) for graph in subgraphs(model.graph) for tensor in graph.initializer)


def _read_names(model: onnx.ModelProto) -> set[str]:
    graphs = list(subgraphs(model.graph))
    names = {name for graph in graphs for node in graph.node for name in node.input}
    names |= {value.name for graph in graphs for value in graph.output}
    return names | _annotated(graphs)


def _annotated(graphs: Sequence[onnx.GraphProto]) -> set[str]:
    """Return names that tables beside the graphs refer to."""
    return {
        name
        for graph in graphs
        for item in graph.quantization_annotation
        for name in (item.tensor_name, *(pair.value for pair in item.quant_parameter_tensor_names))
    }


def _drop_unused(model: onnx.ModelProto) -> int:
    read = _read_names(model)
    dropped = 0
    for graph in subgraphs(model.graph):
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        dropped += len(graph.initializer) - len(kept)
        if len(kept) != len(graph.initializer):
            replace_initializers(graph, kept)
    return dropped


def _movable(graphs: Sequence[onnx.GraphProto]) -> Mapping[int, dict[str, _Key]]:
    """Return by graph the weights that may be joined, with what makes them equal; only those that could have a double."""
    kept = _annotated(graphs)
    sized: defaultdict[tuple[int, tuple[int, ...]], list[tuple[int, onnx.TensorProto]]] = defaultdict(list)
    for graph in graphs:
        outputs = {value.name for value in graph.output}
        for tensor in graph.initializer:
            if tensor.name not in outputs and tensor.name not in kept:
                sized[tensor.data_type, tuple(tensor.dims)].append((id(graph), tensor))
    found: defaultdict[int, dict[str, _Key]] = defaultdict(dict)
    for (kind, shape), members in sized.items():
        if len(members) > 1:
            for place, tensor in members:
                found[place][tensor.name] = (kind, shape, _digest(tensor))
    return found


def _digest(tensor: onnx.TensorProto) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    if tensor.data_type == onnx.TensorProto.STRING:
        for text in tensor.string_data:
            digest.update(len(text).to_bytes(8, "little"))
            digest.update(text)
    elif tensor.HasField("raw_data"):
        digest.update(tensor.raw_data)
    else:
        digest.update(np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes())
    return digest.digest()


def _hoist(graphs: Sequence[onnx.GraphProto], movable: Mapping[int, Mapping[str, _Key]]) -> int:
    """Move to the outermost graph, the first, one copy of each weight that several inner graphs hold."""
    main, *inner = graphs
    holders = Counter(key for graph in inner for key in set(movable.get(id(graph), {}).values()))
    there = set(movable.get(id(main), {}).values())
    names = {name for graph in graphs for name in defined(graph)}
    moved = 0
    for graph in inner:
        for tensor in graph.initializer:
            key = movable.get(id(graph), {}).get(tensor.name)
            if key is None or holders[key] < 2 or key in there or size_bytes(tensor) < MIN_SHARED_BYTES:
                continue
            there.add(key)
            copy = main.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = f"shared::{moved}"
            while copy.name in names:
                copy.name += "_"
            names.add(copy.name)
            moved += 1
    return moved


def _join(
    graph: onnx.GraphProto, outside: Mapping[_Key, str], movable: Mapping[int, Mapping[str, _Key]], counts: Counter[str]
) -> int:
    """Join the weights of a graph with each other and with those outside; returns how many went."""
    visible = dict(outside)
    renamed: dict[str, str] = {}
    keys = movable.get(id(graph), {})
    for tensor in graph.initializer:
        key = keys.get(tensor.name)
        if key is None:
            continue
        if key in visible and (key not in outside or size_bytes(tensor) >= MIN_SHARED_BYTES):
            renamed[tensor.name] = visible[key]
        elif counts[tensor.name] == 1:
            # A name that means something else elsewhere might not be seen from there.
            visible[key] = tensor.name
    if renamed:
        _rename_reads(graph, renamed)
        replace_initializers(graph, [tensor for tensor in graph.initializer if tensor.name not in renamed])
    return len(renamed) + sum(
        _join(inner, visible, movable, counts) for node in graph.node for inner in inner_graphs(node)
    )


def _rename_reads(graph: onnx.GraphProto, renamed: Mapping[str, str]) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in renamed:
                node.input[place] = renamed[name]
        for inner in inner_graphs(node):
            own = set(defined(inner))
            _rename_reads(inner, {old: new for old, new in renamed.items() if old not in own})


def _join_transposed(graph: onnx.GraphProto) -> int:
    """Replace matrices that are transposes of others in the same graph by Transpose nodes."""
    outputs = {value.name for value in graph.output}
    shapes: defaultdict[tuple[int, tuple[int, ...]], list[onnx.TensorProto]] = defaultdict(list)
    replaced: dict[str, str] = {}
    for tensor in graph.initializer:
        right = tensor.data_type in FLOATS and len(tensor.dims) == 2 and elements(tensor) >= MIN_TRANSPOSED
        if not right or tensor.name in outputs:
            continue
        turned = (tensor.data_type, (tensor.dims[1], tensor.dims[0]))
        other = next((item for item in shapes[turned] if _is_transpose(tensor, item)), None)
        if other is None:
            shapes[tensor.data_type, (tensor.dims[0], tensor.dims[1])].append(tensor)
        else:
            replaced[tensor.name] = other.name
    if replaced:
        nodes = [
            helper.make_node("Transpose", [first], [name], name=f"{name}::transpose", perm=[1, 0])
            for name, first in replaced.items()
        ]
        replace_initializers(graph, _without(graph.initializer, replaced))
        replace_nodes(graph, [*nodes, *graph.node])
    return len(replaced)


def _without(tensors: Iterable[onnx.TensorProto], names: Mapping[str, Any]) -> list[onnx.TensorProto]:
    return [tensor for tensor in tensors if tensor.name not in names]


def _is_transpose(one: onnx.TensorProto, other: onnx.TensorProto) -> bool:
    left, right = numpy_helper.to_array(one), numpy_helper.to_array(other)
    return left[0].tobytes() == right[:, 0].tobytes() and left.tobytes() == right.T.tobytes()
