"""The layers of models: kept when a model is analysed, and read anew for those that were analysed without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from accounts.models import User
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.layers import WITHOUT_LAYERS
from edge_ai.engine.spec import Format
from edge_ai.models import AnalysisJob, JobStatus, Model, ModelLayers
from edge_ai.services.models import analyze


def keep_layers(model_id: UUID, found: Mapping[str, Any] | None) -> None:
    """Keep what an analysis found; nothing where the format has no layers to list."""
    if found is not None:
        ModelLayers.objects.update_or_create(
            model_id=model_id, defaults={"rows": found["rows"], "count": found["count"]}
        )


def layers_of(user: User, *, model: Model) -> ModelLayers | None:
    """Return the layers of a model that the user sees, ``None`` while none were read."""
    return ModelLayers.objects.filter(model__in=Model.objects.visible_to(user), model=model).first()


def reading_layers(user: User, *, model: Model) -> AnalysisJob | None:
    """Return the job that reads a model now."""
    jobs = AnalysisJob.objects.visible_to(user).filter(model=model)
    return jobs.filter(status__in=[JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING]).first()


def read_layers(user: User, *, model: Model) -> AnalysisJob:
    """Analyse a model anew that was analysed before layers were kept; asked again, return the job that does.

    Raises
    ------
    UserInputError
        ``permission_denied`` for a colleague's model, ``conflict`` where there is nothing to read.
    """
    if model.owner_id != user.pk:
        raise UserInputError(
            f"“{model.name}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to read the layers."
        )
    if Format(model.format) in WITHOUT_LAYERS or not model.is_ready:
        raise UserInputError(
            f"“{model.name}” has no layers to read.",
            code="conflict",
            fix="Choose an ONNX or a TensorFlow Lite model that is ready.",
        )
    return reading_layers(user, model=model) or analyze(user, model=model)
