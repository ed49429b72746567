"""The history of a model for its page."""

from __future__ import annotations

from typing import Any

from edge_ai.services.history import Series


def chart_of(series: Series) -> dict[str, Any]:
    """Return what the chart of a series draws; the table beside it has the same numbers."""
    return {
        "points": [
            {
                "at": run.finished_at.isoformat(),
                "model": run.model,
                "p50": run.judged.point.p50_ms,
                "ci95": run.judged.point.ci95,
                "level": run.judged.level,
                "mark": run.judged.mark.value if run.judged.mark else None,
                "slower": run.judged.change is not None and run.judged.change.ratio_p50 > 1,
            }
            for run in series.runs
        ]
    }
