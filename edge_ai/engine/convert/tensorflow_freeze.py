"""A SavedModel as one function without variables and with fixed sizes, which converters take best."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.eager import wrap_function
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training.saver import export_meta_graph

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.saved_model_graph import SavedGraph, node_name
from edge_ai.engine.quiet import quiet
from edge_ai.engine.runtime.base import Feed, Shape, Tensor
from edge_ai.engine.runtime.tensorflow import LoadedGraph, explained, loaded_graph

#: Folds what depends on sizes only: without it a recurrent layer's lists have no fixed shape.
OPTIMIZERS: Final = ("constfold", "shape", "dependency", "pruning", "constfold")
#: What recurrent layers are made of.
LOOPS: Final = frozenset({"While", "StatelessWhile"})
#: Which input of an operator on lists is the shape of the list's elements.
ELEMENT_SHAPES: Final = {
    "EmptyTensorList": 0,
    "TensorListReserve": 0,
    "TensorListFromTensor": 1,
    "TensorListStack": 1,
    "TensorListGetItem": 2,
    "TensorListGather": 2,
}
#: Tables and texts, which live in TensorFlow only.
TABLES: Final = re.compile(
    r"\w*(LookupTable|HashTable)\w*|String\w+|\w*Sparse\w*|Regex\w+|Unicode\w+|Parse\w*Example\w*"
)


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A function that holds its weights.

    Parameters
    ----------
    graph_def
        The graph.
    inputs, outputs
        Under the names of the SavedModel's signature.
    arguments
        What ``function`` calls each input.
    answers
        The tensors of ``graph_def`` that are the outputs, such as ``Identity:0``.
    """

    graph_def: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    arguments: tuple[str, ...]
    answers: tuple[str, ...]

    @cached_property
    def function(self) -> Any:
        """A ``ConcreteFunction`` that takes tensors in the order of ``inputs`` and answers a dict by ``outputs``."""
        flat = wrap_function.function_from_graph_def(
            self.graph_def, [f"{name}:0" for name in self.arguments], list(self.answers)
        )
        names = [item.name for item in self.outputs]

        def call(*given: Any) -> Mapping[str, Any]:
            return dict(zip(names, tf.nest.flatten(flat(*given)), strict=True))

        return _traced(call, _specs(self.inputs, self.arguments))

    @cached_property
    def operators(self) -> frozenset[str]:
        """The kinds of operators in it."""
        bodies = [self.graph_def.node, *(function.node_def for function in self.graph_def.library.function)]
        return frozenset(node.op for nodes in bodies for node in nodes)


def freeze(path: Path, sizes: Sequence[Shape | None] | None = None) -> Frozen:
    """Load an unpacked SavedModel and turn its variables into constants.

    Parameters
    ----------
    sizes
        For each input, in the order of the names, its shape; ``None`` leaves them as they are.

    Raises
    ------
    EngineError
        ``model_unsafe``, ``model_unreadable``, ``unsupported_operator``, ``resource_limit``.
    """
    loaded = loaded_graph(path)
    graph = loaded.graph
    shapes = [item.shape for item in graph.inputs] if sizes is None else list(sizes)
    names = [item.name for item in graph.inputs]
    inputs = tuple(
        Tensor(name=item.name, dtype=item.dtype, shape=None if shape is None else tuple(shape))
        for item, shape in zip(graph.inputs, shapes, strict=True)
    )
    arguments = argument_names(names)
    with explained("convert"), quiet():
        constant = _without_variables(loaded)
        called = _traced(partial(_call, constant, loaded), _specs(inputs, arguments))
        graph_def = _inlined(called)
    return Frozen(
        graph_def=graph_def,
        inputs=inputs,
        outputs=tuple(graph.outputs),
        arguments=tuple(arguments),
        answers=tuple(item.name for item in called.outputs),
    )


def fixed_sizes(graph_inputs: Sequence[Tensor], sample: Feed | None) -> list[Shape]:
    """Return the inputs' shapes with a batch of one, and other free sizes as a sample has them.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion`` where a size is known from nowhere.
    """
    return [_fixed(item, sample) for item in graph_inputs]


def argument_names(names: Sequence[str]) -> list[str]:
    """Return names that TensorFlow lets arguments have, for inputs whose names it does not."""
    plain = [re.sub(r"\W", "_", name) for name in names]
    plain = [name if re.match(r"[A-Za-z]", name) else f"input_{name}" for name in plain]
    return [name if plain.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(plain)]


def replace_erfc(graph_def: Any) -> Any:
    """Return a graph that computes ``Erfc``, which exact GELU is made of, as 1 − Erf(x): most converters lack it."""
    copy = type(graph_def)()
    copy.CopyFrom(graph_def)
    for node in [node for node in copy.node if node.op == "Erfc"]:
        dtype = node.attr["T"].type
        erf = copy.node.add(name=f"{node.name}/erf", op="Erf", input=list(node.input))
        erf.attr["T"].type = dtype
        one = copy.node.add(name=f"{node.name}/one", op="Const")
        one.attr["dtype"].type = dtype
        one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1, dtype=tf.as_dtype(dtype)))
        node.op = "Sub"
        node.input[:] = [one.name, erf.name]
    return copy


