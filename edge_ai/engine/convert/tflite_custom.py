"""Custom operators of TensorFlow Lite files that LiteRT knows and tf2onnx does not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

TRANSPOSE_BIAS: Final = "Convolution2DTransposeBias"
#: TfLiteTransposeConvParams: padding (1: same, 2: valid), stride of the width, stride of the height.
_PARAMS: Final = struct.Struct("<iii")
_SAME: Final = 1


def handlers(path: Path) -> dict[str, Any]:
    """Return tf2onnx's handlers for the custom operators of a verified file."""
    options = _options(path)
    # tf2onnx takes the first argument for the ONNX operator that the node becomes.
    handler = (_transpose_bias, ["ConvTranspose", options])
    return {TRANSPOSE_BIAS: handler, f"TFL_{TRANSPOSE_BIAS}": handler} if options else {}


@contextmanager
def safe_interpreter() -> Iterator[None]:
    """Have tf2onnx ask LiteRT for shapes: TensorFlow's own interpreter has operators that can write files."""
    before = tf.lite.Interpreter
    tf.lite.Interpreter = Interpreter
    try:
        yield
    finally:
        tf.lite.Interpreter = before


def _options(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return the parameters of each transposed convolution, by the name of the tensor that it makes."""
    model: Any = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    wanted = {place for place, code in enumerate(model.operatorCodes) if code.customCode == TRANSPOSE_BIAS.encode()}
    found: dict[str, tuple[int, int, int]] = {}
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            data = bytes(bytearray(operator.customOptions)) if operator.customOptions is not None else b""
            if operator.opcodeIndex in wanted and len(data) >= _PARAMS.size:
                found[graph.tensors[operator.outputs[0]].name.decode()] = _PARAMS.unpack_from(data)
    return found


def _transpose_bias(graph: Any, node: Any, name: str, args: Any) -> None:
    """Convert a transposed convolution with a bias, NHWC with weights [out, height, width, in], to ``ConvTranspose``."""
    output = node.output[0]
    padding, stride_width, stride_height = args[0][output]
    strides = [stride_height, stride_width]
    given, weight, bias = node.input
    kernel = list(graph.get_shape(weight)[1:3])
    total = [max(size - stride, 0) if padding == _SAME else 0 for size, stride in zip(kernel, strides, strict=True)]
    pads = [size // 2 for size in total] + [size - size // 2 for size in total]
    shapes, dtypes = [graph.get_shape(output)], [graph.get_dtype(output)]
    # fp16 weights come out of a node that widens them: what is constant is folded later.
    moved = graph.make_node("Transpose", [weight], attr={"perm": [3, 0, 1, 2]})
    first = graph.make_node("Transpose", [given], attr={"perm": [0, 3, 1, 2]})
    graph.remove_node(node.name)
    made = graph.make_node(
        "ConvTranspose",
        [first.output[0], moved.output[0], bias],
        attr={"strides": strides, "pads": pads, "kernel_shape": kernel},
    )
    graph.make_node(
        "Transpose",
        [made.output[0]],
        attr={"perm": [0, 2, 3, 1]},
        name=name,
        outputs=[output],
        shapes=shapes,
        dtypes=dtypes,
    )
