"""What the workspace has and used, against what it may."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, in_workspace
from edge_ai.services.standings import Limit, standing
from edge_ai.services.usage_history import usage_history
from edge_ai.web.pages import page

#: What each limit is called, and what counts.
WORDS: Final[dict[Limit, tuple[str, str]]] = {
    Limit.MODELS: ("Models", "Variants are models too. An optimization that has not ended has its variant reserved."),
    Limit.STORED_BYTES: (
        "Stored",
        "Files of models, data sets and artifacts, equal ones once. Uploads under way have their whole length reserved, "
        "and jobs that make a file as much as their model has.",
    ),
    Limit.JOB_MINUTES: (
        "Job minutes this month",
        "Time that jobs ran, however they ended; deleting them gives nothing back. A job that has not ended has a minute "
        "reserved, or as long as it has run.",
    ),
    Limit.OPEN_JOBS: ("Jobs that wait or run", "Analyses of uploads are not counted."),
}


@in_workspace
@require_safe
def usage(request: MemberRequest) -> HttpResponse:
    """Every limit with what is gone of it, and how it went by day and month."""
    found = standing()
    history = usage_history(until=timezone.now().date(), now=found)
    context: dict[str, Any] = {
        "standing": found,
        "rows": [
            {"limit": limit.value, "title": title, "detail": detail, "quota": found.quotas[limit]}
            for limit, (title, detail) in WORDS.items()
        ],
        "periods": [("days", "By day", history.days), ("months", "By month", history.months)],
        "history_data": {name: [asdict(each) for each in getattr(history, name)] for name in ("days", "months")},
    }
    return page(request, "edge_ai/usage.html", context)
