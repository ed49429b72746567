"""Operators, weights and multiply-accumulates of a SavedModel's signature, counted from the shapes that its nodes carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np

from edge_ai.engine.formats.saved_model_graph import SavedGraph, Scope, node_name, shape_of
from edge_ai.engine.formats.tensorflow_proto import DTYPES, ITEM_BYTES

#: What does no work worth naming.
NOISE: Final = frozenset(
    {
        *("NoOp", "Identity", "IdentityN", "Const", "Placeholder", "ReadVariableOp", "VarHandleOp", "PartitionedCall"),
        *("StatefulPartitionedCall", "StopGradient", "VariableV2", "Variable", "PlaceholderWithDefault"),
    }
)
CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
LOOPS: Final = frozenset({"While", "StatelessWhile"})
CONTROL_FLOW: Final = LOOPS | {"If", "StatelessIf", "Case", "StatelessCase"}
#: The reader behind these is what a weight is there for.
CARRIES: Final = frozenset({"Identity", "ReadVariableOp", "Cast", "Transpose", "Reshape", "ExpandDims"})
OPAQUE: Final = frozenset({"XlaCallModule"})
#: A hostile file may call functions that call functions, without end.
MAX_NODES: Final = 500_000
MAX_CALLS: Final = 60


class UnknownError(Exception):
    """A size that only running the model shows."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A variable or constant: its type, its number of elements, and the operator that reads it."""

    dtype: str
    elements: int
    operator: str | None

    @property
    def size_bytes(self) -> int:
        """What its numbers take."""
        return int(self.elements * ITEM_BYTES.get(self.dtype, 0))


@dataclass(kw_only=True)
class Count:
    """What a signature is made of."""

    operators: Counter[str] = field(default_factory=Counter)
    work: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)
    weights: dict[str, Weight] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Frame:
    """A scope that was called, with what its arguments stand for: a reference in the caller's frame."""

    scope: Scope
    bound: Mapping[str, tuple[Frame, str]]
    depth: int = 0


def count(graph: SavedGraph) -> Count:
    """Count what the signature of a SavedModel needs, for a batch of one."""
    found = Count()
    left = [MAX_NODES]
    _count(graph, Frame(graph.main, {}), found, 1, left)
    if left[0] < 0:
        found.unknown.add("PartitionedCall")
    return found


def _count(graph: SavedGraph, frame: Frame, found: Count, times: int | None, left: list[int]) -> None:
    """Count a frame's nodes; ``times`` says how often it runs, ``None`` that nobody knows."""
    for node in frame.scope.body:
        left[0] -= 1
        if left[0] < 0 or frame.depth > MAX_CALLS:
            left[0] = -1
            return
        if node.op not in NOISE:
            found.operators[node.op] += 1
        _weigh(frame, node, found)
        counter = COUNTERS.get(node.op)
        if counter is not None:
            try:
                if times is None:
                    raise UnknownError
                found.work[node.op] += times * counter(frame, node)
            except (UnknownError, KeyError, IndexError, ValueError, RecursionError):
                found.unknown.add(node.op)
        elif node.op in OPAQUE:
            found.unknown.add(node.op)
        for scope in graph.called(node):
            _count(graph, _frame(frame, node, scope), found, _times(graph, frame, node, scope, times), left)


def _frame(caller: Frame, node: Any, scope: Scope) -> Frame:
    given = [name for name in node.input if not name.startswith("^")]
    if node.op not in CALLS | LOOPS:
        # A branch's first argument is not among its inputs.
        given = given[1:] if node.op in CONTROL_FLOW else []
    return Frame(
        scope, {name: (caller, ref) for name, ref in zip(scope.arguments, given, strict=False)}, caller.depth + 1
    )


def _times(graph: SavedGraph, frame: Frame, node: Any, scope: Scope, times: int | None) -> int | None:
    if node.op in CALLS or times is None:
        return times
    if node.op in LOOPS and node.attr["body"].func.name == scope.name:
        condition = graph.functions.get(node.attr["cond"].func.name)
        steps = None if condition is None else _steps(_frame(frame, node, condition))
        return None if steps is None else times * steps
    return 0 if node.op in LOOPS else None


def _steps(condition: Frame) -> int | None:
    """Return how often a loop runs, from a condition that compares counters with limits."""
    known = []
    for node in condition.scope.body:
        if node.op == "Less":
            try:
                first, last = (int(_integer(condition, name)) for name in node.input[:2])
            except (UnknownError, RecursionError):
                continue
            known.append(last - first)
    return min(known) if known and min(known) >= 0 else None


