"""Making an ONNX graph fit for quantization: what the quantizers need and exporters leave undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from edge_ai.engine.formats.onnx import open_session

#: Per-channel QDQ is invalid before opset 13; 17 is what the rest of the tools is best tested with.
TARGET_OPSET = 17


def drop_constant_inputs(model: onnx.ModelProto) -> int:
    """Take the initializers out of the inputs, where old exporters list them too; returns how many."""
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [item for item in model.graph.input if item.name not in constants]
    dropped = len(model.graph.input) - len(kept)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return dropped


def lift_constants(model: onnx.ModelProto) -> int:
    """Turn the Constant nodes of the main graph into initializers, which is where quantizers look for weights."""
    kept, lifted = [], 0
    for node in model.graph.node:
        tensor = _constant_value(node)
        if tensor is None:
            kept.append(node)
            continue
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        lifted += 1
    if lifted:
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return lifted


def _constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    plain = {
        "value_float": lambda: np.array(attribute.f, np.float32),
        "value_floats": lambda: np.array(attribute.floats, np.float32),
        "value_int": lambda: np.array(attribute.i, np.int64),
        "value_ints": lambda: np.array(attribute.ints, np.int64),
    }.get(attribute.name)
    return None if plain is None else numpy_helper.from_array(plain())


def raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in opset 17 or later, or as it is when the converter cannot take it there."""
    current = next((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), TARGET_OPSET)
    if current >= TARGET_OPSET:
        return model
    try:
        raised = version_converter.convert_version(model, TARGET_OPSET)
        onnx.checker.check_model(raised)
    except (RuntimeError, ValueError, onnx.checker.ValidationError, version_converter.ConvertError):
        return model
    return raised


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators."""
    return next((int(item.version) for item in model.opset_import if item.domain in {"", "ai.onnx"}), 1)


def prepare(source: Path, target: Path, *, fold: bool) -> list[str]:
    """Write a prepared copy of a model; returns what was done, in words for the recipe.

    Parameters
    ----------
    source, target
        Where the model is, and where the copy goes.
    fold
        Also let ONNX Runtime fold constants and batch norms (its basic optimizations, which keep standard operators).
    """
    model = onnx.load_model(source)
    done = []
    if drop_constant_inputs(model):
        done.append("initializers taken out of the inputs")
    if count := lift_constants(model):
        done.append(f"{count} constants lifted to initializers")
    before = opset_of(model)
    model = raise_opset(model)
    if opset_of(model) != before:
        done.append(f"opset raised from {before} to {opset_of(model)}")
    onnx.save_model(model, target)
    if fold and _fold(target):
        done.append("constants and batch norms folded")
        folded = onnx.load_model(target)
        lift_constants(folded)
        onnx.save_model(folded, target)
    model = onnx.load_model(target)
    try:
        onnx.save_model(onnx.shape_inference.infer_shapes(model), target)
        done.append("shapes inferred")
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        pass
    return done


def _fold(path: Path) -> bool:
    import onnxruntime

    folded = path.with_name(path.stem + "-folded.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    domains = {node.domain for node in onnx.load_model(folded).graph.node}
    if domains - {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}:
        folded.unlink()
        return False
    try:
        open_session(folded, optimize=False)
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        folded.unlink()
        return False
    folded.replace(path)
    return True
