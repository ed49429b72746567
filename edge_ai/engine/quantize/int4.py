"""int4 weights for ONNX: dense layers become MatMulNBits, which keeps a scale for each block of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.quant_utils import QuantFormat

from edge_ai.engine.convert.onnx_prepare import (
    drop_unused_domains,
    drop_unused_weights,
    drop_weight_inputs,
    lift_constants,
)
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import read_model, subgraphs, write_model
from edge_ai.engine.quantize.fp16 import halve_weights
from edge_ai.engine.quantize.weight_only import narrow_tables
from edge_ai.engine.quiet import quiet

MADE: Final = frozenset({"MatMulNBits", "GatherBlockQuantized"})
#: From here on MatMulNBits is exact about where its results are summed.
ACCURACY_LEVEL: Final = 4


def quantize_to_int4(prepared: Path, target: Path, *, block_size: int, symmetric: bool, spare: Sequence[str]) -> int:
    """Write the variant of a prepared graph; returns how many layers have int4 weights.

    Parameters
    ----------
    block_size
        How many weights share a scale.
    symmetric
        Without a zero point: smaller, a little less exact.
    spare
        Names of nodes, or operators, that stay as they are.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize`` for a network without dense layers.
    """
    model = read_model(prepared)
    drop_weight_inputs(model)
    lift_constants(model)
    split_gemms(model)
    names = {
        node.name for graph in subgraphs(model.graph) for node in graph.node if {node.name, node.op_type} & set(spare)
    }
    with quiet():
        quantizer = MatMulNBitsQuantizer(
            model,
            bits=4,
            block_size=block_size,
            is_symmetric=symmetric,
            accuracy_level=ACCURACY_LEVEL,
            nodes_to_exclude=sorted(names),
            quant_format=QuantFormat.QOperator,
            algo_config=DefaultWeightOnlyQuantConfig(
                block_size=block_size,
                is_symmetric=symmetric,
                accuracy_level=ACCURACY_LEVEL,
                quant_format=QuantFormat.QOperator,
                op_types_to_quantize=("MatMul",),
            ),
        )
        quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    count = sum(node.op_type in MADE for graph in subgraphs(made.graph) for node in graph.node)
    if count == 0:
        raise UnsupportedError(
            "The model has no dense layers with constant weights, which is what int4 is for.",
            code="nothing_to_quantize",
            fix="Choose int8 or fp16.",
            details={"nearest": {"target_format": "onnx", "precision": "int8"}},
        )
    narrow_tables(made, spare)
    halve_weights(made)
    drop_unused_domains(made)
    write_model(made, target)
    return count


def split_gemms(model: onnx.ModelProto) -> int:
    """Turn plain Gemm nodes into MatMul and Add, in place; returns how many there were."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    split = 0
    for node in model.graph.node:
        weight = tensors.get(node.input[1]) if node.op_type == "Gemm" else None
        facts = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        plain = facts.get("alpha", 1.0) == 1.0 and facts.get("beta", 1.0) == 1.0 and not facts.get("transA")
        if weight is None or not plain:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        name = node.input[1]
        if facts.get("transB"):
            name = f"{name}::transposed{split}"
            model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), name))
        biased = len(node.input) > 2 and node.input[2]
        product = f"{node.output[0]}::product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], name], [product], name=node.name))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}::bias"))
        split += 1
    if split:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        drop_unused_weights(model)
    return split
