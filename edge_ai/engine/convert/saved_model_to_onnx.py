"""SavedModel to ONNX with tf2onnx: float32, with free sizes left free."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf2onnx.tf_loader
from tf2onnx.convert import _convert_common

from edge_ai.engine.convert.base import Conversion, Converted
from edge_ai.engine.convert.tensorflow_freeze import freeze, refuse_tables
from edge_ai.engine.convert.tensorflow_onnx import HANDLERS, OPSET, converted, finish
from edge_ai.engine.formats.saved_model_graph import find_folder, read_graph


def convert(conversion: Conversion) -> Converted:
    """Write the ONNX file of an unpacked SavedModel; see :func:`edge_ai.engine.convert.base.convert`."""
    folder = find_folder(conversion.source)
    refuse_tables(read_graph(folder), "The conversion to ONNX")
    frozen = freeze(folder)
    inputs, outputs = [f"{name}:0" for name in frozen.arguments], list(frozen.answers)

    def call() -> Any:
        graph_def = tf2onnx.tf_loader.fix_freezing_errors_part2(frozen.graph_def)
        with tf.Graph().as_default():
            tf.import_graph_def(graph_def, name="")
            graph_def = tf2onnx.tf_loader.tf_optimize(inputs, outputs, graph_def)
        return _convert_common(
            graph_def,
            name="saved_model",
            continue_on_error=True,
            opset=OPSET,
            custom_op_handlers=dict(HANDLERS),
            input_names=inputs,
            output_names=outputs,
        )

    tensors = zip((*inputs, *outputs), (*frozen.inputs, *frozen.outputs), strict=True)
    return Converted(settings=finish(converted(call), conversion.target, {old: item.name for old, item in tensors}))
