"""Whether this machine's products of 8-bit integers saturate: they do on x86 processors without VNNI or AMX."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_TERMS: Final = 64


@cache
def products_saturate() -> bool:
    """Return whether onnxruntime adds two products of uint8 and int8 in 16 bits here, where large ones do not fit.

    Asked of the runtime rather than of the processor's flags: what counts is the kernel that it picks.

    Sources
    -------
    `Quantize ONNX models <https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html>`_, "When and
    why do I need to try U8U8": ``VPMADDUBSW`` saturates, and weights of 7 bits avoid it.
    """
    weights = np.full((_TERMS, 16), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "products",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, _TERMS])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(weights, "b")],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"a": np.full((1, _TERMS), 255, np.uint8)})
    return bool(np.any(answer != 255 * 127 * _TERMS))
