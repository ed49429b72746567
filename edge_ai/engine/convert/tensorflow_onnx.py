"""tf2onnx, and what it leaves to do: names, operators that it lacks, and what it could not convert."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import tf2onnx
from tf2onnx import utils

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import DEFAULT_DOMAINS, subgraphs, write_model
from edge_ai.engine.runtime.tensorflow import explain

#: The newest that tf2onnx writes; per-channel scales take 13, and 17 has LayerNormalization.
OPSET: Final = 18
#: Names that differ from one conversion to the next.
NUMBERED: Final = re.compile(r"__\d+")
KNOWN_DOMAINS: Final = DEFAULT_DOMAINS | {"ai.onnx.ml"}

logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)


def finish(model: onnx.ModelProto, target: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """Rename a converted graph's inputs and outputs, make sure that all of it is ONNX, and write it.

    Parameters
    ----------
    names
        New names by old ones.

    Returns
    -------
    dict
        Settings for the recipe.

    Raises
    ------
    UnsupportedError
        ``unsupported_operator`` naming what has no form in ONNX.
    """
    foreign = sorted(
        {
            node.op_type
            for graph in subgraphs(model.graph)
            for node in graph.node
            if node.domain not in KNOWN_DOMAINS or not onnx.defs.has(node.op_type, node.domain)
        }
    )
    if foreign:
        raise not_in_onnx(foreign)
    rename(model.graph, names)
    _renumber(model.graph)
    _name_axes(model.graph)
    model.producer_name, model.producer_version = "tf2onnx", tf2onnx.__version__
    write_model(model, target)
    return {"converter": "tf2onnx", "version": tf2onnx.__version__, "opset": OPSET}


def not_in_onnx(operators: list[str]) -> UnsupportedError:
    """Return the refusal of operators that have no form in ONNX."""
    return UnsupportedError(
        f"tf2onnx has no ONNX form of the operators {', '.join(operators[:8])}.",
        code="unsupported_operator",
        fix="Replace them in the network, or choose another target format.",
        details={"operators": operators[:50], "nearest": {"target_format": "tflite", "precision": "fp32"}},
    )


def converted(call: Callable[[], Any]) -> onnx.ModelProto:
    """Return the model that a function of tf2onnx makes, with its failures translated.

    Raises
    ------
    EngineError
        ``unsupported_operator``, ``resource_limit``.
    """
    try:
        model: onnx.ModelProto = call()[0]
    except Exception as error:
        explained = explain("convert", error)
        if explained.code == "resource_limit":
            raise explained from error
        told = (explained.details or {}).get("runtime_message", "")
        raise UnsupportedError(
            f"tf2onnx cannot convert this network: {told}",
            code="unsupported_operator",
            fix="Choose another target format.",
            details=explained.details,
        ) from error
    return model


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values of a graph, in its subgraphs too; a name that is taken already goes to the other."""
    changes = {old: new for old, new in names.items() if old != new}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} - changes.keys()
    changes |= {new: f"{new}/inner" for new in changes.values() if new in taken}
    _apply(graph, changes)


def _apply(graph: onnx.GraphProto, changes: Mapping[str, str]) -> None:
    for inner in subgraphs(graph):
        for node in inner.node:
            for field in (node.input, node.output):
                field[:] = [changes.get(name, name) for name in field]
        for value in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
            value.name = changes.get(value.name, value.name)


def _renumber(graph: onnx.GraphProto) -> None:
    """Number what tf2onnx numbers in the order of use, so that the same network gives the same bytes."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    changes: dict[str, str] = {}
    for place, node in enumerate(node for inner in subgraphs(graph) for node in inner.node):
        if NUMBERED.search(node.name):
            node.name = f"{NUMBERED.sub('', node.name)}__{place}"
        for name in (*node.input, *node.output):
            if NUMBERED.search(name) and name not in kept and name not in changes:
                changes[name] = f"{NUMBERED.sub('', name)}__{len(changes)}"
    if kept & set(changes.values()):
        return
    _apply(graph, changes)
    for inner in subgraphs(graph):
        first = {name: place for place, name in reversed(list(enumerate(n for node in inner.node for n in node.input)))}
        ordered = sorted(inner.initializer, key=lambda tensor: (first.get(tensor.name, len(first)), tensor.name))
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in ordered]
        del inner.initializer[:]
        inner.initializer.extend(copies)


def _name_axes(graph: onnx.GraphProto) -> None:
    """Call a free first axis the batch, and leave out the numbers that tf2onnx gives to other free axes."""
    for value in (*graph.input, *graph.output):
        for place, axis in enumerate(value.type.tensor_type.shape.dim):
            if axis.WhichOneof("value") == "dim_param" and axis.dim_param.startswith("unk__"):
                axis.ClearField("dim_param")
                if place == 0:
                    axis.dim_param = "batch"


def erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    """Convert ``Erfc``, which exact GELU is made of, as 1 − Erf(x)."""
    shapes, dtypes = [graph.get_shape(node.output[0])], [graph.get_dtype(node.output[0])]
    kind = utils.map_onnx_to_numpy_type(dtypes[0])
    erf = graph.make_node("Erf", [node.input[0]], shapes=shapes, dtypes=dtypes)
    one = graph.make_const(utils.make_name("one"), np.array(1, dtype=kind))
    outputs = list(node.output)
    graph.remove_node(node.name)
    graph.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, shapes=shapes, dtypes=dtypes)


HANDLERS: Final[Mapping[str, Any]] = {"Erfc": (erfc, [])}
