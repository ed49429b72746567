"""``me/``: who asks, where, and what they may do."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Sum
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor, api_key_of, membership_of, scopes_of, workspace_of
from edge_ai.api.schema import documented
from edge_ai.api.serializers.account import MeSerializer
from edge_ai.api.views.base import StudioView
from edge_ai.engine.spec import MAX_DATASET_SAMPLES
from edge_ai.models import Artifact, BenchmarkRun, Blob, Dataset, Job, Model, OptimizationJob


class Me(StudioView):
    """Who asks."""

    @documented(
        "get_me",
        tag="me",
        summary="Who you are, in which workspace, and what you may do",
        answers={200: MeSerializer},
    )
    def get(self, request: Request) -> Response:
        user, key, membership = actor(request), api_key_of(request), membership_of(request)
        body = {
            "user": user,
            "workspace": workspace_of(request),
            "role": membership.role if membership else None,
            "scopes": scopes_of(request),
            "api_key": key,
            "quota": {
                "max_upload_bytes": settings.MAX_UPLOAD_BYTES,
                "max_dataset_bytes": settings.MAX_DATASET_BYTES,
                "max_dataset_samples": MAX_DATASET_SAMPLES,
            },
            "usage": {
                "models": Model.objects.visible_to(user).count(),
                "datasets": Dataset.objects.visible_to(user).count(),
                "optimization_jobs": OptimizationJob.objects.visible_to(user).count(),
                "benchmarks": BenchmarkRun.objects.visible_to(user).count(),
                "artifacts": Artifact.objects.visible_to(user).count(),
                "active_jobs": Job.objects.active().visible_to(user).count(),
                "stored_bytes": Blob.objects.aggregate(total=Sum("size_bytes"))["total"] or 0,
            },
        }
        return Response(MeSerializer(body).data)
