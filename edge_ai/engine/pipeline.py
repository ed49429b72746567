"""The only door for the worker: one spec in, one result and its files out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.spec import (
    AnalyzeSpec,
    BenchmarkSpec,
    ComparisonSpec,
    DiagnosisSpec,
    EstimateSpec,
    PackageSpec,
    Spec,
)


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """What came of a spec: a JSON object, and the files in the work folder that belong to it."""

    result: dict[str, Any]
    files: tuple[OutputFile, ...] = ()


def run(spec: Spec, workdir: Path, progress: Progress) -> PipelineResult:
    """Do what a spec asks for.

    Parameters
    ----------
    spec
        Its paths are relative to ``workdir``.
    workdir
        A folder to write to.
    progress
        Who is told how far it is.

    Raises
    ------
    EngineError
        With a stable code; see :mod:`edge_ai.engine.errors`.
    """
    # Each kind of work loads only the libraries that it needs: they take up to a second and 100 MB.
    if isinstance(spec, AnalyzeSpec):
        return PipelineResult(result=_analyze(spec, workdir, progress))
    if isinstance(spec, BenchmarkSpec):
        from edge_ai.engine.measure.benchmark import run_benchmark

        measured, samples = run_benchmark(spec, workdir, progress)
        return PipelineResult(result=measured, files=tuple(samples))
    if isinstance(spec, ComparisonSpec):
        from edge_ai.engine.measure.comparison import run_comparison

        compared, every_sample = run_comparison(spec, workdir, progress)
        return PipelineResult(result=compared, files=tuple(every_sample))
    if isinstance(spec, EstimateSpec):
        from edge_ai.engine.estimate.run import run_estimate

        return PipelineResult(result=run_estimate(spec, workdir, progress))
    if isinstance(spec, PackageSpec):
        from edge_ai.engine.package.bundle import make_bundle

        packed, bundle = make_bundle(spec, workdir, progress)
        return PipelineResult(result=packed, files=tuple(bundle))
    if isinstance(spec, DiagnosisSpec):
        from edge_ai.engine.doctor.diagnose import diagnose

        return PipelineResult(result=diagnose(spec, workdir, progress))
    from edge_ai.engine.optimize import optimize

    result, files = optimize(spec, workdir, progress)
    return PipelineResult(result=result, files=tuple(files))


def _analyze(spec: AnalyzeSpec, workdir: Path, progress: Progress) -> dict[str, Any]:
    progress.stage("analyze", 10, "Reading the model")
    from edge_ai.engine.formats.base import handler_of
    from edge_ai.engine.formats.bounds import check_bounds

    analysis = handler_of(spec.format).inspect(workdir / spec.model_path, workdir)
    check_bounds(analysis)
    return analysis
