"""What can be done with artifacts."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from accounts.models import User
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.models import Artifact, AuditAction, BenchmarkRun, Event
from edge_ai.services.audit import fields_of, note
from edge_ai.services.telemetry import track

#: What the audit trail keeps of an artifact.
NOTED = ("file_name", "visibility", "artifact_type", "size_bytes", "sha256")


def artifact_url(user: User, *, artifact: Artifact) -> str:
    """Return a signed link to the artifact's file."""
    return storage.signed_url(sha256=artifact.sha256, file_name=artifact.file_name, mime_type=artifact.mime_type)


def count_download(artifact: Artifact) -> None:
    """Count one more download."""
    track(Event.FILE_DOWNLOADED, what="artifact")
    Artifact.objects.filter(pk=artifact.pk).update(download_count=F("download_count") + 1)


def delete_artifact(user: User, *, artifact: Artifact) -> None:
    """Remove an artifact; the model it was made from stays."""
    if artifact.owner_id != user.pk:
        raise UserInputError(
            f"“{artifact.file_name}” belongs to a colleague.",
            code="permission_denied",
            fix="Ask its owner to delete it.",
        )
    with transaction.atomic():
        note(AuditAction.ARTIFACT_DELETED, artifact, before=fields_of(artifact, NOTED))
        artifact.delete()


def samples_url(user: User, *, run: BenchmarkRun) -> str:
    """Return a signed link to a benchmark's raw samples.

    Raises
    ------
    UserInputError
        ``not_found`` while the benchmark has none.
    """
    if run.samples_blob_id is None:
        raise UserInputError("The benchmark has no samples yet.", code="not_found", fix="Wait until it has completed.")
    track(Event.FILE_DOWNLOADED, what="samples")
    return storage.signed_url(
        sha256=run.samples_blob_id, file_name=f"benchmark-{run.pk}-samples.npz", mime_type="application/x-npz"
    )
