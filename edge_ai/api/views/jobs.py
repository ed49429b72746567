"""What jobs of every kind have in common: plans, cancelling, running again, and the story so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from edge_ai.api.authentication import actor
from edge_ai.api.schema import CHANGING, LISTING, RETRYING, documented
from edge_ai.api.serializers.jobs import JobEventsSerializer
from edge_ai.api.views.base import StudioView, find
from edge_ai.engine.plan import Caution, Plan
from edge_ai.engine.spec import refuse
from edge_ai.models import Job, JobEvent
from edge_ai.services.estimates import Estimate
from edge_ai.services.jobs import cancel_job, retry_job
from edge_ai.services.waiting import Wait

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


def planned(
    plan: Plan | None,
    estimate: Estimate | None = None,
    cached: UUID | None = None,
    wait: Wait | None = None,
    quota: Caution | None = None,
) -> Response:
    """Answer what would run and when it would begin, and of an optimization, how long, or which job has the answer.

    ``quota`` is told among the warnings.
    """
    body = plan_body(plan, estimate, cached, wait)
    if quota is not None:
        body["warnings"] = [*body["warnings"], asdict(quota)]
    return Response(body)


def plan_body(
    plan: Plan | None, estimate: Estimate | None = None, cached: UUID | None = None, wait: Wait | None = None
) -> dict[str, Any]:
    """Return a plan as it is answered."""
    body = UNDECIDED if plan is None else {"decided": True, **plan.to_json()}
    return body | {
        "estimate": None if estimate is None else estimate.to_json(),
        "cached": cached and str(cached),
        "wait": None if wait is None else wait.to_json(),
    }


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


@dataclass(frozen=True, kw_only=True)
class JobViews:
    """Makes the views that every kind of job has.

    Parameters
    ----------
    table
        Whose rows these are.
    serializer
        Presents one of them whole.
    tag
        Where the reference lists them.
    name
        The end of their operations' names, such as ``optimization_job``.
    words
        What one is called, with its article.
    """

    table: Any
    serializer: Any
    tag: str
    name: str
    words: str

    def find(self, request: Request, job_id: UUID) -> Any:
        """Return the job of that id among those that the asker sees."""
        return find(self.table.objects.visible_to(actor(request)), job_id)

    def answer(self, job: Job) -> Response:
        """Present a job."""
        return Response(self.serializer(job).data)

    def cancel(self) -> type[StudioView]:
        """Return the view that cancels."""
        kind = self

        class Cancel(StudioView):
            """Cancelling a job."""

            @documented(
                f"cancel_{kind.name}",
                tag=kind.tag,
                summary=f"Cancel {kind.words}",
                description="What waits is cancelled at once. What runs is asked to stop: `cancel_requested` is true, and "
                "the status follows within seconds.",
                answers={200: kind.serializer},
                problems=CHANGING,
            )
            def post(self, request: Request, id: UUID) -> Response:
                job = kind.find(request, id)
                cancel_job(actor(request), job=job)
                return kind.answer(job)

        return Cancel

    def retry(self) -> type[StudioView]:
        """Return the view that runs a job again."""
        kind = self
        noun = kind.words.partition(" ")[2]

        class Retry(StudioView):
            """Running a job again, with all attempts anew."""

            @documented(
                f"retry_{kind.name}",
                tag=kind.tag,
                summary=f"Run a failed or cancelled {noun} again",
                description="It waits for its turn anew, with all its attempts, under the same id. What it was asked for "
                "does not change. What runs or is completed is a 409.",
                answers={200: kind.serializer},
                problems=RETRYING,
            )
            def post(self, request: Request, id: UUID) -> Response:
                job = kind.find(request, id)
                retry_job(actor(request), job=job)
                return kind.answer(job)

        return Retry

    def events(self) -> type[StudioView]:
        """Return the view of a job's story."""
        kind = self

        class Events(StudioView):
            """A job's story."""

            @documented(
                f"list_{kind.name}_events",
                tag=kind.tag,
                summary=f"The stage changes and messages of {kind.words}, oldest first",
                description="Its log. To follow a job, ask again with `after` set to the `seq` of the last event that you "
                "have; `next` leads on where there are more than one answer holds.",
                answers={200: JobEventsSerializer},
                problems=LISTING,
                parameters=[AFTER],
            )
            def get(self, request: Request, id: UUID) -> Response:
                return story(request, kind.find(request, id))

        return Events
