"""Dynamic int8 for ONNX: weights stored as integers, activations measured while the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from edge_ai.engine.convert.onnx_prepare import drop_unused_domains
from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import data_of, read_graph, read_model, subgraphs, write_model
from edge_ai.engine.quantize.fp16 import halve_weights
from edge_ai.engine.quiet import quiet

#: Conv is left out: as ConvInteger it was seen to run 13 times slower than in float. Gemm is split into MatMul and Add.
OPERATORS = ("MatMul", "Gemm", "LSTM", "Attention", "Gather", "EmbedLayerNormalization")
INTEGER_OPERATORS = frozenset(
    {"MatMulInteger", "DynamicQuantizeLSTM", "QAttention", "QEmbedLayerNormalization", "DequantizeLinear"}
)


@dataclass(frozen=True, kw_only=True)
class DynamicRecipe:
    """One way to do it."""

    name: str
    unsigned_weights: bool
    per_channel: bool


#: In the order in which they are tried. Signed weights give operators that the runtime lacks for some networks.
RECIPES = (
    DynamicRecipe(name="unsigned weights", unsigned_weights=True, per_channel=False),
    DynamicRecipe(name="unsigned weights per channel", unsigned_weights=True, per_channel=True),
    DynamicRecipe(name="signed weights", unsigned_weights=False, per_channel=False),
)


def quantize_dynamically(
    prepared: Path, target: Path, recipe: DynamicRecipe, spare: Sequence[str] = ()
) -> Counter[str]:
    """Write the dynamically quantized variant of a prepared graph.

    Parameters
    ----------
    spare
        Names of nodes, or operators, that stay in float.

    Returns
    -------
    Counter
        How many operators of each integer kind it has.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize`` when no operator changed.
    """
    # A model that one file cannot hold is read by the quantizer itself: given as an object, it would be copied twice.
    large = data_of(prepared).exists()
    model = read_graph(prepared)[0] if large else read_model(prepared)
    branches = sum(1 for _ in subgraphs(model.graph)) > 1
    with quiet():
        quantize_dynamic(
            str(prepared) if large else model,
            str(target),
            op_types_to_quantize=[name for name in OPERATORS if name not in spare],
            nodes_to_exclude=[node.name for node in model.graph.node if node.name in spare],
            per_channel=recipe.per_channel,
            weight_type=QuantType.QUInt8 if recipe.unsigned_weights else QuantType.QInt8,
            extra_options={"EnableSubgraph": branches, "MatMulConstBOnly": True},
        )
    made = read_model(target)
    found = Counter(
        node.op_type for graph in subgraphs(made.graph) for node in graph.node if node.op_type in INTEGER_OPERATORS
    )
    if not found:
        raise UnsupportedError(
            "None of the model's operators has constant weights that dynamic quantization can turn into integers.",
            code="nothing_to_quantize",
            fix="Choose int8 with calibration data, or fp16.",
            details={"nearest": {"target_format": "onnx", "precision": "fp16"}},
        )
    # What stays in float is stored in half the room; onnxruntime widens it when it loads the model, at no cost later.
    halve_weights(made)
    drop_unused_domains(made)
    write_model(made, target)
    return found
