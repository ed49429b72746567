"""Bringing an ONNX graph into the shape that quantization expects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import version_converter

from edge_ai.engine.errors import EngineError
from edge_ai.engine.formats.onnx import (
    DEFAULT_DOMAINS,
    constant_value,
    data_of,
    opset_of,
    read_model,
    subgraphs,
    write_model,
)
from edge_ai.engine.measure.session import explained, open_session
from edge_ai.engine.spec import Format

#: From here on per-channel DequantizeLinear is valid, and the operators around it are those that runtimes optimize.
STATIC_OPSET = 17
#: From here on DynamicQuantizeLinear exists, and the operators around it have the forms that quantizers know.
DYNAMIC_OPSET = 13
#: From here on a file may keep its weights out of the graph's inputs, and does not have to list them twice.
MIN_IR_VERSION = 8
#: By how much folding may make the file larger: a little is worth it, since quantizers make more of a folded graph.
MAX_GROWTH = 1.1
GROWTH_BYTES = 16 << 10


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A graph that is ready to be quantized, and what was done to it."""

    path: Path
    opset: int
    steps: tuple[str, ...]


def prepare_graph(source: Path, workdir: Path, *, opset: int) -> Prepared:
    """Write a graph that computes what ``source`` computes, and that quantizers understand.

    Parameters
    ----------
    source
        The model; it is not changed.
    workdir
        Where the outcome is written.
    opset
        Raise the standard operators to this version where they are older.

    Returns
    -------
    Prepared
        Each step that had something to do is named. A step that fails on this model is left out: its absence shows in
        ``steps``, and in what the quantizers make of it.
    """
    model = read_model(source)
    steps: list[str] = []
    if drop_weight_inputs(model):
        steps.append("weights are no longer inputs")
    lifted = lift_constants(model)
    if lifted:
        steps.append(f"{lifted} constants became weights")
    before = opset_of(model) or 0
    if before < opset:
        raised = raise_opset(model, opset)
        if raised is not None:
            model = raised
            drop_weight_inputs(model)
            steps.append(f"opset {before} raised to {opset}")
    path = workdir / "prepared.onnx"
    write_model(model, path)
    folded = workdir / "folded.onnx"
    if data_of(path).exists():
        steps.append("not folded, as one file cannot hold the weights")
    elif fold(path, folded):
        if folded.stat().st_size <= path.stat().st_size * MAX_GROWTH + GROWTH_BYTES:
            model = read_model(folded)
            lift_constants(model)
            steps.append("constants and batch normalizations folded")
        else:
            # Tables that the graph computes from a few numbers would be written out in full.
            steps.append("not folded, as that would make the file larger")
        folded.unlink()
    if flatten_biases(model):
        steps.append("biases of Gemm flattened")
    if separate_biases(model):
        steps.append("shared biases separated")
    drop_unused_domains(model)
    name_nodes(model)
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        steps.append("shapes inferred")
    except (onnx.shape_inference.InferenceError, EncodeError, RuntimeError, ValueError):
        # The quantizers then know fewer types and leave more in float.
        steps.append("shapes could not be inferred")
    write_model(model, path)
    return Prepared(path=path, opset=opset_of(model) or 0, steps=tuple(steps))


def drop_weight_inputs(model: onnx.ModelProto) -> int:
    """Remove weights from the graph's inputs, where old exporters list them; returns how many there were."""
    names = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in names]
    dropped = len(model.graph.input) - len(kept)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)
    return dropped


def lift_constants(model: onnx.ModelProto) -> int:
    """Turn Constant nodes into weights, which is where quantizers look for them; returns how many there were."""
    lifted = 0
    for graph in subgraphs(model.graph):
        outputs = {value.name for value in graph.output}
        kept: list[onnx.NodeProto] = []
        for node in graph.node:
            tensor = constant_value(node)
            if tensor is None or node.output[0] in outputs:
                kept.append(node)
                continue
            moved = graph.initializer.add()
            moved.CopyFrom(tensor)
            moved.name = node.output[0]
            lifted += 1
        if len(kept) != len(graph.node):
            # The nodes are copied first: removing them from the graph would empty them.
            copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
            del graph.node[:]
            graph.node.extend(copies)
    model.ir_version = max(model.ir_version, MIN_IR_VERSION)
    return lifted


