"""What can be done with data sets."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction

from accounts.models import User
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import DatasetHeader, read_dataset_header
from edge_ai.models import Dataset, DatasetKind, Visibility
from edge_ai.services.shared_use import refusing_what_others_use
from edge_ai.services.uploads import receive


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
        ``dataset_unreadable``, ``file_too_large``.
    """
    with receive(file, limit_bytes=settings.MAX_DATASET_BYTES) as incoming:
        header = read_dataset_header(incoming.path)
        with transaction.atomic():
            blob = storage.put(incoming.path, incoming.mark)
            dataset = Dataset.objects.create(
                owner=user,
                visibility=visibility,
                name=name.strip()[:200] or incoming.file_name,
                description=description,
                kind=kind,
                file_name=incoming.file_name,
                blob=blob,
                size_bytes=incoming.mark.size_bytes,
                sha256=incoming.mark.sha256,
                header=header.to_json(),
                sample_count=header.samples,
                has_labels=header.has_labels,
            )
    dataset.refresh_from_db()
    return dataset


def header_of(dataset: Dataset | None) -> DatasetHeader | None:
    """Return what a data set's file says it holds."""
    return None if dataset is None else DatasetHeader.from_json(dataset.header)


def delete_dataset(user: User, *, dataset: Dataset) -> None:
    """Remove a data set; jobs that used it keep their results."""
    if dataset.owner_id != user.pk:
        raise UserInputError(
            f"“{dataset.name}” belongs to a colleague.", code="permission_denied", fix="Ask its owner to delete it."
        )
    with refusing_what_others_use(dataset.name), transaction.atomic():
        dataset.delete()
