"""What can be done with models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Model as Row
from django.db.models import Q

from accounts.models import User
from config.middleware import current_request_id
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import sniff_model
from edge_ai.models import (
    AnalysisJob,
    AuditAction,
    ComparedModel,
    Event,
    Job,
    JobKind,
    JobStatus,
    Model,
    Queue,
    UploadPurpose,
    Visibility,
)
from edge_ai.services import queue, quotas
from edge_ai.services.audit import event_of, fields_of, note
from edge_ai.services.erasing import erase
from edge_ai.services.resumable import Made, take
from edge_ai.services.rows import create_extended
from edge_ai.services.shared_use import refusing_what_others_use
from edge_ai.services.standings import standing
from edge_ai.services.telemetry import track, usage_of
from edge_ai.services.uploads import Incoming, receive, receive_together

CHANGEABLE = frozenset({"name", "description", "tags", "visibility"})
#: What the audit trail keeps of a model.
NOTED = ("name", "visibility", "format", "size_bytes", "sha256")


def upload_model(
    user: User,
    *,
    file: UploadedFile[Any],
    beside: Sequence[UploadedFile[Any]] = (),
    name: str = "",
    description: str = "",
    tags: Sequence[str] = (),
    visibility: str = Visibility.PRIVATE,
) -> Model:
    """Take a model file in and have it analysed.

    What the file is, is decided by its content. Nothing is left of a file that is refused.

    Parameters
    ----------
    beside
        Files in which an ONNX model keeps its weights; what is stored is one archive with all of them.

    Raises
    ------
    UserInputError
        ``model_unreadable``, ``model_unsafe``, ``file_too_large``, ``quota_exceeded``.
    """
    fields = {"name": name, "description": description, "tags": list(tags), "visibility": visibility}
    limit = standing().largest(UploadPurpose.MODEL)
    received = receive_together([file, *beside], limit_bytes=limit) if beside else receive(file, limit_bytes=limit)
    with received as incoming:
        return _take_in(user, incoming, fields)


def model_from_upload(user: User, *, upload: UUID, **fields: Any) -> Made[Model]:
    """Make a model of a finished resumable upload, once; asked again, return the same model.

    Raises
    ------
    UserInputError
        Those of :func:`upload_model`; ``not_found``, ``upload_incomplete``, ``upload_expired``.
    """
    return take(
        user,
        upload_id=upload,
        purpose=UploadPurpose.MODEL,
        rows=Model.objects.owned_by(user),
        make=lambda incoming: _take_in(user, incoming, fields, reserved=True),
    )


def _take_in(user: User, incoming: Incoming, fields: dict[str, Any], *, reserved: bool = False) -> Model:
    sniffed = sniff_model(incoming.path)
    name = fields["name"].strip()[:200] or incoming.file_name
    with transaction.atomic():
        blob = storage.put(incoming.path, incoming.mark)
        quotas.claim_model(size_bytes=incoming.mark.size_bytes, sha256=incoming.mark.sha256, reserved=reserved)
        model = Model.objects.create(
            **(fields | {"name": name}),
            owner=user,
            file_name=incoming.file_name,
            format=sniffed.format.value,
            blob=blob,
            size_bytes=incoming.mark.size_bytes,
            sha256=incoming.mark.sha256,
        )
        noted = event_of(AuditAction.MODEL_CREATED, model, after=fields_of(model, NOTED))
        counted = usage_of(Event.MODEL_UPLOADED, format=model.format, size_bytes=model.size_bytes)
        analyze(user, model=model, besides=(noted, counted))
    return model


def analyze(user: User, *, model: Model, besides: Iterable[Row | None] = ()) -> AnalysisJob:
    """Queue the analysis of a model, and write ``besides`` along with it."""
    job = create_extended(
        AnalysisJob(
            owner=user,
            visibility=model.visibility,
            kind=JobKind.ANALYSIS,
            queue=Queue.STUDIO,
            name=f"Analyse {model.name}"[:200],
            max_attempts=settings.JOB_MAX_ATTEMPTS,
            request_id=current_request_id(),
            model=model,
        )
    )
    queue.submit(job, besides=besides)
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
    changes = {name: value for name, value in fields.items() if name in CHANGEABLE}
    with transaction.atomic():
        was = Model.objects.owned_by(user).select_for_update().get(pk=model.pk)
        Model.objects.filter(pk=model.pk).update(**changes)
        note(AuditAction.MODEL_CHANGED, was, before=fields_of(was, changes), after=changes)
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
        note(AuditAction.MODEL_DELETED, model, before=fields_of(model, NOTED) | {"jobs": len(jobs)})
        erase({Model: [model.pk], Job: jobs})


def _jobs_on(model: Model) -> Q:
    return (
        Q(analysisjob__model=model)
        | Q(optimizationjob__model=model)
        | Q(benchmarkrun__model=model)
        | Q(packagingjob__model=model)
        | Q(pk__in=ComparedModel.objects.filter(model=model).values("comparison_id"))
        | Q(diagnosisjob__model=model)
    )


def model_graph_url(user: User, *, model: Model) -> str:
    """Return a signed link by which the viewer of graphs, which has no session, reads the model's file."""
    return storage.graph_url(sha256=model.sha256, file_name=model.file_name)


def model_url(user: User, *, model: Model) -> str:
    """Return a signed link to the model's file."""
    track(Event.FILE_DOWNLOADED, what="model")
    return storage.signed_url(sha256=model.sha256, file_name=model.file_name, mime_type="application/octet-stream")
