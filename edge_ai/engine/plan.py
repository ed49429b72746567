"""What would run, decided from facts alone before anything is queued. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from edge_ai.engine.compress.rules import check_options
from edge_ai.engine.errors import UnsupportedError, UserInputError
from edge_ai.engine.estimate.machine import check_estimable
from edge_ai.engine.feasible import (
    DYNAMIC_OPERATORS,
    GAINS,
    check_calibration,
    check_device,
    check_graph,
    check_large,
    check_memory,
    check_precision,
    check_runtime,
    check_tools,
    float_weight_bytes,
    in_mib,
    memory_needed,
    needs_samples,
    require_samples,
)
from edge_ai.engine.feasible import DeviceFacts as DeviceFacts
from edge_ai.engine.fit import check_comparable as check_comparable
from edge_ai.engine.fit import check_dataset as check_dataset
from edge_ai.engine.routes import LANES, RUNS_HERE, Route, find_route
from edge_ai.engine.sniff import DatasetHeader
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeOptions, Precision

#: What share of their bytes float32 weights keep, with their scales.
SHARE: Final[Mapping[Precision, float]] = {
    Precision.FP32: 1.0,
    Precision.FP16: 0.5,
    Precision.INT8: 0.27,
    Precision.INT8_DYNAMIC: 0.27,
    Precision.INT16X8: 0.27,
    Precision.FP8: 0.27,
    Precision.INT4: 0.16,
}
#: The same for weights that are a palette and an index.
CLUSTERED_SHARE: Final[Mapping[int, float]] = {256: 0.26, 16: 0.135}
#: What a graph takes beside its weights when it is written anew.
GRAPH_SHARE, GRAPH_BYTES = 0.02, 8192
FEW_SAMPLES: Final = 50
#: A model that takes more of a device's memory is told to be tight.
TIGHT: Final = 0.5
RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN", "SimpleRNN", "Bidirectional"})
CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose"})


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
    precision: str | None = None

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
    missing_tools: frozenset[str] = frozenset(),
    memory_bytes: int | None = None,
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
    missing_tools
        Names of `TOOLS` that are not installed where jobs run.
    memory_bytes
        How much memory a job may use; ``None``: no limit is known.

    Raises
    ------
    UnsupportedError
        ``unsupported_conversion``, ``unsupported_precision``, ``unsupported_operator``, ``nothing_to_quantize``.
    UserInputError
        ``dataset_required``, ``dataset_mismatch``, ``invalid_request`` for an option.
    ResourceError
        ``resource_limit``.
    """
    given = OptimizeOptions.read(options)
    route = find_route(source_format, target_format, missing=missing_tools)
    check_tools(route, missing_tools)
    wanted = resolve_precision(precision, analysis, target=target_format, has_dataset=dataset is not None)
    check_options(given, wanted, route)
    check_precision(wanted, route, analysis, given)
    check_graph(route, analysis)
    check_large(wanted, route, analysis, given)
    needed = memory_needed(analysis, wanted)
    check_device(target_format, wanted, device, needed_bytes=needed)
    check_calibration(wanted, target_format, given)
    calibrated = needs_samples(wanted, target_format, given)
    if dataset is not None:
        check_dataset(analysis, dataset)
    elif calibrated:
        require_samples(wanted, target_format)
    check_memory(analysis, size_bytes, memory_bytes)
    return Plan(
        route=tuple(format.value for format in route.formats),
        stages=_stages(route, wanted, given, calibrated=calibrated),
        warnings=_cautions(route, wanted, analysis, device, dataset, calibrated=calibrated, needed_bytes=needed),
        expected_size_bytes=_expected_size(route, wanted, given, analysis, size_bytes),
        precision=wanted.value,
    )


def plan_benchmark(
    *,
    analysis: Mapping[str, Any],
    format: Format,
    device: DeviceFacts,
    dataset: DatasetHeader | None,
    batch_size: int,
    missing_tools: frozenset[str] = frozenset(),
) -> Plan:
    """Plan a benchmark: a measurement on this machine, an estimate for a device that is not here.

    Raises
    ------
    UnsupportedError
        ``device_not_here``, ``unsupported_conversion``.
    UserInputError
        ``dataset_mismatch``, ``invalid_request`` for a batch that the model cannot take.
    """
    check_benchmark(format, device, missing_tools)
    if dataset is not None:
        check_dataset(analysis, dataset)
    if batch_size > 1:
        _check_batch(analysis, batch_size)
    if not device.is_host:
        return _estimated_plan(format, device)
    stages = [("prepare", "Prepare input"), ("load", "Load"), ("warmup", "Warm up"), ("measure", "Measure")]
    if dataset is not None and dataset.has_labels:
        stages.append(("accuracy", "Accuracy"))
    return Plan(route=(format.value,), stages=tuple(PlannedStage(name=name, title=title) for name, title in stages))


