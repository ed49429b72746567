"""The stages of a job as its page shows them: what is done, what runs, what is to come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from edge_ai.engine.errors import EngineError
from edge_ai.engine.plan import Plan, plan_optimization
from edge_ai.engine.spec import Format, OptimizationLevel, Precision
from edge_ai.models import (
    BenchmarkRun,
    ComparisonJob,
    DeviceProfile,
    Job,
    JobKind,
    JobStatus,
    Model,
    OptimizationJob,
    ResultKind,
    seen,
)
from edge_ai.services.datasets import header_of

# Under this, the time that is left would be a guess.
ESTIMATE_FROM_PERCENT = 10
# What the stage is that a job is at, or was at when it ended.
STATE_AT: dict[str, str] = {
    JobStatus.RUNNING: "now",
    JobStatus.FAILED: "stopped",
    JobStatus.CANCELLED: "cancelled",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the stepper; ``state`` is done, now, stopped, cancelled or coming."""

    name: str
    title: str
    state: str


def planned(job: Job) -> list[tuple[str, str]]:
    """Return the names and titles of the stages that the engine will report for a job."""
    if isinstance(job, OptimizationJob):
        return _optimization(job)
    if isinstance(job, BenchmarkRun) and job.result_kind == ResultKind.ESTIMATED:
        return [("trace", "Find the operators"), ("estimate", "Estimate")]
    if isinstance(job, BenchmarkRun):
        stages = [("prepare", "Prepare input"), ("latency", "Latency"), ("throughput", "Throughput")]
        if job.profile_operators:
            stages.append(("operators", "Operators"))
        if job.dataset is not None and job.dataset.has_labels:
            stages.append(("accuracy", "Accuracy"))
        return stages
    if isinstance(job, ComparisonJob):
        labelled = job.dataset is not None and job.dataset.has_labels
        return [("compare", "Measure by turns"), *([("accuracy", "Accuracy")] if labelled else [])]
    if job.kind == JobKind.DIAGNOSIS:
        return [
            ("prepare", "Read both models"),
            ("parity", "Compare the answers"),
            ("compare", "Measure by turns"),
            ("layers", "Look into the layers"),
            ("findings", "Look for causes"),
        ]
    if job.kind == JobKind.PACKAGING:
        return [("analyze", "Read the model"), ("describe", "Write the card"), ("pack", "Pack the files")]
    if job.kind == JobKind.DELETION:
        return [("clear", "Remove what nothing refers to")]
    if job.kind == JobKind.IMPORT:
        return [("fetch", "Fetch the file"), ("check", "Look at what came")]
    if job.kind == JobKind.EXPORT:
        return [("pack", "Write everything into one file")]
    return [("analyze", "Read the model")]


def plan_of(job: OptimizationJob) -> Plan | None:
    """Return the plan of an optimization; ``None`` where its model is not analysed yet or hidden, or its data set is gone."""
    model: Model | None = seen(job, "model")
    device: DeviceProfile | None = seen(job, "device_profile")
    if model is None or device is None:
        return None
    try:
        return plan_optimization(
            analysis=model.analysis or {},
            size_bytes=model.size_bytes,
            source_format=Format(model.format),
            target_format=Format(job.target_format),
            precision=Precision(job.precision),
            optimization_level=OptimizationLevel(job.optimization_level),
            options=job.options,
            device=device.facts,
            dataset=header_of(job.dataset),
        )
    except EngineError:
        return None


def _optimization(job: OptimizationJob) -> list[tuple[str, str]]:
    plan = plan_of(job)
    if plan is None:
        # The usual way is shown.
        return [("load", "Read the model"), ("quantize", "Quantize"), ("parity", "Compare with the original")]
    return [(stage.name, stage.title) for stage in plan.stages]


def stepper(job: Job, stages: Iterable[tuple[str, str]]) -> list[Stage]:
    """Say of each stage whether it is done. Trying another variant goes back a few stages, and the stepper with it."""
    steps = list(stages)
    names = [name for name, _ in steps]
    at = names.index(job.stage) if job.stage in names else -1
    found = []
    for place, (name, title) in enumerate(steps):
        if job.status == JobStatus.COMPLETED or place < at:
            state = "done"
        elif place == at or (at == -1 and place == 0 and job.status == JobStatus.RUNNING):
            state = STATE_AT.get(job.status, "coming")
        else:
            state = "coming"
        found.append(Stage(name=name, title=title, state=state))
    return found


def seconds_left(job: Job, now: datetime) -> float | None:
    """Return how long a running job may still take, by how long it took so far, or ``None`` while that is a guess."""
    if job.status != JobStatus.RUNNING or job.started_at is None or job.progress < ESTIMATE_FROM_PERCENT:
        return None
    elapsed = (now - job.started_at).total_seconds()
    return max(0.0, elapsed * (100 - job.progress) / job.progress)


def seconds_taken(job: Job, now: datetime) -> float | None:
    """Return how long a job has run, or ran."""
    if job.started_at is None:
        return None
    return ((job.finished_at or now) - job.started_at).total_seconds()
