"""Removing a workspace for good. Runs as the schema's owner, in a command, never in a request."""

from __future__ import annotations

import shutil

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django_tenants.utils import schema_exists

from accounts.models import ApiKey, Domain, Invitation, Membership, Workspace
from config.database.identity import workspace_as_system
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.fleet.models import Ticket
from edge_ai.models import Job, JobStatus
from edge_ai.services.schemas import missing_migrations, tenant_labels


def remove_workspace(slug: str, *, now: bool = False) -> None:
    """Remove a workspace's files, its schema, and its rows in the shared tables. Whoever was interrupted asks again.

    Raises
    ------
    UserInputError
        ``not_found``; ``conflict`` before the time is over (unless ``now``), and while jobs still run, which are cancelled.
    """
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is None:
        raise UserInputError(f"There is no workspace {slug}.", code="not_found", fix="Check the short name.")
    if not now and (workspace.delete_at is None or workspace.delete_at > timezone.now()):
        raise UserInputError(
            f"The workspace {slug} is not to be removed" + (" yet." if workspace.delete_at else "."),
            code="conflict",
            fix="An owner deletes it under Settings, Workspace; --now removes it in any case.",
        )
    schema = workspace.schema_name
    if schema_exists(schema) and not missing_migrations(schema, tenant_labels()):
        _require_quiet(workspace)
    storage.remove_all(schema)
    for folder in (settings.WORK_DIR, settings.RESUMABLE_DIR):
        shutil.rmtree(folder / schema, ignore_errors=True)
    with transaction.atomic():
        Ticket.objects.filter(schema_name=schema).delete()
        for rows in (ApiKey, Invitation, Membership):
            rows._default_manager.filter(workspace=workspace).delete()
        Domain.objects.filter(tenant=workspace).delete()
        # Not through its cascade, which would look for rows in a schema that nobody has entered.
        Workspace.objects.filter(pk=workspace.pk)._raw_delete("default")
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {connection.ops.quote_name(schema)} CASCADE")


def _require_quiet(workspace: Workspace) -> None:
    with workspace_as_system(workspace.schema_name):
        Job.objects.active().filter(cancel_requested=False).update(cancel_requested=True)
        running = Job.objects.filter(status=JobStatus.RUNNING).count()
    if running:
        raise UserInputError(
            f"{running} job{'s' if running != 1 else ''} of {workspace.slug} still run; they are being cancelled.",
            code="conflict",
            fix="Try again in a minute.",
        )
