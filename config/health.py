"""``/health/``: is the studio able to work?"""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from edge_ai.services.health import check_health


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 once web, database and workers are ready, and 503 with what is missing before."""
    found = check_health()
    body = {
        "status": "ok" if found.ok else "not_ready",
        "database": found.database,
        "queues": found.queues,
        "oldest_waiting_seconds": found.waiting_s,
        "sandbox": found.sandbox,
        "missing": list(found.missing),
    }
    return JsonResponse(body, status=200 if found.ok else 503)
