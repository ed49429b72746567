"""What can never work, told from facts alone: precisions, operators, tools, devices, memory. Standard library only.

Every refusal says why, and names the nearest request that works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge_ai.engine.errors import ResourceError, UnsupportedError, UserInputError
from edge_ai.engine.estimate.machine import Machine
from edge_ai.engine.routes import LANES, RUNTIME_OF, TOOLS, Route
from edge_ai.engine.spec import MAX_ONE_FILE_BYTES, Format, OptimizeOptions, Precision

#: Operators whose weights int8 static quantization turns into integers.
STATIC_OPERATORS: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
#: Operators that gain from dynamic quantization. Conv is not among them: it becomes ConvInteger, 13 times slower.
DYNAMIC_OPERATORS: Final = frozenset({"MatMul", "Gemm", "LSTM", "Attention", "Gather", "EmbedLayerNormalization"})
#: Operators that MatMulNBits can stand for.
BLOCK_OPERATORS: Final = frozenset({"MatMul", "Gemm", "Gather"})
GAINS: Final[Mapping[Precision, frozenset[str]]] = {
    Precision.INT8: STATIC_OPERATORS,
    Precision.INT8_DYNAMIC: DYNAMIC_OPERATORS,
    Precision.INT4: BLOCK_OPERATORS,
}
REDUCED: Final = frozenset({Precision.INT8, Precision.INT8_DYNAMIC, Precision.INT16X8, Precision.INT4})
#: Targets that take integer ranges from samples; the others quantize weights alone.
CALIBRATED_TARGETS: Final = frozenset({Format.ONNX, Format.ORT, Format.TFLITE, Format.OPENVINO})
#: Those of them that know calibration by entropy.
ENTROPY_TARGETS: Final = frozenset({Format.ONNX, Format.ORT})
#: Targets whose runtimes do not branch.
PLAIN_TARGETS: Final = frozenset({Format.TFLITE, Format.SAVED_MODEL, Format.COREML, Format.NCNN})
#: Formats whose text, and tables to look it up in, survive no conversion to another.
TEXT_STAYS_IN: Final = frozenset({Format.KERAS, Format.SAVED_MODEL})
#: Targets that know text: from ONNX, which writes the operators of text and tables itself.
TEXT_TARGETS: Final = frozenset({Format.ONNX, Format.ORT})
BRANCHES: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
FLOATS: Final = frozenset({"float32", "float64", "float16", "bfloat16"})
#: A conversion holds the model several times: as file, as graph, as constants, and in the session that checks it.
COPIES_HELD: Final = 5

#: The least share of their bytes that float weights, and activations, keep in a precision; all of them in the others.
_LEAST_SHARE: Final[Mapping[Precision, float]] = {
    Precision.FP16: 0.5,
    Precision.INT8: 0.25,
    Precision.INT8_DYNAMIC: 0.25,
    Precision.INT16X8: 0.25,
    Precision.FP8: 0.25,
    Precision.INT4: 0.125,
}
_ACTIVATION_SHARE: Final[Mapping[Precision, float]] = {
    Precision.FP16: 0.5,
    Precision.INT8: 0.25,
    Precision.INT16X8: 0.5,
}

_NOT_MADE: Final[Mapping[tuple[Format, Precision], str]] = {
    (
        Format.ONNX,
        Precision.INT16X8,
    ): "int16 activations run 5 to 6 times slower in ONNX Runtime, and are not made here.",
}


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """What a plan needs to know about a device; ``machine`` has what an estimate rests on, where the device is not here."""

    name: str
    is_host: bool
    architecture: str
    extensions: tuple[str, ...]
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    memory_mb: int | None
    machine: Machine | None = None

    @property
    def quick_int8(self) -> bool:
        """It has instructions for products of 8-bit integers that no sum of theirs saturates."""
        return any("vnni" in name or "amx_int8" in name for name in self.extensions)

    @property
    def saturating(self) -> bool:
        """Its products of 8-bit integers are known to saturate: an x86 processor that is known to lack VNNI and AMX."""
        return self.architecture == "x86_64" and bool(self.extensions) and not self.quick_int8


def nearest(target: Format, precision: Precision) -> dict[str, Any]:
    """Return the details of a refusal that name what works."""
    return {"nearest": {"target_format": target.value, "precision": precision.value}}


def check_tools(route: Route, missing: frozenset[str]) -> None:
    """Refuse a way whose tools are not installed where jobs run.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion`` naming them.
    """
    lacking = [name for name in route.tools if name in missing]
    if lacking:
        packages = ", ".join(package for name in lacking for package in TOOLS[name].distributions)
        raise UnsupportedError(
            f"This studio lacks {', '.join(lacking)}, which the way from {route.source} to {route.lane.target} needs.",
            code="unsupported_conversion",
            fix=f"Ask the operator to install {packages}, or choose another target format.",
            field="target_format",
            details={"missing": lacking},
        )


def check_runtime(format: Format, missing: frozenset[str]) -> None:
    """Refuse to run a format whose runtime is not installed where jobs run.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion`` naming it.
    """
    runtime = RUNTIME_OF[format]
    if runtime in missing:
        raise UnsupportedError(
            f"This studio lacks {runtime}, which runs {format} models.",
            code="unsupported_conversion",
            fix=f"Ask the operator to install {', '.join(TOOLS[runtime].distributions)}.",
            field="model",
            details={"missing": [runtime]},
        )


def check_precision(precision: Precision, route: Route, analysis: Mapping[str, Any], options: OptimizeOptions) -> None:
    """Refuse a precision that the target does not have, or that changes nothing in this model.

    Raises
    ------
    UnsupportedError
        ``unsupported_precision``, ``nothing_to_quantize``.
    """
    target = route.lane.target
    if precision not in route.lane.precisions:
        usual = ", ".join(route.lane.precisions)
        reason = _NOT_MADE.get((target, precision), f"{target} files are made in {usual}, not in {precision}.")
        raise UnsupportedError(
            reason,
            code="unsupported_precision",
            fix=f"Choose {route.lane.precisions[0]}.",
            field="precision",
            details=nearest(target, route.lane.precisions[0]),
        )
    stays = route.source is target
    if precision is Precision.FP32:
        if stays and not options.compresses:
            raise UnsupportedError(
                "The model is what it is in fp32; there is nothing to reduce.",
                code="unsupported_precision",
                fix="Choose another precision, another target format, or an option that compresses the network.",
                field="precision",
                details=nearest(target, Precision.FP16 if Precision.FP16 in route.lane.precisions else precision),
            )
        return
    _check_weights(precision, target, analysis, stays=stays)
    if route.source is Format.ONNX and target in {Format.ONNX, Format.ORT} and not options.weight_only:
        _check_gain(precision, target, analysis)


def _check_weights(precision: Precision, target: Format, analysis: Mapping[str, Any], *, stays: bool) -> None:
    """Refuse a model that has nothing to be made smaller, or has been made so already."""
    floats = float_weight_bytes(analysis)
    kept = str(analysis.get("precision") or "")
    if "int8" in kept or kept in {"int16x8", "weight-only"}:
        if precision in REDUCED or stays:
            raise UnsupportedError(
                "The model is quantized already.",
                code="nothing_to_quantize",
                fix="Start from the float model.",
                field="precision",
                details=nearest(target, Precision.FP32 if not stays else Precision.FP16),
            )
        return
    if floats == 0 or analysis.get("parameter_count") == 0:
        raise UnsupportedError(
            "The model has no float weights in its graph, so no precision can make it smaller"
            + (" (its trees are attributes of an ai.onnx.ml operator)." if _has_trees(analysis) else "."),
            code="nothing_to_quantize",
            fix="Keep the model as it is.",
            field="precision",
            details=nearest(target, Precision.FP32),
        )
    if precision is Precision.FP16 and kept == "fp16" and stays:
        raise UnsupportedError(
            "The model's weights are fp16 already.",
            code="nothing_to_quantize",
            fix="Choose int8 or int8_dynamic.",
            field="precision",
            details=nearest(target, _first_of(target, Precision.INT8_DYNAMIC, Precision.INT8)),
        )


def _check_gain(precision: Precision, target: Format, analysis: Mapping[str, Any]) -> None:
    """Refuse a precision that none of an ONNX model's operators gains from."""
    operators: Mapping[str, int] = analysis.get("operators") or {}
    wanted = GAINS.get(precision)
    if wanted is None or wanted & operators.keys():
        return
    other = Precision.FP16
    if precision is not Precision.INT8 and STATIC_OPERATORS & operators.keys():
        other = Precision.INT8
    raise UnsupportedError(
        f"None of the model's operators gains from {precision}: it has {', '.join(sorted(operators)[:12])}, "
        f"and {precision} works on {', '.join(sorted(wanted))}.",
        code="nothing_to_quantize",
        fix="Choose fp16, which halves any float weights.",
        field="precision",
        details=nearest(target, other),
    )


