"""fp16 weights for ONNX: stored in half precision, widened once when the model is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_ai.engine.convert.onnx_prepare import drop_weight_inputs, lift_constants
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import elements, opset_of, read_model, subgraphs, write_model
from edge_ai.engine.measure.session import open_session
from edge_ai.engine.spec import Format

#: Below this many numbers, the Cast that widens them takes more room in the file than it saves.
MIN_ELEMENTS = 64
#: Beyond it, a number becomes infinite in fp16.
MAX_FP16 = 65_504.0
#: The smallest number that fp16 keeps with all its digits.
NORMAL_FP16 = 2.0**-14
#: How many of a weight's numbers may be smaller before it counts as one with a wide range.
TINY_SHARE = 0.01
#: Scales decide what integers mean, and take next to no room.
KEEP_WIDE_FOR = frozenset({"QuantizeLinear", "DequantizeLinear"})
FIRST_OPSET_WITH_TYPED_CAST = 6


@dataclass(frozen=True, kw_only=True)
class HalvedWeights:
    """What was done: how many weights are stored in fp16, and how many could not be without overflow."""

    halved: int
    out_of_range: int


def store_weights_as_fp16(
    source: Path, target: Path, *, spare_wide: bool = False, spare: Sequence[str] = ()
) -> HalvedWeights:
    """Write a model whose float32 weights are stored as fp16 and widened by a Cast.

    Parameters
    ----------
    spare_wide
        Leave weights alone of which fp16 would lose the digits of more than a few numbers.
    spare
        Names of nodes, or operators, whose weights stay float32.

    Inputs, outputs and all arithmetic stay float32. onnxruntime computes the Casts once, when it loads the model, so that the
    variant runs like its source; it is half as large.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize``; ``unsupported_conversion`` for an operator set that has no Cast between these types.
    """
    model = read_model(source)
    opset = opset_of(model)
    if opset is not None and opset < FIRST_OPSET_WITH_TYPED_CAST:
        raise UnsupportedError(
            f"The model uses opset {opset}; storing weights in fp16 takes {FIRST_OPSET_WITH_TYPED_CAST} or newer.",
            code="unsupported_conversion",
            fix="Export the model with a newer opset.",
        )
    done = halve_weights(model, spare_wide=spare_wide, spare=spare)
    if done.halved == 0:
        raise UnsupportedError(
            "The model has no float32 weights that fp16 would make smaller.",
            code="nothing_to_quantize",
            fix="Keep the model as it is.",
            details={"nearest": {"target_format": "onnx", "precision": "fp32"}},
        )
    write_model(model, target)
    return done


def compute_in_fp16(source: Path, target: Path, *, keep_io: bool, spare: Sequence[str] = ()) -> None:
    """Write a model that computes in fp16 where onnxruntime can, with onnxconverter-common.

    Parameters
    ----------
    keep_io
        Inputs and outputs stay float32.
    spare
        Names of nodes, or operators, that stay in float32.

    Raises
    ------
    UnsupportedError
        ``unsupported_operator`` where the outcome does not load.
    """
    from onnxconverter_common import float16

    model = read_model(source)
    drop_weight_inputs(model)
    lift_constants(model)
    operators = {node.op_type for node in model.graph.node}
    nodes = [node.name for node in model.graph.node if node.name in spare]
    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, *(name for name in spare if name in operators)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = float16.convert_float_to_float16(
            model, keep_io_types=keep_io, op_block_list=blocked, node_block_list=nodes
        )
    write_model(made, target)
    # Some graphs only show when they are optimized that a cast is missing.
    open_session(target, Format.ONNX, threads=1)


def halve_weights(model: onnx.ModelProto, *, spare_wide: bool = False, spare: Sequence[str] = ()) -> HalvedWeights:
    """Store the float32 weights of a model as fp16, in place."""
    drop_weight_inputs(model)
    lift_constants(model)
    halved = out_of_range = 0
    for graph in subgraphs(model.graph):
        for tensor in _candidates(graph, set(spare)):
            if spare_wide and _is_wide(tensor):
                continue
            one, other = _halve(tensor, graph)
            halved += one
            out_of_range += other
        _put_casts_first(graph)
    return HalvedWeights(halved=halved, out_of_range=out_of_range)


def _candidates(graph: onnx.GraphProto, spare: set[str]) -> list[onnx.TensorProto]:
    outputs = {value.name for value in graph.output}
    kept = KEEP_WIDE_FOR | spare
    wide = {name for node in graph.node if kept & {node.op_type, node.name} for name in node.input}
    return [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and elements(tensor) >= MIN_ELEMENTS
        and tensor.name not in outputs | wide
    ]


def _is_wide(tensor: onnx.TensorProto) -> bool:
    """Whether fp16 would lose the digits of more than a few of a weight's numbers, such as those of a long filter's tails."""
    values = np.abs(numpy_helper.to_array(tensor))
    return float(np.mean((values > 0) & (values < NORMAL_FP16))) > TINY_SHARE


def _halve(tensor: onnx.TensorProto, graph: onnx.GraphProto) -> tuple[int, int]:
    """Store one weight in fp16; returns 1 for done and 1 for out of range."""
    values = numpy_helper.to_array(tensor)
    if not np.all(np.abs(values) <= MAX_FP16):
        return 0, 1
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}::fp16"))
    cast = helper.make_node("Cast", [tensor.name], [name], name=f"{name}::widen", to=onnx.TensorProto.FLOAT)
    graph.node.append(cast)
    return 1, 0


def _put_casts_first(graph: onnx.GraphProto) -> None:
    """Nodes stand in the order in which they can run: the Casts before their readers."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend(sorted(copies, key=lambda node: not node.name.endswith("::widen")))
