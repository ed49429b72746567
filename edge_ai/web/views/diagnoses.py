"""Asking why a variant is slower or wrong, reading the answer, and running what it proposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST, require_safe

from accounts.access import MemberRequest, in_workspace, may_write
from accounts.models import User
from edge_ai.engine.errors import EngineError
from edge_ai.models import Dataset, DeviceProfile, DiagnosisJob, JobKind, Model, OptimizationJob
from edge_ai.services.diagnoses import DiagnosisRequest, run_fix, submit_diagnosis
from edge_ai.web.forms import fitting
from edge_ai.web.pages import page, see_other
from edge_ai.web.views.jobs import progress_of, whole_job
from edge_ai.web.views.models import visible_model
from edge_ai.web.wording import precision, significant

LAYERS_SHOWN = 400
DATASETS_LOOKED_AT = 50
#: One thread, as variants are measured while they are made.
THREADS = 1
SEVERITIES = {
    "high": ("cross", "text-error", "Explains much"),
    "medium": ("warning", "text-warning", "Explains a part"),
    "low": ("info", "text-info", "Explains little, or is not certain"),
}
#: Of evidence, what stands as figures on the card; the rest is folded below it.
WORST_DB = 20.0


@in_workspace
@may_write
@require_POST
def diagnosis_create(request: MemberRequest, model_id: UUID) -> HttpResponse:
    """Ask why a variant is slower than its parent, or wrong, with the data that it was made with, or that fits."""
    model = visible_model(request.user, model_id)
    host = get_object_or_404(DeviceProfile.objects.visible_to(request.user), is_host=True, is_template=True)
    wanted = DiagnosisRequest(model=model, device_profile=host, dataset=_data_for(request.user, model), threads=THREADS)
    try:
        job = submit_diagnosis(request.user, request=wanted)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
        return see_other("edge_ai:model-detail", model.pk)
    return see_other("edge_ai:diagnosis-detail", job.pk)


def _data_for(user: User, model: Model) -> Dataset | None:
    seen = Dataset.objects.visible_to(user)
    makers = OptimizationJob.objects.visible_to(user).filter(produced=model.pk)
    used = seen.filter(pk__in=makers.values("dataset_id")).first()
    if used is not None:
        return used
    found = fitting(model, seen.order_by("-has_labels", "-created_at")[:DATASETS_LOOKED_AT])
    return found[0] if found else None


@in_workspace
@require_safe
def diagnosis_detail(request: MemberRequest, diagnosis_id: UUID) -> HttpResponse:
    """A diagnosis while it runs, and what was found."""
    job = whole_job(request.user, diagnosis_id, kind=JobKind.DIAGNOSIS)
    context = progress_of(job, user=request.user) | {"mine": job.owner_id == request.user.pk}
    result: Mapping[str, Any] | None = job.result
    if result is not None:
        layers = result.get("layers") or []
        context |= {
            "result": result,
            "findings": [_card(finding) for finding in result.get("findings") or []],
            "layers": [_row(layer) for layer in layers[:LAYERS_SHOWN]],
            "left_out": max(0, len(layers) - LAYERS_SHOWN),
            "transitions": sum(1 for layer in layers if layer.get("transition")),
            "alone": any(layer.get("alone_sqnr_db") is not None for layer in layers),
        }
    return page(request, "edge_ai/diagnosis_detail.html", context)


def _card(finding: Mapping[str, Any]) -> dict[str, Any]:
    symbol, colour, words = SEVERITIES[finding["severity"]]
    evidence: Mapping[str, Any] = finding.get("evidence") or {}
    job: Mapping[str, Any] | None = finding.get("fix_job")
    return {
        **finding,
        "symbol": symbol,
        "colour": colour,
        "words": words,
        "figures": [
            (name.replace("_", " "), _figure(name, value))
            for name, value in evidence.items()
            if isinstance(value, (int, float, str)) and not isinstance(value, bool)
        ],
        "rows": _listed(evidence.get("layers") or evidence.get("outputs")),
        "operators": _listed_by_name(evidence.get("operators")),
        "names": [", ".join(island) for island in evidence.get("islands") or [] if isinstance(island, list)],
        "job_words": None if job is None else _job_words(job),
    }


def _figure(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if name == "share":
        return f"{100 * value:.0f} %"
    unit = {"ms": " ms", "sqnr_db": " dB"}.get(name, "")
    return (str(value) if isinstance(value, int) else significant(value)) + unit


def _listed(rows: Any) -> dict[str, Any] | None:
    """Return evidence that is a list of objects as a table."""
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], Mapping):
        return None
    names = list(rows[0])
    return {
        "heads": [name.replace("_", " ") for name in names],
        "rows": [[_cell(row.get(name)) for name in names] for row in rows],
    }


def _listed_by_name(rows: Any) -> dict[str, Any] | None:
    if isinstance(rows, Mapping):
        return _listed([{"operator": name, **row} for name, row in rows.items() if isinstance(row, Mapping)])
    return _listed(rows)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return significant(value) if isinstance(value, float) else str(value)


def _job_words(job: Mapping[str, Any]) -> str:
    """Return what a remedy would run, in words."""
    options = [
        f"{name.replace('_', ' ')}: {len(value)} layers"
        if isinstance(value, list)
        else f"{name.replace('_', ' ')}: {value}"
        for name, value in job["options"].items()
    ]
    level = {"speed": "the fastest of several ways", "size": "the smallest of several ways"}.get(
        job["optimization_level"]
    )
    return ", ".join([f"{precision(job['precision'])} as {job['target_format']}", *filter(None, [level]), *options])


def _row(layer: Mapping[str, Any]) -> dict[str, Any]:
    before, after = layer.get("baseline_ms"), layer.get("variant_ms")
    sqnr_db = layer.get("sqnr_db")
    return {
        **layer,
        "slower": before is not None and after is not None and after > 1.5 * before and after - before > 0.01,
        "far": sqnr_db is not None and sqnr_db < WORST_DB,
    }


@in_workspace
@may_write
@require_POST
def diagnosis_fix(request: MemberRequest, diagnosis_id: UUID, place: int) -> HttpResponse:
    """Run what a finding proposes."""
    job = get_object_or_404(
        DiagnosisJob.objects.visible_to(request.user).select_related("device_profile"), pk=diagnosis_id
    )
    try:
        fix = run_fix(request.user, job=job, place=place)
    except EngineError as error:
        messages.error(request, f"{error.message} {error.fix}")
        return see_other("edge_ai:diagnosis-detail", job.pk)
    return see_other("edge_ai:job-detail", fix.pk)