def check_graph(route: Route, analysis: Mapping[str, Any]) -> None:
    """Refuse a network that the target's operators cannot express.

    Raises
    ------
    UnsupportedError
        ``unsupported_operator`` naming what stands in the way.
    """
    target = route.lane.target
    if route.source is target:
        return
    _check_text(route.source, target, analysis)
    branches = sorted(BRANCHES & set(analysis.get("control_flow") or ())) if route.source is Format.ONNX else []
    if branches and PLAIN_TARGETS & set(route.formats[1:]):
        raise UnsupportedError(
            f"The model decides while it runs what to compute ({', '.join(branches)}), which {target} cannot express here.",
            code="unsupported_operator",
            fix="Export the model without control flow, or keep it as ONNX.",
            field="target_format",
            details=nearest(Format.ONNX, Precision.INT8_DYNAMIC) | {"operators": branches},
        )


def _check_text(source: Format, target: Format, analysis: Mapping[str, Any]) -> None:
    if target in TEXT_TARGETS and source not in TEXT_STAYS_IN:
        return
    strings = [str(item.get("name")) for item in analysis.get("inputs") or () if item.get("dtype") == "string"]
    tables = sorted(name for name in analysis.get("operators") or () if "LookupTable" in name or "HashTable" in name)
    if strings:
        what = f"The input {strings[0]!r} takes text, and no conversion to {target} keeps the operators that take it apart."
    elif tables:
        what = f"The model looks values up in tables ({', '.join(tables[:3])}), which no conversion to {target} keeps."
    else:
        return
    raise UnsupportedError(
        what,
        code="unsupported_operator",
        fix="Export the network from where it takes numbers, and keep text and tables in the application.",
        field="model",
        details={"inputs": strings, "operators": tables},
    )


