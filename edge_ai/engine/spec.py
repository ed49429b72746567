"""What can be asked of the engine, with its bounds. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from edge_ai.engine.options import MAX_CALIBRATION_SAMPLES as MAX_CALIBRATION_SAMPLES
from edge_ai.engine.options import MAX_SEED as MAX_SEED
from edge_ai.engine.options import MIN_CALIBRATION_SAMPLES as MIN_CALIBRATION_SAMPLES
from edge_ai.engine.options import OptimizeOptions as OptimizeOptions
from edge_ai.engine.options import refuse as refuse

#: A protobuf has 2 GiB at most; what more weights an ONNX model has, it keeps in another file.
MAX_ONE_FILE_BYTES = 1_900_000_000
MAX_UPLOAD_BYTES = 4 * 1024**3
MAX_DATASET_BYTES = 10**9
MAX_DATASET_SAMPLES = 10_000
MAX_THREADS = 256
MAX_BATCH_SIZE = 1024
MAX_WARMUP = 10_000
MIN_BENCHMARK_SECONDS = 0.1
MAX_BENCHMARK_SECONDS = 600.0
MIN_COMPARED = 2
MAX_COMPARED = 8
MIN_COMPARISON_SECONDS = 1.0
MIN_MARGIN = 0.001
MAX_MARGIN = 0.5
MAX_OPTIONS = 50


class Format(StrEnum):
    """What a model file is."""

    ONNX = "onnx"
    TFLITE = "tflite"
    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    OPENVINO = "openvino"
    ORT = "ort"
    COREML = "coreml"
    NCNN = "ncnn"
    GGUF = "gguf"
    TENSORRT = "tensorrt"
    OTHER = "other"


class Precision(StrEnum):
    """How numbers are kept."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8_dynamic"
    INT16X8 = "int16x8"
    INT4 = "int4"
    FP8 = "fp8"
    AUTO = "auto"


class OptimizationLevel(StrEnum):
    """What a variant is chosen for."""

    SPEED = "speed"
    BALANCED = "balanced"
    SIZE = "size"


class DatasetKind(StrEnum):
    """What a data set is for."""

    CALIBRATION = "calibration"
    EVALUATION = "evaluation"
    BOTH = "both"


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    if not low <= value <= high:  # false for NaN as well
        raise refuse(
            name, f"{name} is {value}; it must be between {low:g} and {high:g}.", "Give a value in that range."
        )


@dataclass(frozen=True, kw_only=True)
class AnalyzeSpec:
    """Read a model file and say what it holds."""

    kind: ClassVar[str] = "analyze"
    model_path: str
    format: Format


@dataclass(frozen=True, kw_only=True)
class OptimizeSpec:
    """Make a variant of a model. ``keep_stages``: take finished stages up, and leave them behind, in the work folder."""

    kind: ClassVar[str] = "optimize"
    model_path: str
    source_format: Format
    target_format: Format
    precision: Precision
    optimization_level: OptimizationLevel = OptimizationLevel.BALANCED
    dataset_path: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    keep_stages: bool = False

    def __post_init__(self) -> None:
        if len(self.options) > MAX_OPTIONS:
            raise refuse(
                "options", f"There are {len(self.options)} options; at most {MAX_OPTIONS} are read.", "Send fewer."
            )
        OptimizeOptions.read(self.options)


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """Measure a model on this machine. Times are in seconds; ``cpus`` are the processors to be pinned to.

    ``baseline_noisy``: the run that it is compared with was called noisy. ``calibrated_on``: the hashes of the samples that
    the model was calibrated on.
    """

    kind: ClassVar[str] = "benchmark"
    model_path: str
    format: Format
    threads: int | None = None
    batch_size: int = 1
    warmup: int | None = None
    min_seconds: float = 3.0
    max_seconds: float = 60.0
    dataset_path: str | None = None
    profile_operators: bool = True
    cpus: tuple[int, ...] | None = None
    baseline_samples_path: str | None = None
    baseline_noisy: bool = False
    calibrated_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _within("threads", self.threads, 1, MAX_THREADS)
        _within("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)
        _within("warmup", self.warmup, 0, MAX_WARMUP)
        _within("min_seconds", self.min_seconds, MIN_BENCHMARK_SECONDS, MAX_BENCHMARK_SECONDS)
        _within("max_seconds", self.max_seconds, MIN_BENCHMARK_SECONDS, MAX_BENCHMARK_SECONDS)
        if self.max_seconds < self.min_seconds:
            raise refuse(
                "max_seconds",
                f"max_seconds ({self.max_seconds:g}) is less than min_seconds ({self.min_seconds:g}).",
                "Let max_seconds be at least min_seconds.",
            )


@dataclass(frozen=True, kw_only=True)
class ComparisonSpec:
    """Measure models by turns on this machine, and say how each stands against the first.

    ``margin`` is the largest relative difference that does not matter; ``max_seconds`` holds for everything but accuracy.
    """

    kind: ClassVar[str] = "compare"
    model_paths: tuple[str, ...]
    formats: tuple[Format, ...]
    names: tuple[str, ...] = ()
    threads: int | None = None
    dataset_path: str | None = None
    margin: float = 0.02
    max_seconds: float = 120.0
    cpus: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.model_paths)
        if not MIN_COMPARED <= count <= MAX_COMPARED:
            raise refuse(
                "models",
                f"{count} model{' was' if count == 1 else 's were'} given; {MIN_COMPARED} to {MAX_COMPARED} are compared.",
                "Name the models, the one that the others are compared with first.",
            )
        if len(self.formats) != count or len(self.names) not in (0, count):
            raise refuse("formats", "There must be one format for each model.", "Give as many as there are models.")
        _within("threads", self.threads, 1, MAX_THREADS)
        _within("margin", self.margin, MIN_MARGIN, MAX_MARGIN)
        _within("max_seconds", self.max_seconds, MIN_COMPARISON_SECONDS, MAX_BENCHMARK_SECONDS)


