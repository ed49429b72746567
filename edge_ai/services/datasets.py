"""What can be done with data sets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import User
from edge_ai import storage
from edge_ai.engine.dataset_details import dataset_details
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import DatasetHeader, read_dataset_header
from edge_ai.models import (
    AuditAction,
    BenchmarkRun,
    ComparisonJob,
    Dataset,
    DatasetKind,
    DiagnosisJob,
    Event,
    Job,
    OptimizationJob,
    UploadPurpose,
    Visibility,
)
from edge_ai.services import quotas
from edge_ai.services.audit import event_of, fields_of, keep, note
from edge_ai.services.resumable import Made, take
from edge_ai.services.shared_use import refusing_what_others_use
from edge_ai.services.standings import standing
from edge_ai.services.telemetry import track, usage_of
from edge_ai.services.uploads import Incoming, receive

CHANGEABLE = frozenset({"name", "description", "kind", "visibility"})
#: What the audit trail keeps of a data set.
NOTED = ("name", "visibility", "kind", "size_bytes", "sha256", "sample_count")


def upload_dataset(
    user: User,
    *,
    file: UploadedFile[Any],
    name: str = "",
    description: str = "",
    kind: str = DatasetKind.BOTH,
    visibility: str = Visibility.PRIVATE,
) -> Dataset:
    """Take calibration or evaluation data in. The file's directory is read here; its values only ever in a job.

    Raises
    ------
    UserInputError
        ``dataset_unreadable``, ``file_too_large``, ``quota_exceeded``.
    """
    fields = {"name": name, "description": description, "kind": kind, "visibility": visibility}
    with receive(file, limit_bytes=standing().largest(UploadPurpose.DATASET)) as incoming:
        return _take_in(user, incoming, fields)


def dataset_from_upload(user: User, *, upload: UUID, **fields: Any) -> Made[Dataset]:
    """Make a data set of a finished resumable upload, once; asked again, return the same data set.

    Raises
    ------
    UserInputError
        Those of :func:`upload_dataset`; ``not_found``, ``upload_incomplete``, ``upload_expired``.
    """
    return take(
        user,
        upload_id=upload,
        purpose=UploadPurpose.DATASET,
        rows=Dataset.objects.owned_by(user),
        make=lambda incoming: _take_in(user, incoming, fields, reserved=True),
    )


def _take_in(user: User, incoming: Incoming, fields: dict[str, Any], *, reserved: bool = False) -> Dataset:
    header = read_dataset_header(incoming.path)
    details = dataset_details(incoming.path, header)
    name = fields["name"].strip()[:200] or incoming.file_name
    with transaction.atomic():
        blob = storage.put(incoming.path, incoming.mark)
        if not reserved:
            quotas.claim_file(size_bytes=incoming.mark.size_bytes, sha256=incoming.mark.sha256)
        dataset = Dataset.objects.create(
            **(fields | {"name": name}),
            owner=user,
            file_name=incoming.file_name,
            blob=blob,
            size_bytes=incoming.mark.size_bytes,
            sha256=incoming.mark.sha256,
            header=header.to_json() | {"details": details},
            sample_count=header.samples,
            has_labels=header.has_labels,
        )
        keep(
            event_of(AuditAction.DATASET_CREATED, dataset, after=fields_of(dataset, NOTED)),
            usage_of(Event.DATASET_UPLOADED, size_bytes=dataset.size_bytes),
        )
    return dataset


def header_of(dataset: Dataset | None) -> DatasetHeader | None:
    """Return what a data set's file says it holds."""
    return None if dataset is None else DatasetHeader.from_json(dataset.header)


def update_dataset(user: User, *, dataset: Dataset, fields: dict[str, Any]) -> Dataset:
    """Change what people call a data set, what it is for, and who sees it.

    Raises
    ------
    UserInputError
        ``permission_denied`` for a colleague's data set.
    """
    if dataset.owner_id != user.pk:
        raise UserInputError(
            f"“{dataset.name}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to change it."
        )
    changes = {name: value for name, value in fields.items() if name in CHANGEABLE}
    with transaction.atomic():
        was = Dataset.objects.owned_by(user).select_for_update().get(pk=dataset.pk)
        Dataset.objects.filter(pk=dataset.pk).update(**changes)
        note(AuditAction.DATASET_CHANGED, was, before=fields_of(was, changes), after=changes)
    dataset.refresh_from_db()
    return dataset


def dataset_url(user: User, *, dataset: Dataset) -> str:
    """Return a signed link to the data set's file."""
    track(Event.FILE_DOWNLOADED, what="dataset")
    return storage.signed_url(sha256=dataset.sha256, file_name=dataset.file_name, mime_type="application/octet-stream")


def jobs_with(user: User, *, dataset: Dataset) -> QuerySet[Job]:
    """Return the jobs, of those that the user sees, that were given a data set."""
    # By the index of each table, where joining all four would read every job.
    tables: tuple[Any, ...] = (OptimizationJob, BenchmarkRun, ComparisonJob, DiagnosisJob)
    first, *others = (table._default_manager.filter(dataset=dataset).values("pk") for table in tables)
    return Job.objects.visible_to(user).filter(pk__in=first.union(*others, all=True))


def delete_dataset(user: User, *, dataset: Dataset) -> None:
    """Remove a data set; jobs that used it keep their results."""
    if dataset.owner_id != user.pk:
        raise UserInputError(
            f"“{dataset.name}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to delete it."
        )
    with refusing_what_others_use(dataset.name), transaction.atomic():
        note(AuditAction.DATASET_DELETED, dataset, before=fields_of(dataset, NOTED))
        dataset.delete()