def memory_needed(analysis: Mapping[str, Any], precision: Precision) -> int | None:
    """Return the least bytes of memory that a variant runs in: its weights, and its activations where they are the most.

    Runtimes take more: they widen weights when they load them, and keep copies. ``None`` where the weights are not known.
    """
    floats = float_weight_bytes(analysis)
    if floats is None:
        return None
    weights = int(analysis.get("weight_bytes") or floats) - floats + floats * _LEAST_SHARE.get(precision, 1.0)
    activations = int(analysis.get("peak_activation_bytes") or 0) * _ACTIVATION_SHARE.get(precision, 1.0)
    return round(weights + activations)


def in_mib(size_bytes: int) -> str:
    """Return a size in words, such as ``12.3 MiB``."""
    return f"{size_bytes / 2**20:,.1f} MiB"


def check_device(target: Format, precision: Precision, device: DeviceFacts, *, needed_bytes: int | None = None) -> None:
    """Refuse what the device cannot run.

    Parameters
    ----------
    needed_bytes
        The least memory that the variant runs in, as of :func:`memory_needed`; ``None`` where that is not known.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion`` for the format, ``unsupported_precision`` for the precision.
    ResourceError
        ``resource_limit`` for the memory.
    """
    if device.formats and target.value not in device.formats:
        usable = [name for name in device.formats if name in {format.value for format in LANES}]
        raise UnsupportedError(
            f"{device.name} does not run {target} models; it runs {', '.join(device.formats)}.",
            code="unsupported_conversion",
            fix=f"Choose {usable[0]} as the target format, or another device."
            if usable
            else "Choose another device, such as “This machine”.",
            field="device_profile",
            details={
                "nearest": {
                    "target_format": usable[0] if usable else target.value,
                    "precision": precision.value,
                    **({} if usable else {"device_profile": "This machine"}),
                }
            },
        )
    if device.precisions and precision.value not in device.precisions:
        possible = [p for p in LANES[target].precisions if p.value in device.precisions]
        raise UnsupportedError(
            f"{device.name} has no use for {precision}; it runs {', '.join(device.precisions)}.",
            code="unsupported_precision",
            fix=f"Choose {possible[0]}." if possible else "Choose another device.",
            field="precision",
            details=nearest(target, possible[0]) if possible else None,
        )
    available = None if device.memory_mb is None else device.memory_mb << 20
    if available is not None and needed_bytes is not None and needed_bytes > available:
        raise ResourceError(
            f"Weights and activations take at least {in_mib(needed_bytes)} in {precision}, and {device.name} has "
            f"{device.memory_mb:,} MiB of memory.",
            code="resource_limit",
            fix="Choose a smaller precision, a smaller model, or a device with more memory.",
            field="device_profile",
            details={"needed_bytes": needed_bytes, "available_bytes": available},
        )


