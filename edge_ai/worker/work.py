"""From a job's row to what the engine is told: its spec, and a folder with copies of its input."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.estimate.machine import check_estimable
from edge_ai.engine.plan import plan_optimization
from edge_ai.engine.spec import (
    AnalyzeSpec,
    BenchmarkSpec,
    ComparisonSpec,
    DiagnosisSpec,
    EstimateSpec,
    Format,
    OptimizationLevel,
    OptimizeSpec,
    PackageSpec,
    Precision,
    Spec,
)
from edge_ai.models import (
    AnalysisJob,
    BenchmarkRun,
    ComparisonJob,
    Dataset,
    DiagnosisJob,
    Job,
    JobKind,
    Model,
    ModelStatus,
    OptimizationJob,
    PackagingJob,
    Queue,
    ResultKind,
)
from edge_ai.sandbox import Limits
from edge_ai.sandbox.limits import address_bytes_for
from edge_ai.services.answers import answer_key
from edge_ai.services.comparisons import check_compared
from edge_ai.services.converters import missing_tools
from edge_ai.services.datasets import header_of
from edge_ai.services.packaging import facts_of
from edge_ai.services.readiness import require_usable

EXTENSIONS = {
    "onnx": ".onnx",
    "tflite": ".tflite",
    "keras": ".keras",
    "saved_model": ".zip",
    "openvino": ".zip",
    "ort": ".ort",
    "coreml": ".zip",
    "ncnn": ".zip",
    "gguf": ".gguf",
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """One attempt at a job."""

    spec: Spec
    limits: Limits


def prepare(job: Job, folder: Path) -> Work:
    """Copy the job's input into ``folder`` and say what to do with it.

    Raises
    ------
    EngineError
        What can be seen to be impossible now that the model's analysis is there.
    """
    if job.kind == JobKind.ANALYSIS:
        model = AnalysisJob.objects.select_related("model").get(pk=job.pk).model
        Model.objects.filter(pk=model.pk, status=ModelStatus.UPLOADED).update(status=ModelStatus.ANALYZING)
        spec: Spec = AnalyzeSpec(model_path=_model(model, folder), format=Format(model.format))
    elif job.kind == JobKind.OPTIMIZATION:
        spec = _optimize(
            OptimizationJob.objects.select_related("model", "device_profile", "dataset").get(pk=job.pk), folder
        )
    elif job.kind == JobKind.PACKAGING:
        spec = _package(PackagingJob.objects.select_related("model", "owner").get(pk=job.pk), folder)
    elif job.kind == JobKind.COMPARISON:
        spec = _compare(ComparisonJob.objects.select_related("dataset").get(pk=job.pk), folder)
    elif job.kind == JobKind.DIAGNOSIS:
        spec = _diagnosis(DiagnosisJob.objects.select_related("model", "baseline", "dataset").get(pk=job.pk), folder)
    else:
        spec = _benchmark(
            BenchmarkRun.objects.select_related("model__producer", "device_profile", "dataset", "baseline").get(
                pk=job.pk
            ),
            folder,
        )
    return Work(spec=spec, limits=_limits(job, folder))


def _optimize(job: OptimizationJob, folder: Path) -> OptimizeSpec:
    model = job.model
    require_usable(model)
    plan = plan_optimization(
        analysis=model.analysis or {},
        size_bytes=model.size_bytes,
        source_format=Format(model.format),
        target_format=Format(job.target_format),
        precision=Precision(job.precision),
        optimization_level=OptimizationLevel(job.optimization_level),
        options=job.options,
        device=job.device_profile.facts,
        dataset=header_of(job.dataset),
        missing_tools=missing_tools(),
        memory_bytes=settings.ENGINE_MEMORY_BYTES,
    )
    # With the libraries that are here: they may be others than those where it was submitted.
    key = answer_key(
        model=model,
        dataset=job.dataset,
        device_profile=job.device_profile,
        target_format=job.target_format,
        precision=plan.precision or job.precision,
        optimization_level=job.optimization_level,
        options=job.options,
    )
    Job.objects.filter(pk=job.pk).update(cache_key=key)
    return OptimizeSpec(
        model_path=_model(model, folder),
        source_format=Format(model.format),
        target_format=Format(job.target_format),
        precision=Precision(job.precision),
        optimization_level=OptimizationLevel(job.optimization_level),
        dataset_path=_dataset(job.dataset, folder),
        options=_options(job),
        keep_stages=settings.STAGE_CACHE_BYTES > 0,
    )


def _options(job: OptimizationJob) -> dict[str, Any]:
    """Return the options of a job; what they leave open follows from its device."""
    options: dict[str, Any] = dict(job.options)
    if options.get("reduce_range") is None and job.device_profile.facts.saturating:
        options["reduce_range"] = True
    return options


def _benchmark(job: BenchmarkRun, folder: Path) -> BenchmarkSpec | EstimateSpec:
    require_usable(job.model)
    if job.result_kind == ResultKind.ESTIMATED:
        return _estimate(job, folder)
    baseline, baseline_noisy = None, False
    if job.baseline is not None and job.baseline.samples_blob_id is not None:
        baseline = "baseline-samples.npz"
        baseline_noisy = ((job.baseline.result or {}).get("noise") or {}).get("verdict") == "noisy"
        _copy(job.baseline.samples_blob_id, folder / baseline)
    return BenchmarkSpec(
        model_path=_model(job.model, folder),
        format=Format(job.model.format),
        threads=job.threads,
        batch_size=job.batch_size,
        warmup=job.warmup,
        min_seconds=job.min_seconds,
        max_seconds=job.max_seconds,
        dataset_path=_dataset(job.dataset, folder),
        profile_operators=job.profile_operators,
        cpus=settings.BENCHMARK_CPUS,
        baseline_samples_path=baseline,
        baseline_noisy=baseline_noisy,
        calibrated_on=_calibrated_on(job.model) if job.dataset is not None else (),
    )


def _compare(job: ComparisonJob, folder: Path) -> ComparisonSpec:
    models = [each.model for each in job.compared.select_related("model")]
    for model in models:
        require_usable(model)
    check_compared(models)
    return ComparisonSpec(
        model_paths=tuple(_model(model, folder, stem=f"model-{place}") for place, model in enumerate(models)),
        formats=tuple(Format(model.format) for model in models),
        names=tuple(model.name for model in models),
        threads=job.threads,
        dataset_path=_dataset(job.dataset, folder),
        margin=job.margin,
        max_seconds=job.max_seconds,
        cpus=settings.BENCHMARK_CPUS,
    )


def _diagnosis(job: DiagnosisJob, folder: Path) -> DiagnosisSpec:
    if job.baseline is None:
        raise UserInputError(
            "The model that the variant was to be held against has been deleted.",
            code="conflict",
            fix="Ask again with another baseline.",
            field="baseline",
        )
    require_usable(job.model)
    require_usable(job.baseline)
    return DiagnosisSpec(
        model_path=_model(job.model, folder),
        format=Format(job.model.format),
        baseline_path=_model(job.baseline, folder, stem="baseline"),
        baseline_format=Format(job.baseline.format),
        threads=job.threads,
        max_seconds=job.max_seconds,
        dataset_path=_dataset(job.dataset, folder),
        cpus=settings.BENCHMARK_CPUS,
    )


def _estimate(job: BenchmarkRun, folder: Path) -> EstimateSpec:
    """Hand over what the profile says now, and check anew what was not known while the model was analysed.

    Raises
    ------
    UnsupportedError
        ``device_not_here``.
    """
    machine = job.device_profile.machine
    check_estimable(Format(job.model.format), machine)
    analysis = job.model.analysis or {}
    weights, activations = analysis.get("weight_bytes"), analysis.get("peak_activation_bytes")
    return EstimateSpec(
        model_path=_model(job.model, folder),
        format=Format(job.model.format),
        machine=machine.to_json(),
        threads=job.threads,
        batch_size=job.batch_size,
        dataset_path=_dataset(job.dataset, folder),
        held_bytes=None if weights is None or activations is None else weights + activations * job.batch_size,
    )


def _calibrated_on(model: Model) -> tuple[str, ...]:
    """Return the hashes of the samples that a variant was calibrated on; none of a model that was uploaded."""
    made = model.producer.result if model.producer is not None else None
    calibration = (made or {}).get("calibration") or {}
    return tuple(calibration.get("sample_hashes") or ())


def _package(job: PackagingJob, folder: Path) -> PackageSpec:
    require_usable(job.model)
    facts, recipe = facts_of(job.owner, model=job.model)
    return PackageSpec(
        model_path=_model(job.model, folder),
        format=Format(job.model.format),
        name=job.model.name,
        facts=facts,
        recipe=recipe,
    )


def _model(model: Model, folder: Path, *, stem: str = "model") -> str:
    name = stem + EXTENSIONS.get(model.format, ".bin")
    _copy(model.sha256, folder / name)
    return name


def _dataset(dataset: Dataset | None, folder: Path) -> str | None:
    if dataset is None:
        return None
    _copy(dataset.sha256, folder / "dataset.npz")
    return "dataset.npz"


def _copy(sha256: str, target: Path) -> None:
    """Put a copy of a stored file where the child reads it, and does not change it."""
    try:
        storage.copy_out(sha256, target)
    except FileNotFoundError as error:
        raise storage.lost("is missing") from error
    target.chmod(0o444)


def _limits(job: Job, folder: Path) -> Limits:
    cpus = None
    if settings.BENCHMARK_CPUS is not None and job.queue != Queue.BENCHMARK:
        # Conversions stay off the processors that benchmarks are measured on, as long as that leaves them any.
        cpus = tuple(sorted(os.sched_getaffinity(0) - set(settings.BENCHMARK_CPUS))) or None
    seconds = settings.JOB_WALL_SECONDS
    if job.kind == JobKind.ANALYSIS:
        seconds = min(seconds, settings.ANALYSIS_WALL_SECONDS)
    largest = max((path.stat().st_size for path in folder.iterdir()), default=0)
    return Limits(
        wall_seconds=seconds,
        memory_bytes=settings.ENGINE_MEMORY_BYTES,
        address_bytes=address_bytes_for(largest, settings.ENGINE_ADDRESS_BYTES),
        output_bytes=settings.ENGINE_OUTPUT_BYTES,
        cpus=cpus,
    )
