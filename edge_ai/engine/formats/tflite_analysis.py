"""What a TensorFlow Lite file holds: the analysis of a model, without TensorFlow and without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from edge_ai.engine.formats.base import analysis_of, free_axes, warning
from edge_ai.engine.formats.tflite_cost import count_macs, peak_activation_bytes
from edge_ai.engine.formats.tflite_facts import ModelFacts, OperatorFacts, SubgraphFacts, TensorFacts
from edge_ai.engine.formats.tflite_file import read_file
from edge_ai.engine.formats.tflite_layers import layers_of
from edge_ai.engine.runtime.base import Tensor

FLOATS: Final = ("float64", "float32", "float16", "bfloat16")
SMALL: Final = frozenset({"int8", "uint8", "int4", "uint4", "int2", "float8e4m3fn", "float8e5m2"})
NAMES: Final = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
CONTROL_FLOW: Final = frozenset(
    {"IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE"}
)
#: Custom operators that LiteRT's own resolver knows.
KNOWN_CUSTOM: Final = frozenset(
    {"AudioSpectrogram", "Convolution2DTransposeBias", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess"}
)
#: What only hands weights on: the reader behind it is what counts.
PASSING: Final = frozenset({"CAST", "DEQUANTIZE", "DENSIFY", "RESHAPE", "TRANSPOSE"})
MAX_METADATA: Final = 32
MAX_TEXT: Final = 200
MAX_NAMES: Final = 8


def analyze(path: Path) -> dict[str, Any]:
    """Check the file at ``path`` and describe it.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``external_data_missing``.
    """
    return describe(read_file(path))


def describe(model: ModelFacts) -> dict[str, Any]:
    """Describe a file that was read."""
    operators = Counter(operator_name(operator) for graph in model.subgraphs for operator in graph.operators)
    inputs, outputs = ([tensor.to_json() for tensor in named_tensors(model, side)] for side in ("inputs", "outputs"))
    constants = list(_constants(model))
    by_dtype: Counter[str] = Counter()
    for tensor in constants:
        by_dtype[tensor.dtype] += len(tensor.data) if tensor.data is not None else 0
    work = count_macs(model.subgraphs, operator_name)
    return analysis_of(
        inputs=inputs,
        outputs=outputs,
        operators=dict(operators.most_common()),
        node_count=sum(operators.values()),
        parameter_count=sum(tensor.elements for tensor in constants if _is_parameter(tensor)),
        weight_bytes=sum(by_dtype.values()),
        weight_bytes_by_dtype=dict(by_dtype.most_common()),
        weight_bytes_by_operator=_float_bytes_by_operator(model),
        macs=work.total,
        macs_by_operator=None if work.total is None else dict(work.by_operator),
        peak_activation_bytes=peak_activation_bytes(model.subgraphs[0]),
        producer=model.description[:MAX_TEXT] or None,
        precision=precision_of(model),
        dynamic_axes=free_axes(inputs),
        control_flow=sorted(CONTROL_FLOW & operators.keys()),
        metadata=_metadata(model),
        warnings=_warnings(model, operators, work.unknown),
        layers=layers_of(model, name_of=operator_name, is_parameter=_is_parameter, passing=PASSING),
    )


def operator_name(operator: OperatorFacts) -> str:
    """Return an operator's name, such as ``CONV_2D``; a custom operator has its own."""
    if operator.custom is not None:
        return operator.custom[:MAX_TEXT] or "CUSTOM"
    return _builtin_names().get(operator.code, f"OPERATOR_{operator.code}")


def custom_operators(model: ModelFacts) -> list[str]:
    """Return the custom operators that nothing here runs, sorted."""
    return sorted(
        {
            operator_name(operator)
            for graph in model.subgraphs
            for operator in graph.operators
            if operator.custom is not None and operator.custom not in KNOWN_CUSTOM
        }
    )


def named_tensors(model: ModelFacts, side: str) -> list[Tensor]:
    """Return the network's ``inputs`` or ``outputs`` as sessions name them: as the only signature does, else the tensors."""
    graph = model.subgraphs[0]
    names: Mapping[str, int] = next(iter(model.signatures.values()))[side] if len(model.signatures) == 1 else {}
    by_index: dict[int, list[str]] = {}
    # The runtime keeps a signature's names sorted.
    for name in sorted(names):
        by_index.setdefault(names[name], []).append(name)
    found = []
    for index in graph.inputs if side == "inputs" else graph.outputs:
        given, tensor = by_index.get(index), graph.tensors[index]
        scale = tensor.scales[0] if len(tensor.scales) == 1 else None
        found.append(
            Tensor(
                name=given.pop(0) if given else tensor.name,
                dtype=tensor.dtype,
                shape=tuple(axis if axis > 0 else None for axis in tensor.signature),
                scale=scale or None,
                zero_point=(tensor.zero_points[0] if tensor.zero_points else 0) if scale else None,
            )
        )
    return found


