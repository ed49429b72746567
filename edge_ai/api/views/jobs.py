"""What optimizations and benchmarks have in common: plans, and the story so far."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from edge_ai.api.authentication import actor
from edge_ai.api.serializers.jobs import JobEventsSerializer
from edge_ai.engine.plan import Plan
from edge_ai.engine.spec import refuse
from edge_ai.models import Job, JobEvent
from edge_ai.services.estimates import Estimate

EVENTS_PER_PAGE = 200
MAX_SEQ = 2**63 - 1
AFTER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "default": 0},
    OpenApiParameter.QUERY,
    description="Only events after the one of this `seq`.",
)
UNDECIDED: dict[str, Any] = {
    "decided": False,
    "route": [],
    "precision": None,
    "stages": [],
    "warnings": [
        {
            "code": "analysis_pending",
            "detail": "The model's analysis is not done; the job would wait for it, and be decided then.",
            "fix": "Ask again once the model is ready.",
        }
    ],
    "expected_size_bytes": None,
}


def planned(plan: Plan | None, estimate: Estimate | None = None, cached: UUID | None = None) -> Response:
    """Answer what would run, and of an optimization, how long, or which job has the answer already."""
    body = UNDECIDED if plan is None else {"decided": True, **plan.to_json()}
    told = {"estimate": None if estimate is None else estimate.to_json(), "cached": cached and str(cached)}
    return Response(body | told)


def story(request: Request, job: Job) -> Response:
    """Answer the events of a job after the one that the client knows."""
    given = request.query_params.get("after", "0")
    after = int(given) if given.isascii() and given.isdigit() and len(given) <= len(str(MAX_SEQ)) else -1
    if not 0 <= after <= MAX_SEQ:
        raise refuse("after", "after must be a whole number, the seq of an event.", "Begin with 0.")
    events = JobEvent.objects.visible_to(actor(request)).filter(job_id=job.pk, pk__gt=after).order_by("pk")
    rows = list(events[: EVENTS_PER_PAGE + 1])
    more, rows = len(rows) > EVENTS_PER_PAGE, rows[:EVENTS_PER_PAGE]
    following = replace_query_param(request.build_absolute_uri(), "after", rows[-1].pk) if more else None
    return Response(JobEventsSerializer({"next": following, "previous": None, "results": rows}).data)
