"""What the schedules call: a chore is sent to every workspace, each in a message of its own, so that none holds up others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django_q.tasks import async_task

from accounts.models import Workspace
from config.database.identity import acting_as_system, current, workspace_as_system
from edge_ai.services import expiry, exports, housekeeping, repeats, resumable, share_links, telemetry, telemetry_export
from edge_ai.webhooks import outbox
from edge_ai.worker import workspaces
from edge_ai.worker.reaper import reap

log = logging.getLogger(__name__)
IN_WORKSPACE = "edge_ai.worker.chores.in_workspace"


def expire_uploads() -> int:
    """Remove what uploads that were never finished left on this host; returns how many files."""
    horizon = time.time() - settings.UPLOAD_EXPIRY_SECONDS
    removed = 0
    for path in settings.UPLOAD_DIR.iterdir():
        if path.is_file() and path.stat().st_mtime < horizon:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


#: Done once, not in workspaces.
ONCE: Mapping[str, Callable[[], Any]] = {
    "expire_uploads": expire_uploads,
    "make_workspaces": workspaces.make_workspaces,
    "remove_workspaces": workspaces.remove_workspaces,
}
EACH: Mapping[str, Callable[[], Any]] = {
    "reap": reap,
    "expire_artifacts": housekeeping.expire_artifacts,
    "warn_of_expiry": expiry.warn,
    "expire_exports": exports.expire_exports,
    "sweep_uploads": resumable.sweep,
    "collect_blobs": housekeeping.collect_blobs,
    "roll_up": housekeeping.roll_up,
    "prune_kept_answers": repeats.forget_old,
    "roll_up_usage": telemetry.roll_up_usage,
    "export_usage": telemetry_export.export_usage,
    "prune_share_links": share_links.forget_ended,
    "retry_webhooks": outbox.sweep,
    "prune_webhooks": outbox.prune,
}


def everywhere(chore: str) -> None:
    """Do a chore, or send it to every workspace."""
    try:
        if chore in ONCE:
            log.info("%s: %s", chore, ONCE[chore]())
            return
        with acting_as_system():
            for schema_name in list(
                Workspace.objects.filter(made_at__isnull=False).values_list("schema_name", flat=True)
            ):
                async_task(
                    IN_WORKSPACE,
                    chore,
                    schema_name,
                    q_options={
                        "cluster": settings.CHORE_QUEUE,
                        "task_name": f"{chore}:{schema_name}"[:100],
                        "save": False,
                    },
                )
    finally:
        current().reset_to_public()


def in_workspace(chore: str, schema_name: str) -> None:
    """Do a chore in one workspace."""
    try:
        with workspace_as_system(schema_name):
            done = EACH[chore]()
        log.debug("%s in %s: %s", chore, schema_name, done)
    finally:
        current().reset_to_public()