def precision_of(model: ModelFacts) -> str | None:
    """Name the precision of a network from how its operators read their weights; ``None`` without weights.

    Returns
    -------
    str
        ``int8``, where operators read 8-bit activations and weights, or ``qdq-int8`` where others with weights stay in
        float; ``int16x8``; ``dynamic-int8`` for float activations and integer weights; ``weight-only`` for weights that
        are widened first; else that of most weights' bytes, such as ``fp32``, or ``mixed``.
    """
    held = sum((_kinds_of_reading(graph) for graph in model.subgraphs), Counter())
    floats = sum(held[name] for name in FLOATS)
    if held["int16x8"]:
        return "int16x8"
    if held["int8"]:
        return "qdq-int8" if held["core"] or held["dynamic-int8"] else "int8"
    for name in ("dynamic-int8", "weight-only"):
        if held[name]:
            return name
    if not floats:
        return None
    halves = held["float16"] + held["bfloat16"]
    if halves > floats / 2:
        return "bf16" if held["bfloat16"] > held["float16"] else "fp16"
    if halves > floats / 10:
        return "mixed"
    return "fp64" if held["float64"] > floats / 2 else "fp32"


def _kinds_of_reading(graph: SubgraphFacts) -> Counter[str]:
    """Return the bytes of constants by how their reader uses them; ``core`` counts those of float layers once more."""
    held: Counter[str] = Counter()
    for operator in graph.operators:
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        fed = {item.dtype for item in tensors if item.data is None}
        for item in tensors:
            if item.data is None:
                continue
            if item.dtype in FLOATS:
                held[item.dtype] += item.size_bytes
                held["core"] += item.size_bytes if operator_name(operator) in _CORE else 0
            elif item.scales and (item.dtype in SMALL or item.dtype == "int16"):
                held[_integer_use(operator, fed)] += item.size_bytes
    return held


def _integer_use(operator: OperatorFacts, fed: set[str]) -> str:
    if "int16" in fed:
        return "int16x8"
    if fed & {"int8", "uint8"}:
        return "int8"
    # Tables that are looked up are widened after it.
    return "dynamic-int8" if fed & set(FLOATS) and operator_name(operator) in _CORE else "weight-only"


_CORE: Final = frozenset(
    {
        "BATCH_MATMUL",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "CONV_2D",
        "CONV_3D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "LSTM",
        "RNN",
        "SVDF",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
    }
)


@cache
def _builtin_names() -> dict[int, str]:
    # Takes half a second to load.
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}


def _constants(model: ModelFacts) -> Iterator[TensorFacts]:
    """Return each constant once, though several tensors may share its bytes."""
    seen: set[int] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.data is not None and tensor.buffer not in seen:
                seen.add(tensor.buffer)
                yield tensor


def _is_parameter(tensor: TensorFacts) -> bool:
    """Wide integers that stand for no real numbers are indices, shapes and tables, not parameters that were learned."""
    return tensor.dtype in FLOATS or tensor.dtype in SMALL or bool(tensor.scales)


def _float_bytes_by_operator(model: ModelFacts) -> dict[str, int]:
    """Say for which operators the float weights are there, by the bytes; a weight counts for its first reader."""
    counted: Counter[str] = Counter()
    seen: set[int] = set()
    for graph in model.subgraphs:
        sizes = {
            index: tensor.size_bytes
            for index, tensor in enumerate(graph.tensors)
            if tensor.data is not None and tensor.dtype in FLOATS and tensor.buffer not in seen
        }
        seen |= {graph.tensors[index].buffer for index in sizes}
        for operator in graph.operators:
            name = operator_name(operator)
            for index in operator.inputs:
                size = sizes.pop(index, None)
                if size is None:
                    continue
                if name in PASSING and operator.outputs:
                    sizes[operator.outputs[0]] = size
                else:
                    counted[name] += size
    return dict(counted.most_common())


def _metadata(model: ModelFacts) -> dict[str, str]:
    found = {"schema_version": str(model.version)}
    if model.signatures:
        found["signatures"] = ", ".join(list(model.signatures)[:MAX_NAMES])[:MAX_TEXT]
    for name, data in list(model.metadata.items())[:MAX_METADATA]:
        text = b"" if data is None else data[:MAX_TEXT].tobytes().rstrip(b"\0")
        readable = text.isascii() and text.decode("ascii").isprintable()
        found[name[:MAX_TEXT]] = text.decode("ascii") if readable else f"{len(data) if data is not None else 0} bytes"
    return found


def _warnings(model: ModelFacts, operators: Mapping[str, int], unknown: Sequence[str]) -> list[dict[str, str]]:
    found = []
    custom = custom_operators(model)
    if custom:
        flex = any(name.startswith("Flex") for name in custom)
        found.append(
            warning(
                "cannot_run_here",
                f"LiteRT does not have the operators {', '.join(custom[:MAX_NAMES])}"
                f"{' (Flex operators need all of TensorFlow)' if flex else ''}.",
                "Convert the network with TensorFlow Lite's built-in operators only.",
            )
        )
    flow = sorted(CONTROL_FLOW & operators.keys())
    if flow:
        found.append(
            warning(
                "control_flow",
                f"The model decides while it runs what to compute ({', '.join(flow)}).",
                "Export it without control flow if every layer is to be quantized.",
            )
        )
    if any(tensor.sparse for graph in model.subgraphs for tensor in graph.tensors):
        found.append(
            warning("sparse_weights", "Some weights are stored as sparse tensors.", "Export the model with dense ones.")
        )
    if unknown:
        found.append(
            warning(
                "macs_unknown",
                f"The work of {', '.join(unknown[:MAX_NAMES])} depends on what is only known when the model runs.",
                "Export the model with fixed shapes and built-in operators to see its multiply-accumulates.",
            )
        )
    return found
