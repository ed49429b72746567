"""What would run, and what can never work: decided from facts alone, before anything is queued. Standard library only.

Every refusal says why, and names the nearest request that works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_ai.engine.errors import UnsupportedError, UserInputError
from edge_ai.engine.fit import check_dataset as check_dataset
from edge_ai.engine.sniff import DatasetHeader
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision

#: Operators whose weights int8 static quantization turns into integers.
STATIC_OPERATORS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
#: Operators that gain from dynamic quantization. Conv is not among them: it becomes ConvInteger, 13 times slower.
DYNAMIC_OPERATORS = frozenset({"MatMul", "Gemm", "LSTM", "Attention", "Gather", "EmbedLayerNormalization"})
#: What share of their bytes weights keep: as integers, with their scales, and as fp16.
INTEGER_SHARE, HALF_SHARE = 0.27, 0.5
MADE_HERE = (Precision.INT8, Precision.INT8_DYNAMIC, Precision.FP16)
FEW_SAMPLES = 50


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """What a plan needs to know about a device."""

    name: str
    is_host: bool
    architecture: str
    extensions: tuple[str, ...]
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    memory_mb: int | None


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A step, in the order in which it runs."""

    name: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Caution:
    """Something worth knowing before the job is submitted."""

    code: str
    detail: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will run. ``expected_size_bytes`` is computed from the weights, and is ``None`` where they are not known."""

    route: tuple[str, ...]
    stages: tuple[PlannedStage, ...]
    warnings: tuple[Caution, ...] = ()
    expected_size_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def plan_optimization(
    *,
    analysis: Mapping[str, Any],
    size_bytes: int,
    source_format: Format,
    target_format: Format,
    precision: Precision,
    optimization_level: OptimizationLevel,
    options: Mapping[str, object],
    device: DeviceFacts,
    dataset: DatasetHeader | None,
) -> Plan:
    """Plan an optimization.

    Parameters
    ----------
    analysis
        The model's analysis.
    size_bytes
        Size of the model's file.
    device
        The device that the variant is for.
    dataset
        Header of the calibration data, where some is given.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion``, ``unsupported_precision``, ``nothing_to_quantize``.
    UserInputError
        ``dataset_required``, ``dataset_mismatch``, ``invalid_request`` for an option.
    """
    OptimizeOptions.read(options)
    check_formats(source_format, target_format)
    wanted = _resolve(precision, analysis, dataset)
    _check_precision(wanted, analysis, device)
    _check_device(target_format, wanted, device)
    if dataset is not None:
        check_dataset(analysis, dataset)
    elif wanted is Precision.INT8:
        raise UserInputError(
            "int8 is calibrated: the ranges of the activations are measured on samples, and none were given.",
            code="dataset_required",
            fix="Give a data set of 50 to 300 representative samples, or choose int8_dynamic or fp16.",
            field="dataset",
            details=_nearest(Precision.FP16),
        )
    return Plan(
        route=(source_format.value, target_format.value),
        stages=_stages(wanted),
        warnings=_cautions(wanted, analysis, device, dataset),
        expected_size_bytes=_expected_size(wanted, analysis, size_bytes),
    )


def plan_benchmark(
    *,
    analysis: Mapping[str, Any],
    format: Format,
    device: DeviceFacts,
    dataset: DatasetHeader | None,
    batch_size: int,
) -> Plan:
    """Plan a benchmark.

    Raises
    ------
    UnsupportedError
        ``device_not_here``, ``unsupported_conversion``.
    UserInputError
        ``dataset_mismatch``, ``invalid_request`` for a batch that the model cannot take.
    """
    if format is not Format.ONNX:
        raise UnsupportedError(
            f"A model in the {format} format cannot be run here yet; only ONNX can.",
            code="unsupported_conversion",
            fix="Export the model to ONNX and upload that.",
            field="model",
            details={"nearest": {"format": Format.ONNX.value}},
        )
    if not device.is_host:
        raise UnsupportedError(
            f"A benchmark measures, and the studio does not run on a {device.name}.",
            code="device_not_here",
            fix="Benchmark on “This machine”.",
            field="device_profile",
            details={"nearest": {"device_profile": "This machine"}},
        )
    if dataset is not None:
        check_dataset(analysis, dataset)
    if batch_size > 1:
        for item in analysis.get("inputs", ()):
            first = item["shape"][0] if item["shape"] else None
            if isinstance(first, int) and first != batch_size:
                raise UserInputError(
                    f"The input {item['name']!r} has a fixed batch of {first}; a batch of {batch_size} does not fit.",
                    code="invalid_request",
                    fix=f"Use batch_size {first}, or export the model with a dynamic batch.",
                    field="batch_size",
                )
    stages = [("prepare", "Prepare input"), ("load", "Load"), ("warmup", "Warm up"), ("measure", "Measure")]
    if dataset is not None and dataset.has_labels:
        stages.append(("accuracy", "Accuracy"))
    return Plan(route=(format.value,), stages=tuple(PlannedStage(name=name, title=title) for name, title in stages))


def _nearest(precision: Precision) -> dict[str, Any]:
    return {"nearest": {"target_format": Format.ONNX.value, "precision": precision.value}}


def check_formats(source: Format, target: Format) -> None:
    """Refuse a pair of formats between which there is no way.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion``.
    """
    if source is Format.ONNX and target is Format.ONNX:
        return
    if source is Format.ONNX:
        raise UnsupportedError(
            f"There is no way yet from ONNX to {target}.",
            code="unsupported_conversion",
            fix="Choose onnx as the target format.",
            field="target_format",
            details=_nearest(Precision.FP16),
        )
    raise UnsupportedError(
        f"A model in the {source} format can be kept here, but not optimized yet.",
        code="unsupported_conversion",
        fix="Export the model to ONNX and upload that.",
        field="model",
        details=_nearest(Precision.FP16),
    )


def _resolve(precision: Precision, analysis: Mapping[str, Any], dataset: DatasetHeader | None) -> Precision:
    """Choose for ``auto``: calibrated where there is data for it, else dynamic where it gains, else fp16."""
    if precision is not Precision.AUTO:
        return precision
    operators = set(analysis.get("operators") or ())
    if dataset is not None and operators & {"Conv", "ConvTranspose"}:
        return Precision.INT8
    if operators & DYNAMIC_OPERATORS and not operators & {"Conv", "ConvTranspose"}:
        return Precision.INT8_DYNAMIC
    return Precision.FP16


def resolve_precision(precision: Precision, analysis: Mapping[str, Any], *, has_dataset: bool) -> Precision:
    """Return what ``auto`` stands for with this model; every other precision is itself."""
    header = DatasetHeader(arrays=(), samples=0, has_labels=False) if has_dataset else None
    return _resolve(precision, analysis, header)


def _check_precision(precision: Precision, analysis: Mapping[str, Any], device: DeviceFacts) -> None:
    if precision not in MADE_HERE:
        reasons = {
            Precision.FP32: "The model is what it is in fp32; there is nothing to reduce.",
            Precision.INT16X8: "int16 activations run 5 to 6 times slower in ONNX Runtime, and are not made here.",
            Precision.INT4: "int4 weights are not made here yet.",
            Precision.FP8: "No runtime here computes in fp8 on a CPU.",
        }
        raise UnsupportedError(
            reasons.get(precision, f"{precision} is not made here."),
            code="unsupported_precision",
            fix="Choose int8, int8_dynamic or fp16.",
            field="precision",
            details=_nearest(Precision.INT8 if precision is not Precision.FP32 else Precision.FP16),
        )
    operators: Mapping[str, int] = analysis.get("operators") or {}
    floats = _float_weight_bytes(analysis)
    if floats == 0 or (analysis.get("parameter_count") or 0) == 0:
        raise UnsupportedError(
            "The model has no float weights in its graph, so no precision can make it smaller"
            + (" (its trees are attributes of an ai.onnx.ml operator)." if _has_trees(analysis) else "."),
            code="nothing_to_quantize",
            fix="Keep the model as it is.",
            field="precision",
            details={"nearest": {"target_format": Format.ONNX.value, "precision": Precision.FP32.value}},
        )
    if precision in {Precision.INT8, Precision.INT8_DYNAMIC}:
        wanted = STATIC_OPERATORS if precision is Precision.INT8 else DYNAMIC_OPERATORS
        if "int8" in str(analysis.get("precision", "")):
            raise UnsupportedError(
                "The model is quantized to int8 already.",
                code="nothing_to_quantize",
                fix="Start from the float model.",
                field="precision",
                details=_nearest(Precision.FP16),
            )
        if not wanted & operators.keys():
            raise UnsupportedError(
                f"None of the model's operators gains from {precision}: it has {', '.join(sorted(operators)[:12])}, "
                f"and {precision} works on {', '.join(sorted(wanted))}.",
                code="nothing_to_quantize",
                fix="Choose fp16, which halves any float weights.",
                field="precision",
                details=_nearest(
                    Precision.INT8
                    if precision is Precision.INT8_DYNAMIC and STATIC_OPERATORS & operators.keys()
                    else Precision.FP16
                ),
            )
    elif analysis.get("precision") == "fp16":
        raise UnsupportedError(
            "The model's weights are fp16 already.",
            code="nothing_to_quantize",
            fix="Choose int8 or int8_dynamic.",
            field="precision",
            details=_nearest(Precision.INT8_DYNAMIC),
        )


def _has_trees(analysis: Mapping[str, Any]) -> bool:
    return any("TreeEnsemble" in name for name in analysis.get("operators") or ())


def _float_weight_bytes(analysis: Mapping[str, Any]) -> int | None:
    by_dtype: Mapping[str, int] | None = analysis.get("weight_bytes_by_dtype")
    if by_dtype is None:
        return None
    return sum(size for dtype, size in by_dtype.items() if dtype in {"float32", "float64", "float16", "bfloat16"})


def _check_device(target: Format, precision: Precision, device: DeviceFacts) -> None:
    if device.formats and target.value not in device.formats:
        raise UnsupportedError(
            f"{device.name} does not run {target} models; it runs {', '.join(device.formats)}.",
            code="unsupported_conversion",
            fix="Choose a device that runs ONNX, such as “This machine”.",
            field="device_profile",
            details={
                "nearest": {
                    "target_format": target.value,
                    "precision": precision.value,
                    "device_profile": "This machine",
                }
            },
        )
    if device.precisions and precision.value not in device.precisions:
        possible = [p for p in MADE_HERE if p.value in device.precisions]
        raise UnsupportedError(
            f"{device.name} has no use for {precision}; it runs {', '.join(device.precisions)}.",
            code="unsupported_precision",
            fix=f"Choose {possible[0]}." if possible else "Choose another device.",
            field="precision",
            details=_nearest(possible[0]) if possible else None,
        )


def _stages(precision: Precision) -> tuple[PlannedStage, ...]:
    names = [("load", "Read the model")]
    if precision is Precision.INT8:
        names += [("prepare", "Prepare the graph"), ("calibrate", "Calibrate")]
    elif precision is Precision.INT8_DYNAMIC:
        names += [("prepare", "Prepare the graph")]
    names += [("quantize", "Quantize" if precision is not Precision.FP16 else "Store weights in fp16")]
    names += [("parity", "Compare with the original"), ("finish", "Describe the variant")]
    return tuple(PlannedStage(name=name, title=title) for name, title in names)


def _cautions(
    precision: Precision, analysis: Mapping[str, Any], device: DeviceFacts, dataset: DatasetHeader | None
) -> tuple[Caution, ...]:
    found = []
    if precision is Precision.INT8 and dataset is not None and dataset.samples < FEW_SAMPLES:
        found.append(
            Caution(
                code="few_samples",
                detail=f"The data set has {dataset.samples} samples; ranges measured on so few may be too narrow.",
                fix="Give 50 to 300 representative samples.",
            )
        )
    quick_int8 = any("vnni" in name or "amx_int8" in name for name in device.extensions)
    if precision is Precision.INT8 and device.architecture == "x86_64" and device.extensions and not quick_int8:
        found.append(
            Caution(
                code="no_int8_instructions",
                detail=f"{device.name} has no VNNI or AMX instructions; int8 may be no faster than fp32 on it.",
                fix="Benchmark the variant against the original before you ship it.",
            )
        )
    if precision is Precision.INT8 and set(analysis.get("operators") or ()) & {"LSTM", "GRU", "RNN"}:
        found.append(
            Caution(
                code="recurrent_stays_float",
                detail="Recurrent layers stay in float with int8; only what is around them changes.",
                fix="Try int8_dynamic.",
            )
        )
    if dataset is None:
        found.append(
            Caution(
                code="no_dataset",
                detail="Without a data set the variant is compared on made-up input, which proves less.",
                fix="Give a data set of real samples.",
            )
        )
    return tuple(found)


def _expected_size(precision: Precision, analysis: Mapping[str, Any], size_bytes: int) -> int | None:
    floats = _float_weight_bytes(analysis)
    if floats is None:
        return None
    by_operator: Mapping[str, int] = analysis.get("weight_bytes_by_operator") or {}
    operators = {Precision.INT8: STATIC_OPERATORS, Precision.INT8_DYNAMIC: DYNAMIC_OPERATORS}.get(
        precision, frozenset()
    )
    integers = min(floats, sum(size for name, size in by_operator.items() if name in operators))
    kept = integers * INTEGER_SHARE + (floats - integers) * HALF_SHARE
    return max(0, round(size_bytes - floats + kept))