def _weigh(frame: Frame, node: Any, found: Count) -> None:
    """Note the weights that a node is, and those that it reads."""
    if node.op in {"VarHandleOp", "VariableV2", "Variable"} or node.op == "Const":
        weight = _weight(node)
        if weight is not None:
            found.weights.setdefault(_key(frame, node), weight)
    if node.op in NOISE | CARRIES | CALLS or node.op in CONTROL_FLOW:
        return
    for reference in node.input:
        origin = _origin(frame, reference)
        if origin is None:
            continue
        key = _key(*origin)
        weight = found.weights.get(key) or _weight(origin[1])
        if weight is not None and weight.operator is None:
            found.weights[key] = Weight(dtype=weight.dtype, elements=weight.elements, operator=node.op)


def _key(frame: Frame, node: Any) -> str:
    shared = node.attr["shared_name"].s.decode("utf-8", "replace") if node.op == "VarHandleOp" else ""
    return shared or f"{frame.scope.name}/{node.name}"


def _weight(node: Any) -> Weight | None:
    if node.op == "Const":
        tensor = node.attr["value"].tensor
        dtype, shape = DTYPES.get(tensor.dtype, "unknown"), shape_of(tensor.tensor_shape)
        # Lone numbers, and integers that say where to slice, are no weights.
        if not shape or not dtype.startswith(("float", "bfloat", "int8", "uint8", "int4", "uint4")):
            return None
    else:
        dtype, shape = DTYPES.get(node.attr["dtype"].type % 100, "unknown"), shape_of(node.attr["shape"].shape)
    if shape is None or any(not isinstance(axis, int) for axis in shape):
        return None
    return Weight(dtype=dtype, elements=prod(axis for axis in shape if isinstance(axis, int)), operator=None)


def _origin(frame: Frame, reference: str) -> tuple[Frame, Any] | None:
    """Follow a reference back to the variable or constant that it carries."""
    for _ in range(MAX_CALLS):
        name = node_name(reference)
        if name in frame.bound:
            frame, reference = frame.bound[name]
            continue
        node = frame.scope.nodes.get(name)
        if node is None or (node.op not in CARRIES and node.op not in {"VarHandleOp", "VariableV2", "Const"}):
            return None
        if node.op not in CARRIES:
            return frame, node
        reference = node.input[0]
    return None


def _place(reference: str) -> int:
    last = reference.rpartition(":")[2]
    return int(last) if ":" in reference and last.isdigit() else 0


def _declared(frame: Frame, reference: str) -> tuple[Any, tuple[int | None, ...]]:
    """Return the node behind a reference, in whatever frame, and the shape that it carries."""
    name = node_name(reference)
    node = frame.scope.nodes.get(name)
    if node is None:
        raise UnknownError
    if node.op in {"VarHandleOp", "VariableV2"}:
        shape = shape_of(node.attr["shape"].shape)
    elif "_output_shapes" in node.attr:
        shape = shape_of(node.attr["_output_shapes"].list.shape[_place(reference)])
    elif node.op in {"Placeholder", "PlaceholderWithDefault"}:
        shape = shape_of(node.attr["shape"].shape)
    elif node.op == "Const":
        shape = shape_of(node.attr["value"].tensor.tensor_shape)
    else:
        shape = None
    if shape is None:
        raise UnknownError
    return node, tuple(axis if isinstance(axis, int) else None for axis in shape)


def shape(frame: Frame, reference: str) -> tuple[int, ...]:
    """Return a tensor's shape for a batch of one.

    Raises
    ------
    UnknownError
        Where it is not known.
    """
    if node_name(reference) in frame.bound:
        return shape(*frame.bound[node_name(reference)])
    node, declared = _declared(frame, reference)
    free = [place for place, axis in enumerate(declared) if axis is None]
    if not free:
        return tuple(axis for axis in declared if axis is not None)
    if len(free) > 1:
        raise UnknownError
    size = _free_size(frame, node, declared, free[0])
    return tuple(size if axis is None else axis for axis in declared)


def _free_size(frame: Frame, node: Any, declared: tuple[int | None, ...], place: int) -> int:
    """Return the size of the one axis that a node's shape leaves free."""
    if node.op in {"Placeholder", "PlaceholderWithDefault"}:
        if place != 0:
            raise UnknownError
        return 1
    if node.op == "Reshape":
        rest = prod(axis for axis in declared if axis is not None)
        return prod(shape(frame, node.input[0])) // max(1, rest)
    if node.op == "TensorListGetItem":
        owner, made = _maker(frame, node.input[0])
        if made.op != "TensorListFromTensor":
            raise UnknownError
        return shape(owner, made.input[0])[1 + place]
    if node.op == "TensorListStack" and place == 1:
        # Lists of recurrent layers have the batch first in their elements.
        return 1
    if node.op == "Fill":
        owner, made = _maker(frame, node.input[0])
        if made.op != "Pack":
            raise UnknownError
        return _integer(owner, made.input[place])
    factor = 1.0
    if node.op in {"SpaceToBatchND", "BatchToSpaceND"}:
        factor = float(np.prod(_constant(frame, node.input[1])))
        factor = factor if node.op == "SpaceToBatchND" else 1 / factor
    for reference in node.input:
        if reference.startswith("^"):
            continue
        try:
            known, free = shape(frame, reference), _free_places(frame, reference)
        except UnknownError:
            continue
        if len(free) == 1:
            return int(known[free[0]] * factor)
    raise UnknownError