def plan_comparison(
    *,
    analyses: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    formats: Sequence[Format],
    device: DeviceFacts,
    dataset: DatasetHeader | None,
    missing_tools: frozenset[str] = frozenset(),
) -> Plan:
    """Plan a comparison of models, the one that the others are held against first.

    Raises
    ------
    UnsupportedError
        ``device_not_here``, ``unsupported_conversion``.
    UserInputError
        ``not_comparable``, ``dataset_mismatch``.
    """
    for format in formats:
        check_measurable(format, device, missing_tools)
    check_comparable(analyses, names)
    if dataset is not None:
        for analysis in analyses:
            check_dataset(analysis, dataset)
    stages = [PlannedStage(name="compare", title="Measure by turns")]
    if dataset is not None and dataset.has_labels:
        stages.append(PlannedStage(name="accuracy", title="Accuracy"))
    return Plan(route=tuple(dict.fromkeys(format.value for format in formats)), stages=tuple(stages))


def check_benchmark(format: Format, device: DeviceFacts, missing_tools: frozenset[str] = frozenset()) -> None:
    """Refuse what can be neither measured nor estimated, whatever is in the model.

    Raises
    ------
    UnsupportedError
        ``device_not_here``, ``unsupported_conversion``.
    """
    if device.is_host or device.machine is None:
        check_measurable(format, device, missing_tools)
        return
    if format in RUNS_HERE:
        check_runtime(format, missing_tools)
    check_estimable(format, device.machine)


def _estimated_plan(format: Format, device: DeviceFacts) -> Plan:
    return Plan(
        route=(format.value,),
        stages=(
            PlannedStage(name="trace", title="Find the operators"),
            PlannedStage(name="estimate", title="Estimate"),
        ),
        warnings=(
            Caution(
                code="estimated",
                detail=f"The studio does not run on a {device.name}: its latency is estimated from published numbers, with an "
                "error band, and nothing is measured.",
                fix="Benchmark on “This machine” for measured numbers.",
            ),
        ),
    )


def check_measurable(format: Format, device: DeviceFacts, missing_tools: frozenset[str] = frozenset()) -> None:
    """Refuse to measure what does not run on this machine, whatever is in the model.

    Raises
    ------
    UnsupportedError
        ``device_not_here``, ``unsupported_conversion``.
    """
    if format not in RUNS_HERE:
        raise UnsupportedError(
            f"A model in the {format} format cannot be run on this machine.",
            code="unsupported_conversion",
            fix="Measure the model that it was made from, or export it to ONNX and upload that.",
            field="model",
            details={"nearest": {"format": Format.ONNX.value}},
        )
    check_runtime(format, missing_tools)
    if not device.is_host:
        raise UnsupportedError(
            f"A benchmark measures, and the studio does not run on a {device.name}.",
            code="device_not_here",
            fix="Benchmark on “This machine”.",
            field="device_profile",
            details={"nearest": {"device_profile": "This machine"}},
        )


def resolve_precision(
    precision: Precision, analysis: Mapping[str, Any], *, target: Format = Format.ONNX, has_dataset: bool
) -> Precision:
    """Return what ``auto`` stands for with this model; every other precision is itself.

    Calibrated int8 where there is data for it and layers that gain, dynamic int8 for networks without convolutions in
    ONNX, else fp16; fp32 for targets that have nothing else.
    """
    if precision is not Precision.AUTO:
        return precision
    made = LANES[target].precisions if target in LANES else (Precision.FP16,)
    operators = set(analysis.get("operators") or ())
    convolves = bool(operators & CONVOLUTIONS) or target not in {Format.ONNX, Format.ORT}
    if has_dataset and convolves and Precision.INT8 in made and not operators & RECURRENT:
        return Precision.INT8
    if operators & DYNAMIC_OPERATORS and not convolves and Precision.INT8_DYNAMIC in made:
        return Precision.INT8_DYNAMIC
    return Precision.FP16 if Precision.FP16 in made else made[0]


def _check_batch(analysis: Mapping[str, Any], batch_size: int) -> None:
    for item in analysis.get("inputs", ()):
        first = item["shape"][0] if item["shape"] else None
        if isinstance(first, int) and first != batch_size:
            raise UserInputError(
                f"The input {item['name']!r} has a fixed batch of {first}; a batch of {batch_size} does not fit.",
                code="invalid_request",
                fix=f"Use batch_size {first}, or export the model with a dynamic batch.",
                field="batch_size",
            )


