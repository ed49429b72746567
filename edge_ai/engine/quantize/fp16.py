"""fp16 weights: stored in half the bytes, widened once when the session loads.

Computing in fp16 makes a CPU slower (1.1 to 1.4 times on the machines measured), because each operator casts its inputs.
Stored fp16 with a Cast behind it costs nothing at run time: ONNX Runtime folds the Cast into a float32 weight at load.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.quantize.prepare import drop_constant_inputs, lift_constants

#: Under this many numbers a Cast node costs more bytes than it saves; scales of Resize and the like stay what they are.
SMALLEST = 64
FP16_MAX = 65_504.0


def to_fp16_weights(source: Path, target: Path) -> int:
    """Write the model with its float32 weights in fp16; inputs, outputs and arithmetic stay float32.

    Returns
    -------
    int
        How many tensors were narrowed.

    Raises
    ------
    UnsupportedError
        ``nothing_to_quantize`` when there is none to narrow.
    """
    model = onnx.load_model(source)
    drop_constant_inputs(model)
    lift_constants(model)
    outputs = {item.name for item in model.graph.output}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in outputs:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST or not np.all(np.abs(values) <= FP16_MAX):
            continue
        name = tensor.name
        narrow = f"{name}_fp16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), narrow))
        casts.append(helper.make_node("Cast", [narrow], [name], name=f"{name}_widen", to=TensorProto.FLOAT))
    if not casts:
        raise UnsupportedError(
            "The model has no float32 weights that fp16 would make smaller.",
            code="nothing_to_quantize",
            fix="Keep the model as it is.",
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save_model(model, target)
    return len(casts)
