"""Whether a model is fit for jobs."""

from __future__ import annotations

from collections.abc import Iterable

from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.models import Job, Model, ModelStatus


def require_usable(model: Model) -> None:
    """Refuse a model whose analysis failed, with the code that it failed with."""
    if model.status == ModelStatus.FAILED:
        error = model.error or {}
        raise UserInputError(
            f"The model could not be read: {error.get('detail', 'its analysis failed.')}",
            code=str(error.get("code", "model_unreadable")),
            fix=str(error.get("fix", "Upload it again.")),
            field="model",
        )
    if model.status == ModelStatus.ARCHIVED:
        raise UserInputError("The model is archived.", code="conflict", fix="Restore it first.", field="model")


def variant_awaited(optimization: Job) -> Job:
    """Return the job that has yet to make a variant, locked against ending meanwhile.

    Raises
    ------
    UserInputError
        ``conflict`` where it has ended: the variant is there to be named, or will not be made.
    """
    with acting_as_system():
        job = Job.objects.active().select_for_update(of=("self",)).filter(pk=optimization.pk).first()
    if job is None:
        raise UserInputError(
            "The optimization has ended without a variant.",
            code="conflict",
            fix="Run the optimization again first.",
            field="optimization_job",
        )
    return job


def analysis_awaited(model: Model) -> Job | None:
    """Return the analysis that has yet to end before the model can be worked on, locked against ending meanwhile.

    It is the analysis of whoever uploaded the model: a colleague with whom that is shared can neither see nor lock it.
    """
    if model.is_ready:  # once it is analysed it stays so
        return None
    with acting_as_system():
        if Model.objects.filter(pk=model.pk, status=ModelStatus.READY).exists():
            return None
        return (
            Job.objects.active()
            .select_for_update(of=("self",))
            .filter(analysisjob__model=model)
            .order_by("-created_at")
            .first()
        )


def first_analysis_awaited(models: Iterable[Model]) -> Job | None:
    """Return an analysis that one of the models still needs, locked; when it has ended, the next is waited for."""
    return next((job for job in map(analysis_awaited, models) if job is not None), None)