def _stages(
    route: Route, precision: Precision, options: OptimizeOptions, *, calibrated: bool
) -> tuple[PlannedStage, ...]:
    names = [("load", "Read the model")]
    if options.compresses:
        names += [("compress", "Compress the network")]
    if route.edges:
        passed = [edge.target.value for edge in route.edges]
        names += [("convert", f"Convert to {' and '.join(passed)}")]
    if route.entry is Format.ONNX and precision in {Precision.INT8, Precision.INT8_DYNAMIC}:
        names += [("prepare", "Prepare the graph")]
    if calibrated:
        names += [("calibrate", "Calibrate")]
    made = {Precision.FP16: "Store weights in fp16", Precision.FP32: f"Write {route.lane.target}"}
    names += [("quantize", made.get(precision, "Quantize")), ("parity", "Compare with the original")]
    if route.lane.target in RUNS_HERE:
        names += [("measure", "Measure beside the original")]
    names += [("finish", "Describe the variant")]
    return tuple(PlannedStage(name=name, title=title) for name, title in names)


def _cautions(
    route: Route,
    precision: Precision,
    analysis: Mapping[str, Any],
    device: DeviceFacts,
    dataset: DatasetHeader | None,
    *,
    calibrated: bool,
    needed_bytes: int | None,
) -> tuple[Caution, ...]:
    found = []
    available = None if device.memory_mb is None else device.memory_mb << 20
    if available is not None and needed_bytes is not None and needed_bytes > TIGHT * available:
        found.append(
            Caution(
                code="memory_tight",
                detail=f"Weights and activations take at least {in_mib(needed_bytes)} of the {device.memory_mb:,} MiB of "
                f"{device.name}, which its system and the runtime share.",
                fix="Choose a smaller precision, or measure on the device before you rely on it.",
            )
        )
    operators = set(analysis.get("operators") or ())
    if calibrated and dataset is not None and dataset.samples < FEW_SAMPLES:
        found.append(
            Caution(
                code="few_samples",
                detail=f"The data set has {dataset.samples} samples; ranges measured on so few may be too narrow.",
                fix="Give 50 to 300 representative samples.",
            )
        )
    if precision is Precision.INT8 and device.saturating:
        found.append(
            Caution(
                code="no_int8_instructions",
                detail=f"{device.name} has no VNNI or AMX instructions: int8 may be no faster than fp32 on it, and ONNX "
                "variants get weights of 7 bits, so that their products do not saturate.",
                fix="Benchmark the variant against the original before you ship it.",
            )
        )
    if precision is Precision.INT8 and operators & RECURRENT:
        found.append(
            Caution(
                code="recurrent_stays_float",
                detail="Recurrent layers stay in float with int8; only what is around them changes.",
                fix="Try int8_dynamic.",
            )
        )
    if precision is Precision.INT16X8:
        found.append(
            Caution(
                code="slow_reference_kernels",
                detail="int16 activations run on reference kernels, 30 to 60 times slower than float on most processors.",
                fix="Use it for accelerators that have 16-bit activations; else choose int8.",
            )
        )
    if route.lane.target not in RUNS_HERE:
        found.append(
            Caution(
                code="not_measured_here",
                detail=f"No runtime of this studio measures {route.lane.target} models.",
                fix="Measure the variant on the device.",
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


def _expected_size(
    route: Route, precision: Precision, options: OptimizeOptions, analysis: Mapping[str, Any], size_bytes: int
) -> int | None:
    """Return what the weights will take, and the rest of the file: as now, or a small share when it is written anew."""
    floats = float_weight_bytes(analysis)
    if floats is None:
        return None
    in_onnx = route.source is Format.ONNX and route.lane.target in {Format.ONNX, Format.ORT}
    gaining = GAINS.get(precision) if in_onnx and not options.weight_only else None
    by_operator: Mapping[str, int] = analysis.get("weight_bytes_by_operator") or {}
    reduced = floats
    if gaining is not None:
        reduced = min(floats, sum(size for name, size in by_operator.items() if name in gaining))
    share = CLUSTERED_SHARE.get(options.cluster, SHARE[precision])
    # What an ONNX quantizer leaves in float is stored in fp16.
    kept = reduced * share + (floats - reduced) * SHARE[Precision.FP16]
    if route.source is route.lane.target:
        return max(0, round(size_bytes - floats + kept))
    weights = int(analysis.get("weight_bytes") or floats)
    return round((weights - floats + kept) * (1 + GRAPH_SHARE)) + GRAPH_BYTES
