"""Asking again: what an earlier job was asked with, as the first values of the form that asks for one like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, QueryDict

from accounts.models import User
from edge_ai.engine.options import option_rules
from edge_ai.models import BenchmarkRun, ComparisonJob, Job, Model, OptimizationJob
from edge_ai.services import benchmarks, comparisons, optimizations
from edge_ai.web.option_fields import shown_options

PARAMETER = "from"
J = TypeVar("J", bound=Job)


def earlier_job(request: HttpRequest, user: User, table: type[J], *related: str) -> J | None:
    """Return the job that ``?from=`` names. One that is not there, or not to be seen, is told on the page."""
    given = request.GET.get(PARAMETER, "")
    if not given:
        return None
    try:
        key = UUID(given)
    except ValueError:
        key = None
    rows: Any = table.objects
    job: J | None = None if key is None else rows.visible_to(user).select_related(*related).filter(pk=key).first()
    if job is None:
        messages.warning(
            request,
            "The job that this form was to begin from is not there any more: it was deleted, with its model perhaps. "
            "The form begins with the usual values.",
        )
    return job


def optimization_values(job: OptimizationJob) -> dict[str, Any]:
    """Return what an optimization was asked with. A name that the studio gave is left out: the next one gets its own."""
    usual = optimizations.usual_name(job.model, job.target_format, job.precision)
    return {
        "device_profile": job.device_profile_id,
        "dataset": job.dataset_id,
        "target_format": job.target_format,
        "precision": job.precision,
        "optimization_level": job.optimization_level,
        "priority": job.priority,
        "name": "" if job.batch_id else _own(job, usual),
        **shown_options(job.options),
    }


def overrides(query: QueryDict) -> dict[str, Any]:
    """Return what the address of the form for optimizations asks for by itself, such as another precision."""
    names = ("target_format", "precision", "optimization_level", "device_profile", "dataset", *option_rules())
    return {name: "\n".join(values) for name in names if any(values := query.getlist(name))}


def benchmark_values(run: BenchmarkRun) -> dict[str, Any]:
    """Return what a benchmark was asked with."""
    what = run.model.name if run.variant_of is None else run.variant_of.name
    asked = ("threads", "batch_size", "warmup", "min_seconds", "max_seconds", "profile_operators", "priority")
    return {name: getattr(run, name) for name in asked} | {
        "device_profile": run.device_profile_id,
        "dataset": run.dataset_id,
        "baseline": run.baseline_id,
        "name": _own(run, benchmarks.usual_name(what, run.device_profile)),
    }


def comparison_values(job: ComparisonJob, models: Sequence[Model]) -> dict[str, Any]:
    """Return what a comparison was asked with; ``models`` are those that are seen, the first one first."""
    return {
        "device_profile": job.device_profile_id,
        "dataset": job.dataset_id,
        "threads": job.threads,
        "margin": round(100 * job.margin, 6),
        "max_seconds": job.max_seconds,
        "priority": job.priority,
        "name": _own(job, comparisons.usual_name(models)) if len(models) > 1 else job.name,
    }


def lost_dataset(job: OptimizationJob | BenchmarkRun | ComparisonJob) -> bool:
    """Tell whether a job was run on a data set that has been deleted since."""
    result = job.result or {}
    if job.dataset_id is not None:
        return False
    return "dataset" in {(result.get("parity") or {}).get("data"), (result.get("environment") or {}).get("input")}


def tell_lost_dataset(request: HttpRequest, job: OptimizationJob | BenchmarkRun | ComparisonJob) -> None:
    """Say on the form that the data set is gone."""
    if lost_dataset(job):
        messages.warning(request, f"The data set that “{job.name}” ran on has been deleted. Choose another one.")


def shown(form: Any) -> dict[str, Any]:
    """Return what a form shows at first as if it had been sent, so that it can be planned."""
    return {name: "" if (value := form[name].value()) is None else value for name in form.fields}


def _own(job: Job, usual: str) -> str:
    return "" if job.name == usual else job.name
