"""Whose time it is: from what a runtime calls its operators back to the layers of the model's own file.

Runtimes fuse operators, change their layout and put conversions between them, and keep the names as well as they can: a fused
operator has the name of one that it stands for, or that of a tensor. What no name tells belongs to no layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.spec import Format

#: What runtimes and quantizers put around a name.
_AROUND: Final = re.compile(
    r"(_kernel_time|_token_\d+|_nchwc|_nhwc|_quant|_transformed|_QuantizeLinear_Output|_QuantizeLinear_Input"
    r"|_DequantizeLinear_Output|_QuantizeLinear|_DequantizeLinear|_cast|/fq_\w+)+$"
)
_BEFORE: Final = re.compile(r"^(fused |Fused_|gemm_|NhwcFusedConv_|InsertedPrecisionFreeCast_)")
_STEPS: Final = 8
_TRANSITIONS: Final[Mapping[str, str]] = {
    "QuantizeLinear": "quantize",
    "DynamicQuantizeLinear": "quantize",
    "FakeQuantize": "quantize",
    "DequantizeLinear": "dequantize",
    "QUANTIZE": "quantize",
    "DEQUANTIZE": "dequantize",
}
#: What computes the same under other names.
_KIN: Final[Mapping[str, str]] = {
    "FusedConv": "Conv",
    "NhwcFusedConv": "Conv",
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "FusedGemm": "Gemm",
    "QGemm": "Gemm",
    "FusedMatMul": "MatMul",
    "QLinearMatMul": "MatMul",
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeMatMul": "MatMul",
    "DynamicQuantizeLSTM": "LSTM",
}


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names in a model's file.

    Parameters
    ----------
    types
        The operator of each node, by the node's name.
    makers
        For each tensor the node that answers it.
    sources
        For each node the node that answers its first input, where one does.
    """

    types: Mapping[str, str]
    makers: Mapping[str, str]
    sources: Mapping[str, str]

    def layer_of(self, name: str, operator: str) -> str | None:
        """Return the node that an operator of the runtime stands for.

        Of several that were fused, it is the one that does the work: the convolution, not the activation behind it.
        """
        plain = _BEFORE.sub("", name)
        stripped = _AROUND.sub("", plain)
        for spelled in (name, plain, stripped):
            found = spelled if spelled in self.types else self.makers.get(spelled)
            if found is not None:
                return self._worker(found, operator)
        return None

    def _worker(self, node: str, operator: str) -> str:
        wanted = _KIN.get(operator, operator)
        at: str | None = node
        for _ in range(_STEPS):
            if at is None:
                break
            if self.types[at] == wanted:
                return at
            at = self.sources.get(at)
        return node


def names_of_onnx(path: Path) -> Names:
    """Read the names in an ONNX file."""
    import onnx  # half a second, which only a profile needs

    graph = onnx.load(str(path), load_external_data=False).graph
    return names_of_nodes(graph.node)


def names_of_nodes(nodes: Sequence[Any]) -> Names:
    """Return the names of a graph's nodes, as onnx has them."""
    named = [node for node in nodes if node.name]
    makers = {tensor: node.name for node in named for tensor in node.output if tensor}
    return Names(
        types={node.name: str(node.op_type) for node in named},
        makers=makers,
        sources={node.name: makers[node.input[0]] for node in named if node.input and node.input[0] in makers},
    )


def with_layers(rows: Sequence[Mapping[str, Any]], path: Path, format: Format) -> list[dict[str, Any]]:
    """Return a profile's rows with the layer of the model's own file that each stands for, and changes of precision marked.

    Parameters
    ----------
    path
        What the runtime opened.

    Returns
    -------
    list of dict
        With ``layer``, ``None`` where no name tells, and ``transition``: ``quantize``, ``dequantize`` or ``None``.
    """
    names = names_of_onnx(path) if format is Format.ONNX else None
    return [
        {
            **row,
            "layer": _layer(names, row, format),
            "transition": _TRANSITIONS.get(row["type"]),
        }
        for row in rows
    ]


def _layer(names: Names | None, row: Mapping[str, Any], format: Format) -> str | None:
    if names is not None:
        return names.layer_of(row["name"], row["type"])
    # OpenVINO keeps the names of the file; what it adds itself has those of its own kinds.
    return row["name"] if format is Format.OPENVINO and row["name"] != row["type"] else None
