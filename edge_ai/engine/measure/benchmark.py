"""The benchmark: prepares the inputs, has fresh processes measured one after another, and puts the result together.

This process measures nothing itself but accuracy, where time does not count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.evaluate.dataset import Dataset, load_dataset
from edge_ai.engine.evaluate.samples import sample_hashes
from edge_ai.engine.formats.base import handler_of
from edge_ai.engine.measure.child import run_task
from edge_ai.engine.measure.compare import BETWEEN_NOISY_RUNS_SD, BETWEEN_RUNS_SD, compare
from edge_ai.engine.measure.environment import describe_machine
from edge_ai.engine.measure.inputs import SEED, Prepared, prepare_inputs
from edge_ai.engine.measure.judged import Judged, compare_accuracy, data_mark, judge, keep_correct
from edge_ai.engine.measure.noise import NoiseSignals, judge_noise
from edge_ai.engine.measure.operators import NO_PROFILE
from edge_ai.engine.measure.session import explained
from edge_ai.engine.measure.statistics import chart_points, summarize_latency
from edge_ai.engine.progress import OutputFile, Progress
from edge_ai.engine.routes import RUNS_HERE, RUNTIME_OF
from edge_ai.engine.runtime import open_model
from edge_ai.engine.spec import BenchmarkSpec, Format

SAMPLES_FILE: Final = "samples.npz"
INPUTS_FILE: Final = "inputs.npz"
PROFILE_PREFIX: Final = "operators"

_MAX_WARMUP_SECONDS: Final = 5.0
_WARMUP_SHARE: Final = 0.25
_THROUGHPUT_SECONDS: Final = 1.0
_MAX_ACCURACY_SECONDS: Final = 120.0
_ALLOWANCE_SECONDS: Final = 300.0
"""For loading and for a last inference that outlasts the budget, on top of the time asked for."""

# What each part of the work is worth on the way from 0 to 100.
_LATENCY_FROM, _THROUGHPUT_FROM, _PROFILE_FROM, _ACCURACY_FROM = 8.0, 75.0, 82.0, 88.0


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What all runner processes of one benchmark share; ``model`` is what the runtime opens, relative to ``workdir``."""

    spec: BenchmarkSpec
    model: str
    workdir: Path
    threads: int
    processors: int
    prepared: Prepared
    hashes: tuple[str, ...] | None = None

    def task(self, name: str, **fields: object) -> dict[str, object]:
        """Return the task for a runner."""
        return {
            "task": name,
            "model_path": self.model,
            "format": str(self.spec.format),
            "threads": self.threads,
            "cpus": list(self.spec.cpus) if self.spec.cpus else None,
            "inputs_path": INPUTS_FILE,
            "input_names": list(self.prepared.names),
            "feed_count": self.prepared.count,
            "input": self.prepared.kind,
        } | fields


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
        run, ``latency_ns`` and ``started_ns`` (since the first run), both int64 of shape (samples,), and where accuracy was
        judged answer by answer which were right (`keep_correct`).

    Raises
    ------
    EngineError
        Among others `UnsupportedError` for a format or batch size that cannot run, ``engine_crashed`` when the model
        takes its process down, ``resource_limit`` when memory or time runs out.
    """
    plan, dataset = _prepare(spec, workdir, progress)
    latency = _measure_latency(plan, progress)
    memory = _describe_memory(plan, latency)
    with np.load(workdir / SAMPLES_FILE, allow_pickle=False) as stored:
        latency_ns: npt.NDArray[np.int64] = stored["latency_ns"]
    throughput = _measure_throughput(plan, progress)
    operators = _profile_operators(plan, progress)
    judged = _measure_accuracy(plan, dataset, progress)
    if spec.dataset_path is not None:
        keep_correct(workdir / SAMPLES_FILE, judged.evaluation, data_mark(workdir / spec.dataset_path))
    (workdir / INPUTS_FILE).unlink()

    noise = judge_noise(NoiseSignals(**latency["noise"]))
    result: dict[str, object] = {
        "kind": "measured",
        "latency_ms": summarize_latency(latency_ns).to_json(),
        "chart": chart_points(latency_ns),
        "throughput_per_s": throughput["per_s"],
        "throughput": throughput,
        "load_ms": {"cold": latency["cold_ms"], "warm": latency["warm_ms"]},
        "load_detail": _load_detail(dropped=bool(latency["page_cache_dropped"])),
        "import_ms": latency["import_ms"],
        "first_inference_ms": latency["first_inference_ms"],
        **memory,
        "cpu_percent": latency["cpu_percent"],
        "energy_mj": latency["energy_mj"],
        "energy_reason": latency["energy_reason"],
        **judged.to_json(),
        **operators,
        "warmup": latency["warmup"],
        "environment": _describe_environment(plan, latency),
        "noise": noise.to_json(),
        "stop": latency["stop"] | {"seconds": latency["measured_seconds"]},
        "comparison": _compare_with_baseline(spec, workdir, latency_ns, noisy=noise.verdict == "noisy"),
    }
    samples = OutputFile(
        role="samples", path=SAMPLES_FILE, name=SAMPLES_FILE, format=None, mime_type="application/x-npz"
    )
    return result, [samples]


def _prepare(spec: BenchmarkSpec, workdir: Path, progress: Progress) -> tuple[_Plan, Dataset | None]:
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
    plan = _Plan(
        spec=spec,
        model=os.path.relpath(model, workdir),
        workdir=workdir,
        threads=spec.threads or processors,
        processors=processors,
        prepared=prepared,
        hashes=hashes,
    )
    return plan, dataset


def _run(
    plan: _Plan, task: Mapping[str, Any], on_tick: Callable[[str, float], None], *, seconds: float
) -> dict[str, Any]:
    return run_task(task, workdir=plan.workdir, timeout_s=seconds + _ALLOWANCE_SECONDS, on_tick=on_tick)


def _measure_latency(plan: _Plan, progress: Progress) -> dict[str, Any]:
    """Have one process measured from cold load to steady state; the longest part by far."""
    spec = plan.spec
    max_warmup_s = min(_MAX_WARMUP_SECONDS, spec.max_seconds * _WARMUP_SHARE)
    begins = {"start": 0.0, "load": 0.02, "warmup": 0.05, "measure": 0.2, "reload": 0.97}
    lasts = {"warmup": max_warmup_s, "measure": spec.max_seconds}
    ends = {"warmup": begins["measure"], "measure": begins["reload"]}
    says = {
        "warmup": "Warming up",
        "measure": "Measuring latency until the median is known within 2 %",
        "reload": "Loading the model again",
    }

    tell = _changes(progress)

    def on_tick(phase: str, seconds: float) -> None:
        share = begins[phase]
        if phase in lasts:
            share += (ends[phase] - begins[phase]) * min(1.0, seconds / lasts[phase])
        percent = _LATENCY_FROM + (_THROUGHPUT_FROM - _LATENCY_FROM) * share
        tell("latency", round(percent), says.get(phase, "Loading the model in a fresh process"))

    task = plan.task(
        "latency",
        warmup=spec.warmup,
        max_warmup_seconds=max_warmup_s,
        min_seconds=spec.min_seconds,
        max_seconds=spec.max_seconds,
        samples_path=SAMPLES_FILE,
    )
    return _run(plan, task, on_tick, seconds=spec.max_seconds + max_warmup_s)


def _measure_throughput(plan: _Plan, progress: Progress) -> dict[str, object]:
    """Find the most inferences a second that the processors give, in a run of its own.

    With the number of threads asked for, as many streams of that many threads as fill the processors are tried, and one
    stream alone; without, one stream with all threads and one stream a processor. The best counts. The streams are
    Python threads: for networks of some ten microseconds they get in each other's way, and one alone may be best. Each
    number of threads has a process of its own, since some runtimes can only be told once.
    """
    if plan.spec.threads is None:
        shapes = {(1, plan.processors), (plan.processors, 1)}
    else:
        shapes = {(1, plan.threads), (max(1, plan.processors // plan.threads), plan.threads)}
    seconds = min(_THROUGHPUT_SECONDS, plan.spec.max_seconds)
    found: list[dict[str, object]] = []
    rates: list[float] = []
    for number, threads in enumerate(sorted({threads for _, threads in shapes})):
        streams = sorted(count for count, each in shapes if each == threads)
        percent = _THROUGHPUT_FROM + (_PROFILE_FROM - _THROUGHPUT_FROM) * number / len(shapes)
        told = f"Measuring throughput: streams {' and '.join(map(str, streams))}, threads each {threads}"
        task = plan.task("throughput", streams=streams, seconds=seconds) | {"threads": threads}
        measured = _run(plan, task, _at(progress, "throughput", percent, told), seconds=seconds * len(streams))
        for one in measured["counted"]:
            rates.append(one["runs_per_s"] * plan.prepared.batch_size)
            found.append(
                {
                    "per_s": rates[-1],
                    "streams": one["streams"],
                    "threads": threads,
                    "seconds": one["seconds"],
                    "runs": one["runs"],
                }
            )
    return found[int(np.argmax(rates))]


def _profile_operators(plan: _Plan, progress: Progress) -> dict[str, object]:
    """Measure the operators one by one; null with the reason where that is not wanted or not possible."""
    reason = NO_PROFILE.get(plan.spec.format) if plan.spec.profile_operators else "the profile was not asked for"
    if reason is not None:
        return {"operators": None, "operators_runs": None, "operators_reason": reason}
    on_tick = _at(progress, "operators", _PROFILE_FROM, "Measuring the operators one by one")
    profile = _run(plan, plan.task("profile", profile_prefix=PROFILE_PREFIX), on_tick, seconds=1.0)
    return {"operators": profile["operators"], "operators_runs": profile["runs"], "operators_reason": None}


def _describe_memory(plan: _Plan, latency: Mapping[str, Any]) -> dict[str, object]:
    """Return the memory with and without the model, and how "without" was found."""
    if RUNTIME_OF[plan.spec.format] == "onnxruntime":
        baseline = _run(plan, plan.task("baseline"), lambda phase, seconds: None, seconds=0)["used_mb"]
        detail = "baseline: the runtime with a model that does nothing, in a process of its own."
    else:
        baseline = latency["imported_mb"]
        detail = (
            "baseline: the runtime imported and the inputs read, before the model was loaded; no model ran in it yet."
        )
    return {
        "memory_mb": {"baseline": baseline, "loaded": latency["loaded_mb"], "peak": latency["peak_mb"]},
        "memory_detail": detail,
    }


def _measure_accuracy(plan: _Plan, dataset: Dataset | None, progress: Progress) -> Judged:
    """Judge the model on the labels of the dataset; what cannot be judged is null with the reason."""
    if dataset is None or dataset.labels is None:
        reason = "no dataset was given" if dataset is None else "the dataset has no labels"
        return Judged(evaluation=None, reason=reason)
    progress.stage("accuracy", round(_ACCURACY_FROM), "Judging the answers against the labels")
    session = open_model(plan.workdir / plan.model, plan.spec.format, threads=plan.processors)
    with explained("run", plan.task("accuracy")):
        return judge(
            session,
            dataset,
            max_seconds=_MAX_ACCURACY_SECONDS,
            hashes=plan.hashes,
            calibrated_on=plan.spec.calibrated_on,
        )


def _at(progress: Progress, stage: str, percent: float, message: str) -> Callable[[str, float], None]:
    """Return a tick that reports a short part of the work, which has no progress of its own."""
    tell = _changes(progress)
    return lambda phase, seconds: tell(stage, round(percent), message)


def _changes(progress: Progress) -> Callable[[str, int, str], None]:
    """Return a way to report that passes on only what is new."""
    last: list[tuple[str, int, str]] = []

    def tell(stage: str, percent: int, message: str) -> None:
        if [(stage, percent, message)] != last:
            last[:] = [(stage, percent, message)]
            progress.stage(stage, percent, message)

    return tell


def _describe_environment(plan: _Plan, latency: Mapping[str, Any]) -> dict[str, object]:
    cpus = plan.spec.cpus or tuple(sorted(os.sched_getaffinity(0)))
    return describe_machine(cpus) | {
        "runtime": latency["runtime"],
        latency["runtime"]: latency["runtime_version"],
        "provider": latency["provider"],
        "threads": plan.threads,
        "cpus": list(cpus),
        "pinned": plan.spec.cpus is not None,
        "batch_size": plan.prepared.batch_size,
        "input": plan.prepared.kind,
        "input_samples": plan.prepared.count,
        "seed": SEED,
    }


def _load_detail(*, dropped: bool) -> str:
    cold = (
        "the kernel was asked to forget the file first, which it may not have done wholly"
        if dropped
        else "the file may have been in the page cache"
    )
    return (
        f"cold: the first load of a fresh process, without the import of the runtime; {cold}. warm: loaded again after."
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
