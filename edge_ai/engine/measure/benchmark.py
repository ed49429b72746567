"""The benchmark: prepares the inputs, has fresh processes measured one after another, and puts the result together.

This process measures nothing itself but accuracy, where time does not count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.errors import EngineError, UnsupportedError
from edge_ai.engine.evaluate.dataset import Dataset, load_dataset
from edge_ai.engine.evaluate.samples import sample_hashes
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.measure.attempts import SAMPLES_FILE, measure_latency
from edge_ai.engine.measure.compare import BETWEEN_NOISY_RUNS_SD, BETWEEN_RUNS_SD, compare
from edge_ai.engine.measure.environment import describe_machine
from edge_ai.engine.measure.inputs import SEED, prepare_inputs
from edge_ai.engine.measure.judged import Judged, compare_accuracy, data_mark, judge, keep_correct
from edge_ai.engine.measure.layers import with_layers
from edge_ai.engine.measure.operators import NO_PROFILE
from edge_ai.engine.measure.planned import INPUTS_FILE, Planned, at_stage
from edge_ai.engine.measure.saturation import measure_saturation
from edge_ai.engine.measure.session import explained
from edge_ai.engine.measure.statistics import chart_points, summarize_latency
from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.routes import RUNS_HERE, RUNTIME_OF
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import BenchmarkSpec, Format

PROFILE_PREFIX: Final = "operators"

_MAX_ACCURACY_SECONDS: Final = 120.0

# What each part of the work is worth on the way from 0 to 100.
_LATENCY_FROM, _THROUGHPUT_FROM, _PROFILE_FROM, _ACCURACY_FROM = 8.0, 75.0, 82.0, 88.0


def run_benchmark(spec: BenchmarkSpec, workdir: Path, progress: Progress) -> tuple[dict[str, object], list[OutputFile]]:
    """Measure a model on this machine.

    Parameters
    ----------
    spec
        What to measure; its paths are relative to ``workdir``.
    workdir
        A writable folder, where the samples and temporary files are written.
    progress
        Told about twice a second how far it is, by the time used of the time asked for.

    Returns
    -------
    tuple
        The benchmark result of the API, kind "measured", and the files: role "samples", an ``.npz`` with every recorded
        run, ``latency_ns`` and ``started_ns`` (since the first run), both int64 of shape (samples,); and, where the
        measurement was repeated, the same of the attempt whose numbers are not in the result, ``other_…``. Where
        accuracy was judged answer by answer, also which were right (`keep_correct`).

    Raises
    ------
    EngineError
        Among others `UnsupportedError` for a format or batch size that cannot run, ``engine_crashed`` when the model
        takes its process down, ``resource_limit`` when memory or time runs out.
    """
    planned, dataset = _prepare(spec, workdir, progress)
    attempts = measure_latency(planned, progress, low=_LATENCY_FROM, high=_THROUGHPUT_FROM)
    latency, latency_ns = attempts.chosen.told, attempts.chosen.latency_ns
    summary = summarize_latency(latency_ns)
    memory = _describe_memory(planned, latency)
    throughput = measure_saturation(planned, progress, p50_ms=summary.p50, low=_THROUGHPUT_FROM, high=_PROFILE_FROM)
    operators = _profile_operators(planned, progress)
    judged = _measure_accuracy(planned, dataset, progress)
    if spec.dataset_path is not None:
        keep_correct(workdir / SAMPLES_FILE, judged.evaluation, data_mark(workdir / spec.dataset_path))
    (workdir / INPUTS_FILE).unlink()

    noisy = spec.baseline_noisy or attempts.chosen.noise.verdict == "noisy"
    result: dict[str, object] = {
        "kind": "measured",
        "latency_ms": summary.to_json(),
        "chart": chart_points(latency_ns),
        "throughput_per_s": throughput["per_s"],
        "throughput": throughput,
        "load_ms": {"cold": latency["cold_ms"], "warm": latency["warm_ms"]},
        "load_detail": _load_detail(dropped=bool(latency["page_cache_dropped"])),
        "import_ms": latency["import_ms"],
        "first_inference_ms": latency["first_inference_ms"],
        **memory,
        "cpu_percent": latency["cpu_percent"],
        "cpu_time": latency["cpu_time"],
        "energy_mj": latency["energy_mj"],
        "energy_reason": latency["energy_reason"],
        **judged.to_json(),
        **operators,
        "warmup": latency["warmup"],
        "environment": _describe_environment(planned, latency),
        "noise": attempts.noise(),
        "stop": latency["stop"] | {"seconds": latency["measured_seconds"]},
        "comparison": _compare_with_baseline(spec, workdir, latency_ns, noisy=noisy),
    }
    samples = OutputFile(
        role="samples", path=SAMPLES_FILE, name=SAMPLES_FILE, format=None, mime_type="application/x-npz"
    )
    return result, [samples]


def _prepare(spec: BenchmarkSpec, workdir: Path, progress: Progress) -> tuple[Planned, Dataset | None]:
    """Check what can be checked before anything is measured, and write the inputs to a file."""
    if spec.format not in RUNS_HERE:
        raise UnsupportedError(
            f"A model in the format {spec.format} cannot be run on this machine.",
            code="unsupported_conversion",
            fix="Measure the model that it was made from, in ONNX, TensorFlow Lite, Keras, SavedModel or OpenVINO.",
            details={"nearest": {"format": str(Format.ONNX)}},
        )
    progress.stage("prepare", 1, "Preparing the inputs")
    model = handler_of(spec.format).unpack(workdir / spec.model_path, workdir)
    inputs = open_model(model, spec.format, threads=1, optimize=False).inputs
    dataset = hashes = None
    if spec.dataset_path is not None:
        stored = load_dataset(workdir / spec.dataset_path)
        hashes = tuple(sample_hashes(stored.inputs)) if spec.calibrated_on else None
        dataset = stored.matched(inputs)
    prepared = prepare_inputs(inputs, dataset, batch_size=spec.batch_size, path=workdir / INPUTS_FILE)
    processors = len(spec.cpus) if spec.cpus else len(os.sched_getaffinity(0))
    planned = Planned(
        spec=spec,
        model=os.path.relpath(model, workdir),
        workdir=workdir,
        threads=spec.threads or processors,
        processors=processors,
        prepared=prepared,
        hashes=hashes,
    )
    return planned, dataset


def _profile_operators(planned: Planned, progress: Progress) -> dict[str, object]:
    """Measure the operators one by one; null with the reason where that is not wanted or not possible."""
    reason = NO_PROFILE.get(planned.spec.format) if planned.spec.profile_operators else "the profile was not asked for"
    if reason is not None:
        return _no_operators(reason)
    on_tick = at_stage(progress, "operators", _PROFILE_FROM, "Measuring the operators one by one")
    try:
        profile = planned.run(planned.task("profile", profile_prefix=PROFILE_PREFIX), on_tick, seconds=1.0)
    except EngineError as error:
        if planned.spec.format is not Format.TFLITE or error.code != "engine_crashed":
            raise
        # The interpreter that measures latency took the model; the profiler is another way into the library.
        return _no_operators("LiteRT's profiler ended unexpectedly on this model")
    if profile["operators"] is None:
        return _no_operators(profile["reason"])
    operators = with_layers(profile["operators"], planned.workdir / planned.model, planned.spec.format)
    return {"operators": operators, "operators_runs": profile["runs"], "operators_reason": None}


def _no_operators(reason: str) -> dict[str, object]:
    return {"operators": None, "operators_runs": None, "operators_reason": reason}


def _describe_memory(planned: Planned, latency: Mapping[str, Any]) -> dict[str, object]:
    """Return the memory with and without the model, and how "without" was found."""
    if RUNTIME_OF[planned.spec.format] == "onnxruntime":
        baseline = planned.run(planned.task("baseline"), lambda phase, seconds: None, seconds=0)["used_mb"]
        detail = "Baseline: the runtime alone, with a model that does nothing, in a process of its own."
    else:
        baseline = latency["imported_mb"]
        detail = "Baseline: the runtime alone, imported and the inputs read; no model was loaded or ran in it yet."
    ends = [latency[name] for name in ("loaded_mb", "peak_mb") if latency[name] is not None]
    if baseline is not None and ends and baseline > min(ends):
        # Shares of libraries depend on who else maps them, and the two were not read at the same time.
        baseline = None
        detail = "Baseline: not told, since other processes that share the runtime's libraries came or went meanwhile."
    share = (
        "proportional set size"
        if latency["memory_measure"] == "pss"
        else "resident set size, since the kernel hides the rest"
    )
    return {
        "memory_mb": {
            "baseline": baseline,
            "loaded": latency["loaded_mb"],
            "peak": latency["peak_mb"],
            "high_water": latency["high_water_mb"],
        },
        "memory_detail": f"{detail} Baseline, loaded and peak are {share}. The high-water mark is the most that the process "
        "ever had resident up to its steady state (VmHWM), with the libraries that it shares in full.",
    }


def _measure_accuracy(planned: Planned, dataset: Dataset | None, progress: Progress) -> Judged:
    """Judge the model on the labels of the dataset; what cannot be judged is null with the reason."""
    if dataset is None or dataset.labels is None:
        reason = "no data set was given" if dataset is None else "the data set has no labels"
        return Judged(evaluation=None, reason=reason)
    progress.stage("accuracy", round(_ACCURACY_FROM), "Judging the answers against the labels")
    session = open_model(planned.workdir / planned.model, planned.spec.format, threads=planned.processors)
    with explained("run", planned.task("accuracy")):
        return judge(
            session,
            dataset,
            max_seconds=_MAX_ACCURACY_SECONDS,
            hashes=planned.hashes,
            calibrated_on=planned.spec.calibrated_on,
        )


def _describe_environment(planned: Planned, latency: Mapping[str, Any]) -> dict[str, object]:
    cpus = planned.spec.cpus or tuple(sorted(os.sched_getaffinity(0)))
    return describe_machine(cpus) | {
        "runtime": latency["runtime"],
        latency["runtime"]: latency["runtime_version"],
        "provider": latency["provider"],
        "threads": planned.threads,
        "cpus": list(cpus),
        "pinned": planned.spec.cpus is not None,
        "batch_size": planned.prepared.batch_size,
        "input": planned.prepared.kind,
        "input_samples": planned.prepared.count,
        "seed": SEED,
    }


def _load_detail(*, dropped: bool) -> str:
    cold = (
        "the kernel was asked to forget the file first, which it may not have done wholly"
        if dropped
        else "the file may have been in the page cache"
    )
    return (
        f"Cold: the first load of a fresh process, without the import of the runtime; {cold}. Warm: loaded again after."
    )


def _compare_with_baseline(
    spec: BenchmarkSpec, workdir: Path, latency_ns: npt.NDArray[np.int64], *, noisy: bool
) -> dict[str, object] | None:
    """Compare with the samples of an earlier run, where they were given; the caller adds which run that was."""
    if spec.baseline_samples_path is None:
        return None
    with np.load(workdir / spec.baseline_samples_path, allow_pickle=False) as stored:
        earlier_ns: npt.NDArray[np.int64] = stored["latency_ns"]
    between_runs_sd = BETWEEN_NOISY_RUNS_SD if noisy else BETWEEN_RUNS_SD
    accuracy = compare_accuracy(workdir / spec.baseline_samples_path, workdir / SAMPLES_FILE)
    return dict(compare(earlier_ns, latency_ns, between_runs_sd=between_runs_sd)) | accuracy
