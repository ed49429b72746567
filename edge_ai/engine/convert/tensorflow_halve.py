"""TensorFlow Lite files whose large weights are stored as fp16, and nothing else.

TensorFlow's converter halves every constant, so that an ε such as 1e-10, which keeps a logarithm finite, becomes 0.
"""

from __future__ import annotations

from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

#: Below this many numbers, the operator that widens them takes more room in the file than it saves.
MIN_ELEMENTS: Final = 64
#: Beyond it, a number becomes infinite in fp16.
MAX_FP16: Final = 65_504.0
#: The smallest number that fp16 keeps with all its digits.
NORMAL_FP16: Final = 2.0**-14
#: How many of a weight's numbers may be smaller before it counts as one with a wide range, such as a long filter's tails.
TINY_SHARE: Final = 0.01
DEQUANTIZE_VERSION: Final = 3
FILE_MARK: Final = b"TFL3"


def halve_weights(data: bytes, *, spare_wide: bool) -> tuple[bytes, int]:
    """Store the float32 weights of a TensorFlow Lite file as fp16, each widened by a ``DEQUANTIZE`` when it is loaded.

    Parameters
    ----------
    spare_wide
        Leave weights alone of which fp16 would lose the digits of more than a few numbers.

    Returns
    -------
    tuple
        The new file, and how many weights were halved.
    """
    model: Any = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    halves: dict[int, int] = {}
    code = len(model.operatorCodes)
    done = 0
    for graph in model.subgraphs:
        edges = {*graph.inputs, *graph.outputs}
        operators = []
        for place, tensor in enumerate(list(graph.tensors)):
            if place in edges or not _is_weight(tensor, model.buffers, spare_wide):
                continue
            operators.append(_halve(model, graph, place, halves, code))
        graph.operators = [*operators, *(graph.operators or ())]
        done += len(operators)
    if done:
        model.operatorCodes.append(_dequantize())
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for place in halves.keys() - used:
        model.buffers[place].data = None
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=FILE_MARK)
    return bytes(builder.Output()), done


def _is_weight(tensor: Any, buffers: list[Any], spare_wide: bool) -> bool:
    if tensor.type != schema.TensorType.FLOAT32 or tensor.isVariable or tensor.sparsity is not None:
        return False
    held = buffers[tensor.buffer].data
    if held is None or len(held) < 4 * MIN_ELEMENTS:
        return False
    sizes = np.abs(_numbers(held))
    if spare_wide and np.mean((sizes > 0) & (sizes < NORMAL_FP16)) > TINY_SHARE:
        return False
    return bool(np.all(sizes <= MAX_FP16))


def _numbers(held: Any) -> Any:
    return np.asarray(held, dtype=np.uint8).view(np.float32)


def _halve(model: Any, graph: Any, place: int, halves: dict[int, int], code: int) -> Any:
    """Put an fp16 tensor before one of a graph, and return the operator between them."""
    tensor = graph.tensors[place]
    if tensor.buffer not in halves:
        half = schema.BufferT()
        half.data = _numbers(model.buffers[tensor.buffer].data).astype(np.float16).view(np.uint8)
        halves[tensor.buffer] = len(model.buffers)
        model.buffers.append(half)
    narrow = schema.TensorT()
    narrow.name, narrow.shape, narrow.type = tensor.name + b"/fp16", tensor.shape, schema.TensorType.FLOAT16
    narrow.buffer, narrow.hasRank = halves[tensor.buffer], tensor.hasRank
    graph.tensors.append(narrow)
    # The first buffer is always the empty one.
    tensor.buffer = 0
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [len(graph.tensors) - 1], [place]
    operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
    operator.builtinOptions = schema.DequantizeOptionsT()
    return operator


def _dequantize() -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = DEQUANTIZE_VERSION
    return code