def _maker(frame: Frame, reference: str) -> tuple[Frame, Any]:
    """Return the node that a reference is an output of, in the frame that it lies in."""
    while node_name(reference) in frame.bound:
        frame, reference = frame.bound[node_name(reference)]
    node = frame.scope.nodes.get(node_name(reference))
    if node is None:
        raise UnknownError
    return frame, node


def _free_places(frame: Frame, reference: str) -> list[int]:
    while node_name(reference) in frame.bound:
        frame, reference = frame.bound[node_name(reference)]
    return [place for place, axis in enumerate(_declared(frame, reference)[1]) if axis is None]


def _constant(frame: Frame, reference: str) -> Any:
    frame, node = _maker(frame, reference)
    if node.op in {"Identity", "Cast"}:
        return _constant(frame, node.input[0])
    if node.op != "Const":
        raise UnknownError
    tensor = node.attr["value"].tensor
    dtype = DTYPES.get(tensor.dtype, "")
    if dtype not in {"int32", "int64"}:
        raise UnknownError
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype=dtype)
    values = list(tensor.int_val if dtype == "int32" else tensor.int64_val) or [0]
    # The last value stands for all that follow.
    wanted = prod(axis.size for axis in tensor.tensor_shape.dim)
    return np.array(values + values[-1:] * max(0, min(wanted, MAX_NODES) - len(values)))


def _integer(frame: Frame, reference: str) -> int:
    """Return a whole number that is a constant, or a size of a tensor."""
    frame, node = _maker(frame, reference)
    if node.op == "StridedSlice":
        begin = int(_constant(frame, node.input[1])[0])
        owner, source = _maker(frame, node.input[0])
        if source.op != "Shape":
            raise UnknownError
        return shape(owner, source.input[0])[begin]
    if node.op in {"Identity", "Cast", "Max", "Min"}:
        return _integer(frame, node.input[0])
    values = _constant(frame, node.name)
    if values.size != 1:
        raise UnknownError
    return int(values.reshape(-1)[0])


def _conv(frame: Frame, node: Any) -> int:
    # Kernels are [*kernel, in / groups, out].
    return prod(shape(frame, node.name)) * prod(shape(frame, node.input[1])[:-1])


def _depthwise(frame: Frame, node: Any) -> int:
    return prod(shape(frame, node.name)) * prod(shape(frame, node.input[1])[:2])


def _conv_transpose(frame: Frame, node: Any) -> int:
    # Kernels are [*kernel, out, in]: one input element is spread over kernel × out.
    return prod(shape(frame, node.input[2])) * prod(shape(frame, node.input[1])[:-1])


def _matmul(left_turned: str, right_turned: str) -> Callable[[Frame, Any], int]:
    def counter(frame: Frame, node: Any) -> int:
        left, right = shape(frame, node.input[0]), shape(frame, node.input[1])
        rows, inner = (left[-1], left[-2]) if node.attr[left_turned].b else (left[-2], left[-1])
        columns = right[-2] if node.attr[right_turned].b else right[-1]
        batch = np.broadcast_shapes(left[:-2], right[:-2])
        return prod(batch) * rows * inner * columns

    return counter


def _einsum(frame: Frame, node: Any) -> int:
    left = node.attr["equation"].s.decode().replace(" ", "").partition("->")[0]
    known: dict[str, int] = {}
    for letters, reference in zip(left.split(","), node.input, strict=True):
        if "." in letters:
            raise UnknownError
        known |= dict(zip(letters, shape(frame, reference), strict=True))
    return prod(known.values()) if len(node.input) > 1 else 0


COUNTERS: Final[Mapping[str, Callable[[Frame, Any], int]]] = {
    "Conv2D": _conv,
    "Conv3D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _conv_transpose,
    "Conv3DBackpropInputV2": _conv_transpose,
    "MatMul": _matmul("transpose_a", "transpose_b"),
    "BatchMatMul": _matmul("adj_x", "adj_y"),
    "BatchMatMulV2": _matmul("adj_x", "adj_y"),
    "BatchMatMulV3": _matmul("adj_x", "adj_y"),
    "Einsum": _einsum,
}