def refuse_tables(graph: SavedGraph, target: str) -> None:
    """Refuse texts, and tables to look them up in, for a target that has neither.

    Raises
    ------
    UnsupportedError
        ``unsupported_operator`` naming the operators.
    """
    nodes = [*graph.main.body, *(n for scope in graph.scopes(graph.main.body) for n in scope.body)]
    found = sorted({node.op for node in nodes if TABLES.fullmatch(node.op)})
    texts = [item.name for item in (*graph.inputs, *graph.outputs) if item.dtype == "string"]
    if not found and not texts:
        return
    what = [f"text in {', '.join(map(repr, texts[:4]))}"] if texts else []
    what += [f"the operators {', '.join(found[:8])}"] if found else []
    raise UnsupportedError(
        f"{target} works on numbers only; the model has {' and '.join(what)}.",
        code="unsupported_operator",
        fix="Export the part of the network behind the text processing, or keep the model as a SavedModel.",
        details={"operators": found[:50], "nearest": {"target_format": "saved_model", "precision": "fp32"}},
    )


def _fixed(item: Tensor, sample: Feed | None) -> Shape:
    known = None if sample is None or item.name not in sample else sample[item.name].shape
    shape: Sequence[int | str | None] | None = item.shape if item.shape is not None else known
    if shape is None or (known is not None and len(known) != len(shape)):
        known, shape = None, item.shape or ()
    sizes = []
    for place, axis in enumerate(shape):
        size = axis if isinstance(axis, int) and item.shape is not None else None
        size = size or (1 if place == 0 else None) or (known[place] if known is not None else None)
        if size is None:
            raise UnsupportedError(
                f"Axis {place} of the input {item.name!r} is free, and no sample shows its size.",
                code="unsupported_conversion",
                fix="Give a data set, or export the model with fixed sizes.",
            )
        sizes.append(size)
    return tuple(sizes)


def _traced(call: Any, specs: Sequence[Any]) -> Any:
    return tf.function(call, input_signature=list(specs), autograph=False).get_concrete_function()


def _specs(inputs: Sequence[Tensor], arguments: Sequence[str]) -> list[Any]:
    return [
        tf.TensorSpec(item.shape, tf.as_dtype(item.dtype), name=name)
        for item, name in zip(inputs, arguments, strict=True)
    ]


def _without_variables(loaded: LoadedGraph) -> Any:
    """Return the graph of a SavedModel with constants for its variables."""
    graph_def = _without_assignments(loaded.session.graph.as_graph_def())
    return convert_to_constants.convert_variables_to_constants_from_session_graph(
        loaded.session, graph_def, [node_name(name) for name in loaded.answers]
    )


def _call(graph_def: Any, loaded: LoadedGraph, *given: Any) -> Any:
    """Put a graph into the function that is traced, with its arguments for the graph's inputs."""
    own = {node.name for node in graph_def.node}
    clash = any(item.op.name in own for item in given)
    return tf.import_graph_def(
        graph_def,
        input_map=dict(zip(loaded.arguments, given, strict=True)),
        return_elements=list(loaded.answers),
        name="model" if clash else "",
    )


def _inlined(called: Any) -> Any:
    """Return the graph of a concrete function without calls, and without what does not depend on its input."""
    data = convert_to_constants._FunctionConverterDataInEager(
        func=called, lower_control_flow=False, aggressive_inlining=True
    )
    graph_def, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    keep = [item.name for item in (*called.inputs, *called.outputs)]
    graph_def = _folded(graph_def, keep)
    if all(item.shape.rank and item.shape[0] == 1 for item in called.inputs):
        _fix_lists(graph_def)
    return graph_def


def _without_assignments(graph_def: Any) -> Any:
    """Drop what changes variables: no answer depends on it, and there are no variables any more."""
    gone = {node.name for node in graph_def.node if node.op.startswith("Assign") and node.op.endswith("VariableOp")}
    if not gone:
        return graph_def
    for node in graph_def.node:
        kept = [name for name in node.input if name.removeprefix("^").partition(":")[0] not in gone]
        if len(kept) != len(node.input):
            del node.input[:]
            node.input.extend(kept)
    kept_nodes = [node for node in graph_def.node if node.name not in gone]
    copy = type(graph_def)()
    copy.CopyFrom(graph_def)
    del copy.node[:]
    copy.node.extend(kept_nodes)
    return copy


def _fix_lists(graph_def: Any) -> None:
    """Say that the elements of lists have a batch of one, which recurrent layers leave free even where it is known."""
    for nodes, output in [(graph_def.node, ""), *((f.node_def, ":output:0") for f in graph_def.library.function)]:
        known = {node.name: node for node in nodes}
        for node in [node for node in nodes if node.op in ELEMENT_SHAPES]:
            place = ELEMENT_SHAPES[node.op]
            shape = known.get(node.input[place].partition(":")[0])
            if shape is None or shape.op != "Const":
                continue
            sizes = tf.make_ndarray(shape.attr["value"].tensor)
            if sizes.ndim != 1 or len(sizes) == 0 or sizes[0] != -1 or (sizes[1:] < 0).any():
                continue
            fixed = nodes.add(name=f"{node.name}/fixed_shape", op="Const")
            fixed.attr["dtype"].type = shape.attr["dtype"].type
            sizes = np.concatenate([[1], sizes[1:]]).astype(sizes.dtype)
            fixed.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(sizes))
            node.input[place] = f"{fixed.name}{output}"


def _folded(graph_def: Any, keep: Sequence[str]) -> Any:
    """Compute what does not depend on the input; functions of the library stay as they are."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        meta = export_meta_graph(graph_def=graph.as_graph_def(add_shapes=True), graph=graph)
    wanted = meta_graph_pb2.CollectionDef()
    wanted.node_list.value.extend(keep)
    meta.collection_def["train_op"].CopyFrom(wanted)
    config = config_pb2.ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.min_graph_nodes = -1
    rewrite.optimizers.extend(OPTIMIZERS)
    folded = tf_optimizer.OptimizeGraph(config, meta)
    folded.library.CopyFrom(graph_def.library)
    return folded
