"""What an ONNX model holds: the analysis of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from edge_ai.engine.errors import EngineError
from edge_ai.engine.formats.base import analysis_of, free_axes, warning
from edge_ai.engine.formats.onnx import (
    DEFAULT_DOMAINS,
    constant_value,
    describe_value,
    opset_of,
    read_graph,
    subgraphs,
    true_inputs,
    unreadable,
    weights,
)
from edge_ai.engine.formats.onnx_cost import count_macs
from edge_ai.engine.formats.onnx_layers import layers_of
from edge_ai.engine.formats.onnx_parameters import FLOATS, Parameters, count_parameters
from edge_ai.engine.formats.onnx_parameters import PARAMETERS as PARAMETERS
from edge_ai.engine.formats.onnx_shapes import infer, peak_activation_bytes
from edge_ai.engine.measure.session import open_session
from edge_ai.engine.spec import Format

HALVES = frozenset({"float16", "bfloat16"})
INTEGER_OPERATORS = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "QGemm", "QAttention"})
DYNAMIC_OPERATORS = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulInteger"}
)
WEIGHT_ONLY_OPERATORS = frozenset({"MatMulNBits", "GatherBlockQuantized"})
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
#: Domains whose operators onnxruntime's CPU build knows.
KNOWN_DOMAINS = DEFAULT_DOMAINS | {"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.preview.training"}
MAX_METADATA = 32
MAX_TEXT = 200


def analyze(path: Path) -> dict[str, Any]:
    """Read the model at ``path`` and describe it.

    Returns
    -------
    dict
        The ``analysis`` of the API, ready for JSON; what cannot be known is ``None``.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``external_data_missing``, ``model_unsafe``.
    """
    model, outside = read_graph(path)
    complaint = _check(path if outside else model)
    cannot_run = _try_to_load(path)
    if complaint is not None and cannot_run is not None:
        raise unreadable(f"The ONNX file is damaged or inconsistent: {complaint}")
    return describe(model, complaint=complaint, cannot_run=cannot_run)


def describe(
    model: onnx.ModelProto, *, complaint: str | None = None, cannot_run: EngineError | None = None
) -> dict[str, Any]:
    """Describe a model that was read.

    Parameters
    ----------
    complaint
        What onnx's checker found fault with.
    cannot_run
        Why onnxruntime did not load it.
    """
    graphs = list(subgraphs(model.graph))
    operators = Counter(node.op_type for graph in graphs for node in graph.node)
    inputs = [describe_value(value) for value in true_inputs(model.graph)]
    held = list(weights(model))
    by_dtype: Counter[str] = Counter()
    for weight in held:
        by_dtype[weight.dtype] += weight.size_bytes
    known = infer(model)
    cost = count_macs(model, known)
    parameters = count_parameters(graphs, held)
    found = _warnings(model, operators, complaint=complaint, cannot_run=cannot_run)
    if cost.total is None:
        found.append(
            warning(
                "macs_unknown",
                f"The work of {', '.join(cost.unknown)} depends on shapes that are only known when the model runs.",
                "Export the model with fixed shapes to see its multiply-accumulates.",
            )
        )
    return analysis_of(
        inputs=inputs,
        outputs=[describe_value(value) for value in model.graph.output],
        operators=dict(operators.most_common()),
        node_count=sum(operators.values()),
        parameter_count=parameters.count,
        weight_bytes=sum(by_dtype.values()),
        weight_bytes_by_dtype=dict(by_dtype.most_common()),
        weight_bytes_by_operator=_float_bytes_by_operator(model),
        macs=cost.total,
        macs_by_operator=dict(cost.by_operator) if cost.total is not None else None,
        peak_activation_bytes=peak_activation_bytes(model, known),
        opset=opset_of(model),
        ir_version=model.ir_version,
        producer=_producer(model),
        precision=precision_of(operators, by_dtype, parameters),
        dynamic_axes=free_axes(inputs),
        domains={item.domain or "ai.onnx": item.version for item in model.opset_import},
        control_flow=sorted(CONTROL_FLOW & operators.keys()),
        metadata={item.key[:MAX_TEXT]: item.value[:MAX_TEXT] for item in model.metadata_props[:MAX_METADATA]},
        warnings=found,
        layers=layers_of(model, known),
    )


def precision_of(
    operators: Mapping[str, int], by_dtype: Mapping[str, int], parameters: Parameters | None = None
) -> str | None:
    """Name the precision of a model from its operators and its weights' bytes by type; ``None`` without weights.

    Parameters
    ----------
    parameters
        How many of them are stored in 8 bits or fewer and widened when the model loads: integers, 8-bit floats, palettes.
    """
    names = operators.keys()
    if INTEGER_OPERATORS & names:
        return "qoperator-int8"
    if DYNAMIC_OPERATORS & names:
        return "dynamic-int8"
    if "QuantizeLinear" in names and "DequantizeLinear" in names:
        return "qdq-int8"
    if "DequantizeLinear" in names or WEIGHT_ONLY_OPERATORS & names:
        return "weight-only"
    if parameters is not None and parameters.widened > parameters.count / 2:
        return "weight-only"
    floats = {name: size for name, size in by_dtype.items() if name in FLOATS and size}
    if not floats:
        return None
    total = sum(floats.values())
    if sum(size for name, size in floats.items() if name in HALVES) > total / 2:
        return "bf16" if floats.get("bfloat16", 0) > floats.get("float16", 0) else "fp16"
    if sum(size for name, size in floats.items() if name in HALVES) > total / 10:
        return "mixed"
    return "fp64" if floats.get("float64", 0) > total / 2 else "fp32"


def _check(model: onnx.ModelProto | Path) -> str | None:
    try:
        # Weights in other files are looked for beside the file.
        onnx.checker.check_model(str(model) if isinstance(model, Path) else model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        return " ".join(str(error).split())[: 2 * MAX_TEXT]
    return None


def _try_to_load(path: Path) -> EngineError | None:
    try:
        # Without optimizations nothing is computed while the model loads, so a stranger's constants cannot fill the memory.
        open_session(path, Format.ONNX, threads=1, optimize=False)
    except EngineError as error:
        if error.code == "resource_limit":
            raise
        return error
    return None


def _float_bytes_by_operator(model: onnx.ModelProto) -> dict[str, int]:
    """Say for which operators the float weights are there, by the bytes; a weight counts for its first reader."""
    counted: Counter[str] = Counter()
    for graph in subgraphs(model.graph):
        sizes: dict[str, int] = {}
        for weight in weights(model):
            if weight.graph is graph and weight.dtype in FLOATS:
                sizes[weight.name] = weight.size_bytes
        for node in graph.node:
            if constant_value(node) is not None:
                continue
            for name in node.input:
                size = sizes.pop(name, None)
                if size is None:
                    continue
                if node.op_type in {"Cast", "DequantizeLinear", "Identity", "Reshape", "Transpose"}:
                    # The reader behind it is what counts.
                    sizes[node.output[0]] = size
                else:
                    counted[node.op_type] += size
    return dict(counted.most_common())


def _warnings(
    model: onnx.ModelProto,
    operators: Mapping[str, int],
    *,
    complaint: str | None,
    cannot_run: EngineError | None,
) -> list[dict[str, str]]:
    found = []
    own = {function.domain for function in model.functions}
    foreign = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for graph in subgraphs(model.graph)
            for node in graph.node
            if node.domain not in KNOWN_DOMAINS | own
        }
    )
    if foreign:
        found.append(
            warning(
                "unsupported_operator",
                f"The runtimes here do not have these operators: {', '.join(foreign[:8])}.",
                "Export the model with standard ONNX operators.",
            )
        )
    if cannot_run is not None:
        found.append(
            warning("cannot_run_here", cannot_run.message, cannot_run.fix or "Export the model for onnxruntime.")
        )
    if complaint is not None:
        found.append(
            warning(
                "checker_complaint", f"onnx's checker says: {complaint}", "Export the model again if it misbehaves."
            )
        )
    flow = sorted(CONTROL_FLOW & operators.keys())
    if flow:
        found.append(
            warning(
                "control_flow",
                f"The model decides while it runs what to compute ({', '.join(flow)}); what is inside stays in float.",
                "Export it without control flow if every layer is to be quantized.",
            )
        )
    opset = opset_of(model)
    if opset is not None and opset < 13:
        found.append(
            warning(
                "old_opset",
                f"The model uses opset {opset}; int8 with a scale for each channel needs 13.",
                "Nothing: the studio raises it where it is needed.",
            )
        )
    return found


def _producer(model: onnx.ModelProto) -> str | None:
    """Name what wrote the file; tf2onnx ends its version with the word None when it was not built from a repository."""
    words = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    return words.removesuffix(" None")[:MAX_TEXT] or None
