"""Work folders that no attempt uses any more: their workers were killed before they could remove them.

A folder is called ``<schema>/<job>/<attempt>-<beginning of its token>``. The token in the job's row says which one is in
use; how old a folder is says nothing where a clock may be set.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path

from config.database.identity import workspace_as_system
from edge_ai.models import Job, JobStatus

TOKEN_DIGITS = 8


def folder_name(attempt: int, token: uuid.UUID) -> str:
    """Return what an attempt's folder is called."""
    return f"{attempt}-{token.hex[:TOKEN_DIGITS]}"


def leftovers(work: Path, schema_name: str) -> list[Path]:
    """Return the folders of a workspace's dead attempts. A job is claimed before its folder is made."""
    # What begins with a dot is kept for other attempts.
    found = [path for path in (work / schema_name).glob("[!.]*/*") if path.is_dir()]
    if not found:
        return []
    with workspace_as_system(schema_name):
        running = Job.objects.filter(status=JobStatus.RUNNING)
        used = {
            (str(job), token.hex[:TOKEN_DIGITS])
            for job, token in running.values_list("pk", "lease_token")
            if token is not None
        }
    return [path for path in found if (path.parent.name, path.name.rpartition("-")[2]) not in used]


def clear_leftovers(work: Path, schema_name: str) -> int:
    """Remove the folders of a workspace's dead attempts; returns how many there were."""
    found = leftovers(work, schema_name)
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
        # Where it was the last one. Should an attempt begin right now, it makes the folder above its own again.
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    return len(found)
