"""Saved benchmark runs side by side, chosen by their address: ``/compare/?run=…&run=…&against=…``."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from config.errors import status_of
from edge_ai.engine.errors import EngineError
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.services.run_comparison import RunComparison, compare_runs
from edge_ai.web.pages import page
from edge_ai.web.run_comparison import charts_of, distribution_table, headline, metric_of, rows_of
from edge_ai.web.share_links import ids_of, share_context
from edge_ai.web.wording import metric

TEMPLATE = "edge_ai/run_comparison.html"


@in_workspace
@require_safe
def run_comparison(request: MemberRequest) -> HttpResponse:
    """Hold saved runs against one of them; without any, say where they are chosen."""
    if "run" not in request.GET:
        return page(request, TEMPLATE, {})
    try:
        comparison = compare_runs(
            request.user, run_ids=ids_of(request.GET.getlist("run")), against=_against(request.GET.get("against"))
        )
    except EngineError as error:
        refusal = {"code": error.code, "detail": error.message, "fix": error.fix}
        return page(request, TEMPLATE, {"refusal": refusal}, status=status_of(error.code))
    rows = rows_of(comparison)
    named = metric_of(comparison)
    context = {
        "comparison": comparison,
        "rows": rows,
        "metric": named,
        "metric_name": metric(named)[:1].upper() + metric(named)[1:],
        "headline": headline(rows),
        "charts": charts_of(rows, named),
        "distribution": distribution_table(rows),
        "differing": [row for row in rows if row.held.differences],
        "noisy": [row for row in rows if row.run.noise == "noisy"],
        "side_by_side": _side_by_side(comparison),
        "without": {row.number: _without(comparison, row.run.run_id) for row in rows} if len(rows) > 2 else {},
        "models": len({run.model_id for run in comparison.runs}),
    }
    ids = [run.run_id for run in comparison.runs]
    context |= share_context(request, runs__contains=ids, runs__contained_by=ids)
    return page(request, TEMPLATE, context)


def _against(text: str | None) -> UUID | None:
    return ids_of([text])[0] if text else None


def _side_by_side(comparison: RunComparison) -> str:
    """Return the query of the form that has these models measured by turns; empty where there is nothing to measure."""
    runs = [run for run in comparison.runs if run.format in RUNS_HERE]
    models = list(dict.fromkeys(run.model_id for run in runs))
    return "&".join(f"model={key}" for key in models) if len(models) > 1 else ""


def _without(comparison: RunComparison, left_out: UUID) -> str:
    """Return the query of the page with one run fewer."""
    kept = [run.run_id for run in comparison.runs if run.run_id != left_out]
    against = f"&against={comparison.baseline.run_id}" if comparison.baseline.run_id != left_out else ""
    return "&".join(f"run={key}" for key in kept) + against
