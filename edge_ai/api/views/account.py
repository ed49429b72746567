"""``me/``: who asks, where, and what they may do."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor, api_key_of, membership_of, scopes_of, workspace_of
from edge_ai.api.schema import documented
from edge_ai.api.serializers.account import MeSerializer
from edge_ai.api.views.base import StudioView
from edge_ai.engine.spec import MAX_DATASET_SAMPLES
from edge_ai.models import Artifact, BenchmarkRun, Dataset, Job, Model, OptimizationJob
from edge_ai.services.standings import Limit, standing


class Me(StudioView):
    """Who asks."""

    @documented(
        "get_me",
        tag="me",
        summary="Who you are, in which workspace, and what you may do",
        description="The first thing to ask with a new key: whom it acts for, in which workspace, within which "
        "scopes, and how much is used of what.",
        answers={200: MeSerializer},
    )
    def get(self, request: Request) -> Response:
        user, key, membership = actor(request), api_key_of(request), membership_of(request)
        found = standing()
        stored, minutes = found.quotas[Limit.STORED_BYTES], found.quotas[Limit.JOB_MINUTES]
        body = {
            "user": user,
            "workspace": workspace_of(request),
            "role": membership.role if membership else None,
            "scopes": scopes_of(request),
            "api_key": key,
            "quota": {
                "plan": found.plan,
                "max_upload_bytes": found.max_upload_bytes,
                "max_dataset_bytes": found.max_dataset_bytes,
                "max_dataset_samples": MAX_DATASET_SAMPLES,
                "max_models": found.quotas[Limit.MODELS].limit,
                "max_stored_bytes": stored.limit,
                "max_job_minutes": minutes.limit,
                "max_open_jobs": found.quotas[Limit.OPEN_JOBS].limit,
                "concurrent_jobs": found.concurrent_jobs,
                "resets_at": minutes.resets_at,
            },
            "usage": {
                "models": Model.objects.visible_to(user).count(),
                "datasets": Dataset.objects.visible_to(user).count(),
                "optimization_jobs": OptimizationJob.objects.visible_to(user).count(),
                "benchmarks": BenchmarkRun.objects.visible_to(user).count(),
                "artifacts": Artifact.objects.visible_to(user).count(),
                "active_jobs": Job.objects.active().visible_to(user).count(),
                "stored_bytes": stored.used,
                "reserved_bytes": stored.reserved,
                "job_minutes": round(minutes.used, 2),
            },
        }
        return Response(MeSerializer(body).data)
