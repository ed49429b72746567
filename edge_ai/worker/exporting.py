"""Writing everything of a workspace that one person sees into a zip archive: rows as JSON, one a line, and their files."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.utils import timezone

from accounts.models import Membership, User, Workspace
from config.database.identity import acting_as_user
from edge_ai.engine.errors import ResourceError
from edge_ai.models import Artifact, BenchmarkRun, Blob, ComparisonJob, Dataset, Model, UsageEvent, WorkspaceExport
from edge_ai.services.audit import SECRET_FIELDS
from edge_ai.services.uploads import clean_file_name
from edge_ai.storage import CHUNK_BYTES, open_blob, reaching

FORMAT = 1
FILE_NAME = "export.zip"
#: What nobody is told, the owner of the row least of all in a file that lies around.
HIDDEN = SECRET_FIELDS | {"token_sha256", "idempotency_key"}
#: Single events of use are nobody's to see; an export holds no exports; blobs are told with the rows that mean them.
LEFT_OUT = (UsageEvent, WorkspaceExport, Blob)
READ_AT_ONCE = 500


def export_workspace(user: User, folder: Path) -> tuple[dict[str, Any], Path]:
    """Write the archive; returns what it came to, and where it is.

    Rows are read in the person's name, so row level security decides what is in it.

    Raises
    ------
    ResourceError
        ``storage_full`` where the disk has no room for it.
    """
    path = folder / FILE_NAME
    schema_name = str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
    with acting_as_user(user.pk):
        files = _files(user)
        _require_room(folder, sum(each["size_bytes"] for each in files.values()))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            counts = {table._meta.model_name or "": _write_rows(archive, table, user) for table in _tables()}
            told = _about(schema_name) | {"rows": counts, "files": list(files.values())}
            archive.writestr("manifest.json", json.dumps(told, indent=1, sort_keys=True, cls=DjangoJSONEncoder))
            missing = [each["sha256"] for each in files.values() if not _write_file(archive, schema_name, each)]
    result = {"rows": sum(counts.values()), "files": len(files) - len(missing), "missing": missing}
    return result, path


def _tables() -> Iterator[type[models.Model]]:
    for table in apps.get_app_config("edge_ai").get_models():
        if table not in LEFT_OUT:
            yield table


def _write_rows(archive: zipfile.ZipFile, table: type[models.Model], user: User) -> int:
    columns = [each.attname for each in table._meta.local_concrete_fields if each.name not in HIDDEN]
    rows = table._default_manager.order_by("pk").values(*columns)
    visible = getattr(table._default_manager.all(), "visible_to", None)
    if visible is not None and any(each.name == "owner" for each in table._meta.concrete_fields):
        rows = visible(user).order_by("pk").values(*columns)
    count = 0
    with archive.open(f"rows/{table._meta.model_name}.jsonl", "w", force_zip64=True) as sink:
        for row in rows.iterator(chunk_size=READ_AT_ONCE):
            sink.write(json.dumps(row, cls=DjangoJSONEncoder, sort_keys=True).encode() + b"\n")
            count += 1
    return count


def _files(user: User) -> dict[str, dict[str, Any]]:
    """Return the files that rows of the person mean, each once, by hash."""
    named: list[tuple[str, str, int]] = []
    for table in (Model, Dataset, Artifact):
        named += table._default_manager.visible_to(user).values_list("blob_id", "file_name", "size_bytes")
    for job in (BenchmarkRun, ComparisonJob):
        samples = job._default_manager.visible_to(user).filter(samples_blob__isnull=False)
        named += [
            (sha256, f"{job._meta.model_name}-{key}-samples.npz", size)
            for sha256, key, size in samples.values_list("samples_blob_id", "pk", "samples_blob__size_bytes")
        ]
    return {
        sha256: {"sha256": sha256, "size_bytes": size, "path": f"files/{sha256[:16]}-{clean_file_name(name)}"}
        for sha256, name, size in named
    }


def _write_file(archive: zipfile.ZipFile, schema_name: str, file: dict[str, Any]) -> bool:
    entry = zipfile.ZipInfo(file["path"], timezone.now().timetuple()[:6])
    try:
        with (
            reaching(),
            open_blob(schema_name, file["sha256"]) as source,
            archive.open(entry, "w", force_zip64=True) as sink,
        ):
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
    except FileNotFoundError:
        return False
    return True


def _about(schema_name: str) -> dict[str, Any]:
    workspace = Workspace.objects.get(schema_name=schema_name)
    members = Membership.objects.filter(workspace=workspace).select_related("user").order_by("created_at")
    return {
        "format": FORMAT,
        "made_at": timezone.now(),
        "workspace": {"slug": workspace.slug, "name": workspace.name, "created_at": workspace.created_at},
        "members": [
            {"id": each.user_id, "name": each.user.name, "email": each.user.email, "role": each.role}
            for each in members
        ],
    }


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free - settings.DISK_RESERVE_BYTES
    # Twice: here, and where it is stored.
    if free < 2 * needed:
        raise ResourceError(
            f"The export takes {needed:,} bytes, for which there is no room.",
            code="storage_full",
            fix="Tell the operator.",
            retryable=True,
        )
