"""Models from elsewhere: asked for here, fetched by a worker, and made into a model once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from accounts.models import User, Workspace
from config.middleware import current_request_id
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.models import (
    AuditAction,
    Event,
    ImportJob,
    ImportSource,
    JobKind,
    Model,
    Priority,
    Queue,
    Visibility,
)
from edge_ai.outbound import addresses
from edge_ai.services import queue
from edge_ai.services.audit import fields_of, note
from edge_ai.services.models import NOTED, analyze
from edge_ai.services.telemetry import track
from edge_ai.services.uploads import clean_file_name
from edge_ai.webhooks import vault

MAX_KEY = 1000
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What is asked for: a link, or a key of the operator's bucket."""

    url: str = ""
    s3_key: str = ""
    sha256: str = ""
    name: str = ""
    description: str = ""
    tags: Sequence[str] = field(default_factory=tuple)
    visibility: str = Visibility.PRIVATE
    priority: int = Priority.NORMAL


def submit_import(user: User, *, request: ImportRequest) -> ImportJob:
    """Queue the fetching of a model.

    Raises
    ------
    EngineError
        ``address_refused``, ``import_s3_off``, ``invalid_request``, ``quota_exceeded``, ``too_many_jobs``,
        ``feature_off``.
    """
    if bool(request.url) == bool(request.s3_key):
        raise _invalid("url", "Give either url or s3_key.", "Leave one of them out.")
    sha256 = request.sha256.strip().lower()
    if sha256 and not SHA256.fullmatch(sha256):
        raise _invalid("sha256", "A SHA-256 has 64 hexadecimal digits.", "Copy the whole checksum, or leave it out.")
    if request.url:
        given = request.url.strip()
        target = addresses.check(given, networks=settings.IMPORT_ALLOW_NETWORKS)
        source = {"source": ImportSource.URL, "address": target.shown[:2000], "closed_url": vault.close(given)}
        file_name = target.path.partition("?")[0].rpartition("/")[2] or target.host
    else:
        key = check_key(request.s3_key)
        source = {"source": ImportSource.S3, "address": key, "closed_url": ""}
        file_name = key.rpartition("/")[2]
    with transaction.atomic():
        job = ImportJob.objects.create(
            owner=user,
            visibility=request.visibility,
            kind=JobKind.IMPORT,
            queue=Queue.STUDIO,
            name=f"Import {request.name.strip() or clean_file_name(file_name)}"[:200],
            max_attempts=settings.JOB_MAX_ATTEMPTS,
            priority=request.priority,
            request_id=current_request_id(),
            sha256=sha256,
            model_name=request.name.strip()[:200],
            description=request.description,
            tags=list(request.tags),
            **source,
        )
        queue.submit(job)
    job.refresh_from_db()
    return job


def check_key(given: str) -> str:
    """Return a key as it is asked for, below the workspace's own prefix.

    Raises
    ------
    UserInputError
        ``import_s3_off`` without a bucket; ``invalid_request`` for a key that could lead out of the prefix.
    """
    if not settings.IMPORT_S3_BUCKET:
        raise UserInputError(
            "Nothing is imported from S3 here: the operator has set no bucket for it.",
            code="import_s3_off",
            fix="Import by a link, such as a presigned one, or upload the file.",
            field="s3_key",
        )
    # A service that keeps objects as files may take these parts for folders, and lead out of the prefix by them.
    parts = given.split("/")
    odd = "\\" in given or not given.isprintable() or any(part in {"", ".", ".."} for part in parts)
    if odd or len(given.encode()) > MAX_KEY:
        raise _invalid(
            "s3_key",
            "That is no key: it begins or ends with a slash, has parts such as .. or control characters, or is too long.",
            "Give the key as it is below the workspace's prefix, such as models/net.onnx.",
        )
    return given


def s3_prefix(workspace: Workspace | None = None) -> str:
    """Return what stands before every key of a workspace; ``None``: of the current one."""
    here = workspace or Workspace.objects.only("slug").get(
        schema_name=connection.schema_name  # type: ignore[attr-defined]  # the tenant backend's
    )
    pattern = str(settings.IMPORT_S3_PREFIX)
    return pattern.replace("{workspace_id}", str(here.pk)).replace("{workspace}", here.slug)


def url_of(job: ImportJob) -> str:
    """Return the whole address of an import, its query among it. Not for logs.

    Raises
    ------
    UserInputError
        ``fetch_failed`` where it was encrypted with a key that is not known any more.
    """
    try:
        return vault.open_(job.closed_url)
    except vault.SecretLostError:
        raise UserInputError(
            "The address cannot be read any more: the studio's key has changed since.",
            code="fetch_failed",
            fix="Import it again.",
        ) from None


def make_model(job: ImportJob, path: Path, mark: storage.Fingerprint, *, file_name: str, format: str) -> Model:
    """Make the model of an import, in the transaction that ends its job.

    Raises
    ------
    EngineError
        ``storage_full``, ``storage_unavailable``.
    """
    name = clean_file_name(file_name)
    model = Model.objects.create(
        owner_id=job.owner_id,
        visibility=job.visibility,
        name=job.model_name or name,
        description=job.description,
        tags=job.tags,
        file_name=name,
        format=format,
        blob=storage.put(path, mark),
        size_bytes=mark.size_bytes,
        sha256=mark.sha256,
    )
    ImportJob.objects.filter(pk=job.pk).update(made=model, closed_url="")
    note(AuditAction.MODEL_CREATED, model, after=fields_of(model, NOTED) | {"job": str(job.pk), "from": job.address})
    track(Event.MODEL_UPLOADED, format=model.format, size_bytes=model.size_bytes)
    analyze(job.owner, model=model)
    return model


def _invalid(name: str, message: str, fix: str) -> UserInputError:
    return UserInputError(message, code="invalid_request", fix=fix, field=name)
