"""Planning and submitting benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.models import User
from config.middleware import current_request_id
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.plan import Plan, check_benchmark
from edge_ai.engine.plan import plan_benchmark as plan_for
from edge_ai.engine.spec import BenchmarkSpec, Format
from edge_ai.models import (
    BenchmarkRun,
    Dataset,
    DeviceProfile,
    Job,
    JobKind,
    JobStatus,
    Model,
    OptimizationJob,
    Priority,
    Queue,
    ResultKind,
    Visibility,
)
from edge_ai.services import queue
from edge_ai.services.converters import missing_tools
from edge_ai.services.datasets import header_of
from edge_ai.services.readiness import analysis_awaited, require_usable, variant_awaited
from edge_ai.services.rows import create_extended


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest:
    """What is asked for; the rows are ones that the asker sees.

    With ``optimization_job`` the variant that it makes is measured, and ``model`` is the variant's source until then; see
    :func:`of_variant`.
    """

    model: Model
    device_profile: DeviceProfile
    optimization_job: OptimizationJob | None = None
    dataset: Dataset | None = None
    baseline: BenchmarkRun | None = None
    threads: int | None = None
    batch_size: int = 1
    warmup: int | None = None
    min_seconds: float = 3.0
    max_seconds: float = 60.0
    profile_operators: bool = True
    name: str = ""
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL


def of_variant(user: User, *, optimization: OptimizationJob, **fields: Any) -> BenchmarkRequest:
    """Ask for a measurement of what an optimization makes, whether it is made already or not."""
    if optimization.status == JobStatus.COMPLETED:
        made = (optimization.result or {}).get("model")
        variant = Model.objects.visible_to(user).filter(pk=made).first() if made else None
        if variant is None:
            raise UserInputError(
                "The optimization's variant has been deleted.",
                code="conflict",
                fix="Run the optimization again first.",
                field="optimization_job",
            )
        return BenchmarkRequest(model=variant, **fields)
    return BenchmarkRequest(model=optimization.model, optimization_job=optimization, **fields)


def usual_name(what: str, device_profile: DeviceProfile) -> str:
    """Return what a benchmark is called whose asker gave it no name."""
    return f"{what} on {device_profile.name}"[:200]


def plan_benchmark(user: User, *, request: BenchmarkRequest) -> Plan | None:
    """Say what would run, or refuse what can never work; ``None`` while the model's analysis is not done.

    Raises
    ------
    EngineError
        ``device_not_here``, ``kinds_differ``, ``unsupported_conversion``, ``dataset_mismatch``, ``invalid_request`` for a bad
        budget, or the code that the model's own analysis failed with.
    """
    model = request.model
    require_usable(model)
    if request.baseline is not None and request.baseline.status != JobStatus.COMPLETED:
        raise UserInputError(
            "The baseline has no result yet.", code="conflict", fix="Choose a completed benchmark.", field="baseline"
        )
    _check_baseline(request)
    # The bounds of the request live in the engine's own form of it.
    BenchmarkSpec(
        model_path="model",
        format=Format(model.format),
        threads=request.threads,
        batch_size=request.batch_size,
        warmup=request.warmup,
        min_seconds=request.min_seconds,
        max_seconds=request.max_seconds,
        dataset_path=None,
        profile_operators=request.profile_operators,
        cpus=None,
    )
    variant_of = request.optimization_job
    if model.analysis is None or variant_of is not None:
        # What will be measured is not known yet; that it could be measured here is.
        format = Format(model.format if variant_of is None else variant_of.target_format)
        check_benchmark(format, request.device_profile.facts, missing_tools())
        return None
    return plan_for(
        analysis=model.analysis,
        format=Format(model.format),
        device=request.device_profile.facts,
        dataset=header_of(request.dataset),
        batch_size=request.batch_size,
        missing_tools=missing_tools(),
    )


def kind_of(device: DeviceProfile) -> ResultKind:
    """Return whether a benchmark on a device measures: the studio runs on one alone."""
    return ResultKind.MEASURED if device.is_host else ResultKind.ESTIMATED


def queue_of(device: DeviceProfile) -> Queue:
    """Return which workers run a benchmark on a device: what only estimates waits for no quiet machine."""
    return Queue.BENCHMARK if kind_of(device) == ResultKind.MEASURED else Queue.STUDIO


def _check_baseline(request: BenchmarkRequest) -> None:
    """Refuse to hold what is measured against what is estimated, and estimates against anything.

    Raises
    ------
    UserInputError
        ``kinds_differ``.
    """
    if request.baseline is None:
        return
    if ResultKind.ESTIMATED in {request.baseline.result_kind, kind_of(request.device_profile)}:
        raise UserInputError(
            "Estimated numbers are not compared, neither with measured ones nor with one another.",
            code="kinds_differ",
            fix="Leave the baseline out, or measure both on “This machine”.",
            field="baseline",
        )


def submit_benchmark(user: User, *, request: BenchmarkRequest) -> BenchmarkRun:
    """Queue a benchmark; one of a model that is still being analysed waits for that.

    Raises
    ------
    EngineError
        As :func:`plan_benchmark`.
    """
    plan_benchmark(user, request=request)
    kind = kind_of(request.device_profile)
    what = request.model.name if request.optimization_job is None else request.optimization_job.name
    with transaction.atomic():
        if request.optimization_job is not None:
            awaited: Job | None = variant_awaited(request.optimization_job)
        else:
            awaited = analysis_awaited(request.model)
        run = create_extended(
            BenchmarkRun(
                owner=user,
                visibility=request.visibility,
                kind=JobKind.BENCHMARK,
                queue=queue_of(request.device_profile),
                result_kind=kind,
                name=request.name.strip()[:200] or usual_name(what, request.device_profile),
                status=JobStatus.PENDING if awaited else JobStatus.QUEUED,
                waits_for=awaited,
                max_attempts=settings.JOB_MAX_ATTEMPTS,
                priority=request.priority,
                request_id=current_request_id(),
                model=request.model,
                variant_of=request.optimization_job,
                device_profile=request.device_profile,
                dataset=request.dataset,
                baseline=request.baseline,
                threads=request.threads,
                batch_size=request.batch_size,
                warmup=request.warmup,
                min_seconds=request.min_seconds,
                max_seconds=request.max_seconds,
                profile_operators=request.profile_operators,
            )
        )
        queue.submit(run)
    return run