@dataclass(frozen=True, kw_only=True)
class EstimateSpec:
    """Estimate a model on a device that is not here.

    Parameters
    ----------
    machine
        The device's published numbers; see :class:`edge_ai.engine.estimate.machine.Machine`.
    held_bytes
        What the model's weights and most of its activations take at a time; ``None`` where that is not known.
    """

    kind: ClassVar[str] = "estimate"
    model_path: str
    format: Format
    machine: Mapping[str, Any]
    threads: int | None = None
    batch_size: int = 1
    dataset_path: str | None = None
    held_bytes: int | None = None

    def __post_init__(self) -> None:
        _within("threads", self.threads, 1, MAX_THREADS)
        _within("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)


@dataclass(frozen=True, kw_only=True)
class PackageSpec:
    """Make a bundle of a model: everything that it takes to run it somewhere else.

    ``facts`` is what its card says of how it was made and measured; see :class:`edge_ai.engine.package.card.Subject`.
    """

    kind: ClassVar[str] = "package"
    model_path: str
    format: Format
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DiagnosisSpec:
    """Find out why a variant is slower than its baseline, or wrong. ``max_seconds`` is for measuring the two by turns."""

    kind: ClassVar[str] = "diagnose"
    model_path: str
    format: Format
    baseline_path: str
    baseline_format: Format
    threads: int | None = None
    max_seconds: float = 20.0
    dataset_path: str | None = None
    cpus: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _within("threads", self.threads, 1, MAX_THREADS)
        _within("max_seconds", self.max_seconds, MIN_BENCHMARK_SECONDS, MAX_BENCHMARK_SECONDS)


Spec = AnalyzeSpec | OptimizeSpec | BenchmarkSpec | EstimateSpec | ComparisonSpec | DiagnosisSpec | PackageSpec
SPECS: dict[str, type[Spec]] = {
    spec.kind: spec
    for spec in (AnalyzeSpec, OptimizeSpec, BenchmarkSpec, EstimateSpec, ComparisonSpec, DiagnosisSpec, PackageSpec)
}
E = TypeVar("E", bound=StrEnum)
_ENUMS: dict[str, type[StrEnum]] = {
    "format": Format,
    "baseline_format": Format,
    "source_format": Format,
    "target_format": Format,
    "precision": Precision,
    "optimization_level": OptimizationLevel,
}


def spec_to_json(spec: Spec) -> dict[str, object]:
    """Return the JSON object of a spec."""
    return {"kind": spec.kind, **asdict(spec)}


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """Return the spec that a JSON object describes.

    Raises
    ------
    UserInputError
        ``invalid_request``, naming the field.
    """
    kind = data.get("kind")
    if kind not in SPECS:
        raise refuse("kind", f"kind is {kind!r}; it must be one of {', '.join(SPECS)}.", "Name a kind of work.")
    known = {item.name for item in fields(SPECS[kind])}
    given: dict[str, Any] = {name: value for name, value in data.items() if name != "kind"}
    for name in given.keys() - known:
        raise refuse(name, f"{name} is not a field of {kind}.", "Leave it out.")
    for name, enum in _ENUMS.items():
        if name in given:
            given[name] = _enum(enum, name, given[name])
    if given.get("formats") is not None:
        given["formats"] = tuple(_enum(Format, "formats", each) for each in given["formats"])
    for name in ("model_paths", "names"):
        if given.get(name) is not None:
            given[name] = tuple(str(each) for each in given[name])
    if given.get("cpus") is not None:
        given["cpus"] = tuple(int(cpu) for cpu in given["cpus"])
    if given.get("calibrated_on") is not None:
        given["calibrated_on"] = tuple(str(mark) for mark in given["calibrated_on"])
    try:
        return SPECS[kind](**given)
    except TypeError as error:
        raise refuse("kind", f"The description of the work is incomplete: {error}.", "Give every field.") from None


def _enum(enum: type[E], name: str, value: object) -> E:
    try:
        return enum(str(value))
    except ValueError:
        raise refuse(name, f"{name} is {value!r}; it must be one of {', '.join(enum)}.", "Use one of these.") from None
