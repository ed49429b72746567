"""What somebody outside sees who holds a link: the numbers and the names of the models, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from edge_ai.services.run_comparison import RunComparison
from edge_ai.services.share_links import open_link
from edge_ai.web.compared import chart_of, headline, matrix_of, rows_of, sentences
from edge_ai.web.run_comparison import charts_of, distribution_table, metric_of
from edge_ai.web.run_comparison import headline as runs_headline
from edge_ai.web.run_comparison import rows_of as run_rows_of
from edge_ai.web.wording import metric


@require_safe
def shared_comparison(request: HttpRequest, token: str) -> HttpResponse:
    """Show a shared comparison; one answer for whatever link leads nowhere."""
    shared = open_link(token, count=request.method == "GET")
    if shared is None:
        response = render(request, "edge_ai/shared_gone.html", status=404)
    elif shared.runs is not None:
        context = _runs(shared.runs) | {"expires_at": shared.link.expires_at}
        response = render(request, "edge_ai/shared_runs.html", context)
    else:
        context = _comparison(shared.comparison or {}) | {"expires_at": shared.link.expires_at}
        response = render(request, "edge_ai/shared_comparison.html", context)
    response["Cache-Control"] = "private, no-store"
    # The address is the key: it goes to nobody whom the page links to.
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _runs(comparison: RunComparison) -> dict[str, Any]:
    rows = run_rows_of(comparison)
    named = metric_of(comparison)
    return {
        "shared": True,
        "rows": rows,
        "metric": named,
        "metric_name": metric(named)[:1].upper() + metric(named)[1:],
        "headline": runs_headline(rows),
        "charts": charts_of(rows, named),
        "distribution": distribution_table(rows),
        "differing": any(row.held.differences for row in rows),
        "noisy": [row for row in rows if row.run.noise == "noisy"],
    }


def _comparison(result: Mapping[str, Any]) -> dict[str, Any]:
    rows = rows_of(result)
    return {
        "shared": True,
        "result": result,
        "rows": rows,
        "metric": rows[0].metric,
        "headline": headline(result),
        "sentences": sentences(result) if len(rows) > 2 else [],
        "chart": chart_of(rows, margin=float(result["margin"])),
        "matrix": matrix_of(result) if len(rows) > 2 else [],
    }