def flatten_biases(model: onnx.ModelProto) -> int:
    """Give Gemm biases of shape [1, n] the shape [n], which means the same and is what quantizers expect."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    flattened = 0
    for node in model.graph.node:
        bias = tensors.get(node.input[2]) if node.op_type == "Gemm" and len(node.input) > 2 else None
        if bias is None or len(bias.dims) != 2 or bias.dims[0] != 1:
            continue
        # Another node may read the bias as it is, so this one gets a copy.
        copy = model.graph.initializer.add()
        copy.CopyFrom(bias)
        copy.name = f"{bias.name}::flat{flattened}"
        del copy.dims[0]
        node.input[2] = copy.name
        flattened += 1
    if flattened:
        drop_unused_weights(model)
    return flattened


def separate_biases(model: onnx.ModelProto) -> int:
    """Give each layer a bias of its own; returns how many copies were made.

    An integer bias has the scale of its layer's input, so layers cannot share one. onnxruntime's quantizer makes copies too,
    under names that may exist already.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    seen: set[str] = set()
    copied = 0
    for node in model.graph.node:
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm"} or len(node.input) < 3:
            continue
        name = node.input[2]
        if name in seen and name in tensors:
            copy = model.graph.initializer.add()
            copy.CopyFrom(tensors[name])
            copy.name = f"{name}::own{copied}"
            node.input[2] = copy.name
            copied += 1
        seen.add(name)
    return copied


def drop_unused_weights(model: onnx.ModelProto) -> None:
    """Remove the weights of the main graph that nothing reads."""
    read = {name for graph in subgraphs(model.graph) for node in graph.node for name in node.input}
    read |= {value.name for graph in subgraphs(model.graph) for value in graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if len(kept) != len(model.graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)


def raise_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto | None:
    """Return the model with newer standard operators, or ``None`` where onnx cannot convert it."""
    try:
        raised: onnx.ModelProto = version_converter.convert_version(model, opset)
        onnx.checker.check_model(raised)
    except (onnx.checker.ValidationError, version_converter.ConvertError, EncodeError, RuntimeError, ValueError):
        return None
    raised.ir_version = max(raised.ir_version, MIN_IR_VERSION)
    return raised


def fold(source: Path, target: Path) -> bool:
    """Have onnxruntime compute what is constant and fold what it can with standard operators; ``False``: it failed."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        with explained("load", {"model_path": str(source)}):
            onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        open_session(target, Format.ONNX, threads=1, optimize=False)
    except EngineError as error:
        if error.code == "resource_limit":
            raise
        target.unlink(missing_ok=True)
        return False
    return True


def drop_unused_domains(model: onnx.ModelProto) -> None:
    """Forget operator sets that no node uses; onnxruntime lists all that it knows in what it writes."""
    used = {node.domain for graph in subgraphs(model.graph) for node in graph.node} | {""}
    used |= {node.domain for function in model.functions for node in function.node}
    keep = [item for item in model.opset_import if item.domain in used | DEFAULT_DOMAINS]
    copies = [onnx.OperatorSetIdProto.FromString(item.SerializeToString()) for item in keep]
    del model.opset_import[:]
    model.opset_import.extend(copies)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own: quantizers tell nodes apart by it."""
    taken: set[str] = set()
    for node in _all_nodes(model):
        name = node.name or f"{node.op_type}_{node.output[0] if node.output else ''}"
        while name in taken:
            name += "_"
        taken.add(name)
        node.name = name


def _all_nodes(model: onnx.ModelProto) -> Iterable[onnx.NodeProto]:
    return [node for graph in subgraphs(model.graph) for node in graph.node]
