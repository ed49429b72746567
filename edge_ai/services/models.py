"""What can be done with models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Q

from accounts.models import User
from config.database.identity import acting_as_system
from config.middleware import current_request_id
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import sniff_model
from edge_ai.models import AnalysisJob, ComparedModel, Job, JobKind, JobStatus, Model, Queue, Visibility
from edge_ai.services import queue
from edge_ai.services.shared_use import refusing_what_others_use
from edge_ai.services.uploads import receive

CHANGEABLE = frozenset({"name", "description", "tags", "visibility"})


def upload_model(
    user: User,
    *,
    file: UploadedFile[Any],
    name: str = "",
    description: str = "",
    tags: Sequence[str] = (),
    visibility: str = Visibility.PRIVATE,
) -> Model:
    """Take a model file in and have it analysed.

    What the file is, is decided by its content. Nothing is left of a file that is refused.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``, ``file_too_large``.
    """
    with receive(file, limit_bytes=settings.MAX_UPLOAD_BYTES) as incoming:
        sniffed = sniff_model(incoming.path)
        with transaction.atomic():
            blob = storage.put(incoming.path, incoming.mark)
            model = Model.objects.create(
                owner=user,
                visibility=visibility,
                name=name.strip()[:200] or incoming.file_name,
                description=description,
                tags=list(tags),
                file_name=incoming.file_name,
                format=sniffed.format.value,
                blob=blob,
                size_bytes=incoming.mark.size_bytes,
                sha256=incoming.mark.sha256,
            )
            analyze(user, model=model)
    model.refresh_from_db()
    return model


def analyze(user: User, *, model: Model) -> AnalysisJob:
    """Queue the analysis of a model."""
    job = AnalysisJob.objects.create(
        owner=user,
        visibility=model.visibility,
        kind=JobKind.ANALYSIS,
        queue=Queue.STUDIO,
        name=f"Analyse {model.name}"[:200],
        max_attempts=settings.JOB_MAX_ATTEMPTS,
        request_id=current_request_id(),
        model=model,
    )
    queue.submit(job)
    return job


def update_model(user: User, *, model: Model, fields: dict[str, Any]) -> Model:
    """Change what people call a model, and who sees it.

    Raises
    ------
    UserInputError
        ``permission_denied`` for a colleague's model.
    """
    if model.owner_id != user.pk:
        raise UserInputError(
            f"“{model.name}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to change it."
        )
    Model.objects.owned_by(user).filter(pk=model.pk).update(
        **{name: value for name, value in fields.items() if name in CHANGEABLE}
    )
    model.refresh_from_db()
    return model


def delete_model(user: User, *, model: Model) -> None:
    """Remove a model with its jobs, benchmarks and artifacts; variants stay, without a parent.

    Raises
    ------
    UserInputError
        ``conflict`` while a job works on it; ``permission_denied`` for a colleague's model.
    """
    if model.owner_id != user.pk:
        raise UserInputError(
            f"“{model.name}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to delete it."
        )
    with refusing_what_others_use(model.name), transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        working = Job.objects.active().filter(_jobs_on(model))
        if working.exclude(status=JobStatus.PENDING).exists():
            raise UserInputError(
                f"Jobs are working on “{model.name}”.",
                code="conflict",
                fix="Cancel them, or wait until they have ended.",
            )
        jobs = list(Job.objects.filter(_jobs_on(model)).values_list("pk", flat=True))
        with acting_as_system():  # whose job was answered by one of them may be a colleague
            Job.objects.filter(answered_by__in=jobs).update(answered_by=None)
        model.delete()
        Job.objects.filter(pk__in=jobs).delete()


def _jobs_on(model: Model) -> Q:
    return (
        Q(analysisjob__model=model)
        | Q(optimizationjob__model=model)
        | Q(benchmarkrun__model=model)
        | Q(packagingjob__model=model)
        | Q(pk__in=ComparedModel.objects.filter(model=model).values("comparison_id"))
        | Q(diagnosisjob__model=model)
    )


def model_url(user: User, *, model: Model) -> str:
    """Return a signed link to the model's file."""
    return storage.signed_url(sha256=model.sha256, file_name=model.file_name, mime_type="application/octet-stream")
