"""``usage/``: what the workspace has and used, against what it may."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.schema import documented
from edge_ai.api.serializers.usage import UsageOfWorkspaceSerializer
from edge_ai.api.views.base import StudioView
from edge_ai.services.standings import standing
from edge_ai.services.usage_history import usage_history


class UsageDetail(StudioView):
    """The workspace's limits and history."""

    @documented(
        "get_usage",
        tag="me",
        summary="What the workspace has and used, against its limits, by day and by month",
        description="Of the whole workspace, for every member. A `limit` of null is none. `reserved` is promised: to uploads "
        "under way, to variants in the making, and a minute at least to every job that has not ended.",
        answers={200: UsageOfWorkspaceSerializer},
    )
    def get(self, request: Request) -> Response:
        found = standing()
        history = usage_history(until=timezone.now().date(), now=found)
        body = {
            "plan": found.plan,
            "limits": found.quotas.values(),
            "max_upload_bytes": found.max_upload_bytes,
            "max_dataset_bytes": found.max_dataset_bytes,
            "concurrent_jobs": found.concurrent_jobs,
            "days": history.days,
            "months": history.months,
        }
        return Response(UsageOfWorkspaceSerializer(body).data)
