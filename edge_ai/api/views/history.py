"""``models/{id}/history/``."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from edge_ai.api.authentication import actor
from edge_ai.api.schema import documented
from edge_ai.api.serializers.history import HistorySerializer
from edge_ai.api.views.base import StudioView, find
from edge_ai.models import Model
from edge_ai.services.history import history_of


class ModelHistory(StudioView):
    """How a model's latency went, from run to run and from version to version."""

    @documented(
        "get_model_history",
        tag="models",
        summary="The latency of a model's lineage, run by run, with its changes",
        description="Measured benchmarks alone, of the model, of what it was made from, and of all that was made of that, as "
        "series: one for each device, format, precision, number of threads and batch size. A run is compared with the "
        "level before it, the median of the runs since the last change.",
        answers={200: HistorySerializer},
    )
    def get(self, request: Request, id: UUID) -> Response:
        user = actor(request)
        model: Model = find(Model.objects.visible_to(user), id)
        return Response(HistorySerializer(history_of(user, model=model)).data)
