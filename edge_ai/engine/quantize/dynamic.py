"""int8 dynamic: weights as integers, activations quantized as they come. No data is needed."""

from __future__ import annotations

from pathlib import Path

import onnx

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.formats.onnx import open_session
from edge_ai.engine.plan import DYNAMIC_OPERATORS

#: What the quantizer itself calls them. Conv is left out: ConvInteger ran 13 times slower than float.
QUANTIZED = ("MatMul", "Attention", "LSTM", "Gather", "EmbedLayerNormalization")


def to_int8_dynamic(source: Path, target: Path) -> str:
    """Write the model with MatMul, Gemm, LSTM, Attention and Gather in dynamic int8.

    Unsigned weights come first: signed ones need operators that ONNX Runtime lacks for some graphs.

    Returns
    -------
    str
        The weight type that the runtime could load, "QUInt8" or "QInt8".

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize`` when the graph has nothing to change, ``unsupported_operator`` when no variant loads.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    prepared = source.with_name("gemm-free.onnx")
    before = _split_gemms(source, prepared)
    trouble: Exception | None = None
    for weight_type in (QuantType.QUInt8, QuantType.QInt8):
        try:
            quantize_dynamic(prepared, target, op_types_to_quantize=list(QUANTIZED), weight_type=weight_type)
            open_session(target)
        except Exception as error:
            # Each weight type that the runtime refuses is one more reason to try the other.
            trouble = error
            continue
        if not _changed(target):
            raise UnsupportedError(
                f"None of the model's weights sits in an operator that dynamic int8 changes ({', '.join(sorted(DYNAMIC_OPERATORS))}).",
                code="nothing_to_quantize",
                fix="Choose fp16 or, with a data set, int8.",
                details={"nearest": {"target_format": "onnx", "precision": "fp16"}, "gemm_nodes": before},
            )
        return str(weight_type.name)
    raise UnsupportedError(
        f"ONNX Runtime cannot run this model in dynamic int8: {str(trouble).splitlines()[0][:200]}",
        code="unsupported_operator",
        fix="Choose fp16 or, with a data set, int8.",
        details={"nearest": {"target_format": "onnx", "precision": "fp16"}},
    )


def _changed(path: Path) -> bool:
    operators = {node.op_type for node in onnx.load_model(path).graph.node}
    return bool(operators & {"MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM", "QAttention", "DequantizeLinear"})


def _split_gemms(source: Path, target: Path) -> int:
    """Write the model with each Gemm as MatMul and Add, which is the form that the dynamic quantizer knows."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = onnx.load_model(source)
    count = sum(node.op_type == "Gemm" for node in model.graph.node)
    if count:
        wrapped = ONNXModel(model)
        wrapped.replace_gemm_with_matmul()
        model = wrapped.model
    onnx.save_model(model, target)
    return count