def needs_samples(precision: Precision, target: Format, options: OptimizeOptions) -> bool:
    """Whether the precision is calibrated on samples."""
    if precision is Precision.INT16X8:
        return True
    return precision is Precision.INT8 and target in CALIBRATED_TARGETS and not options.weight_only


def check_calibration(precision: Precision, target: Format, options: OptimizeOptions) -> None:
    """Refuse a calibration that the target's quantizer does not have.

    Raises
    ------
    UserInputError
        ``invalid_request``.
    """
    method = options.calibration_method
    if method == "entropy" and target not in ENTROPY_TARGETS and needs_samples(precision, target, options):
        raise UserInputError(
            f"{target} models are calibrated with minmax or percentile, not with entropy.",
            code="invalid_request",
            fix="Choose auto, minmax or percentile.",
            field="options.calibration_method",
            details={"nearest": {"options": {"calibration_method": "auto"}}},
        )


def require_samples(precision: Precision, target: Format) -> None:
    """Refuse a calibrated precision without a data set.

    Raises
    ------
    UserInputError
        ``dataset_required``.
    """
    raise UserInputError(
        f"{precision} is calibrated: the ranges of the activations are measured on samples, and none were given.",
        code="dataset_required",
        fix="Give a data set of 50 to 300 representative samples, or choose int8_dynamic or fp16.",
        field="dataset",
        details=nearest(target, Precision.FP16),
    )


def check_memory(analysis: Mapping[str, Any], size_bytes: int, memory_bytes: int | None) -> None:
    """Refuse a model whose conversion cannot fit into the memory that a job may use.

    Raises
    ------
    ResourceError
        ``resource_limit``.
    """
    if memory_bytes is None:
        return
    needed = COPIES_HELD * max(size_bytes, int(analysis.get("weight_bytes") or 0))
    if needed > memory_bytes:
        raise ResourceError(
            f"Working on this model takes about {needed / 2**30:.1f} GiB of memory; a job may use "
            f"{memory_bytes / 2**30:.1f} GiB.",
            code="resource_limit",
            fix="Use a smaller model, or ask the operator to raise ENGINE_MEMORY_BYTES.",
            field="model",
            details={"needed_bytes": needed, "allowed_bytes": memory_bytes},
        )


def check_large(precision: Precision, route: Route, analysis: Mapping[str, Any], options: OptimizeOptions) -> None:
    """Refuse ways whose tools need all of a model in one file, which ONNX models over 2 GB are not.

    Raises
    ------
    UnsupportedError
        ``unsupported_size``.
    """
    held = int(analysis.get("weight_bytes") or 0)
    if route.source is not Format.ONNX or held <= MAX_ONE_FILE_BYTES:
        return
    bears = precision in {Precision.INT8_DYNAMIC, Precision.FP8}
    bears |= precision is Precision.FP16 and options.fp16_mode != "full"
    bears |= precision is Precision.INT8 and options.weight_only
    if bears and route.lane.target is Format.ONNX and not options.compresses:
        return
    raise UnsupportedError(
        f"The model has {held / 1e9:.1f} GB of weights. The tools for this way need all of a model in one file, which holds "
        f"{MAX_ONE_FILE_BYTES / 1e9:.1f} GB at most.",
        code="unsupported_size",
        fix="Choose ONNX with fp16, int8_dynamic, fp8, or int8 with the option weight_only, without compression.",
        field="model",
        details=nearest(Format.ONNX, Precision.FP16),
    )


def float_weight_bytes(analysis: Mapping[str, Any]) -> int | None:
    """Return how many bytes of float weights a model has; ``None`` where that is not known."""
    by_dtype: Mapping[str, int] | None = analysis.get("weight_bytes_by_dtype")
    if by_dtype is None:
        return None
    return sum(size for dtype, size in by_dtype.items() if dtype in FLOATS)


def _has_trees(analysis: Mapping[str, Any]) -> bool:
    return any("TreeEnsemble" in name for name in analysis.get("operators") or ())


def _first_of(target: Format, *wanted: Precision) -> Precision:
    return next((p for p in wanted if p in LANES[target].precisions), LANES[target].precisions[0])
