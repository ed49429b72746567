"""Taking a workspace away: asked for by its owners and admins, made by a worker, downloaded by whoever asked, for some days."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from accounts.models import Membership
from config.middleware import current_request_id
from edge_ai import storage
from edge_ai.engine.errors import UserInputError
from edge_ai.models import FINAL, AuditAction, Event, Job, JobKind, Queue, WorkspaceExport
from edge_ai.models.base import ClockTimestamp
from edge_ai.services import queue
from edge_ai.services.audit import fields_of, note
from edge_ai.services.telemetry import track

SHOWN = 5


def request_export(member: Membership) -> WorkspaceExport:
    """Queue the making of an export of what the member sees.

    Raises
    ------
    UserInputError
        ``permission_denied`` for all but owners and admins; ``conflict`` while one is being made for them.
    """
    _require(member)
    with transaction.atomic():
        Membership.objects.select_for_update(no_key=True, of=("self",)).filter(pk=member.pk).first()
        mine = WorkspaceExport.objects.owned_by(member.user)
        if mine.exclude(job__status__in=FINAL).exists():
            raise UserInputError(
                "An export is being made for you already.", code="conflict", fix="Wait until it is there."
            )
        job = Job.objects.create(
            owner=member.user,
            kind=JobKind.EXPORT,
            queue=Queue.STUDIO,
            name=f"Export of {member.workspace.name}"[:200],
            max_attempts=settings.JOB_MAX_ATTEMPTS,
            request_id=current_request_id(),
        )
        made = WorkspaceExport.objects.create(owner=member.user, job=job)
        note(AuditAction.EXPORT_REQUESTED, made)
        queue.submit(job)
    return made


def exports_of(member: Membership) -> list[WorkspaceExport]:
    """Return a member's own exports with their jobs, the newest first."""
    if not member.may_administer:
        return []
    mine = WorkspaceExport.objects.owned_by(member.user).select_related("job").order_by("-created_at")
    return list(mine[:SHOWN])


def export_url(member: Membership, *, export: WorkspaceExport) -> str:
    """Return a signed link to an export's file.

    Raises
    ------
    UserInputError
        ``permission_denied`` for who is no owner or admin any more; ``not_found`` while it is being made.
    """
    _require(member)
    if export.blob_id is None:
        raise UserInputError("The export is not there yet.", code="not_found", fix="Wait until it has been made.")
    with transaction.atomic():
        note(AuditAction.EXPORT_DOWNLOADED, export, after=fields_of(export, ("size_bytes",)))
        track(Event.FILE_DOWNLOADED, what="export")
    name = f"{member.workspace.slug}-{export.created_at:%Y-%m-%d}.zip"
    return storage.signed_url(sha256=export.blob_id, file_name=name, mime_type="application/zip")


def expire_exports() -> int:
    """Remove exports whose time is over, and those that came to nothing long ago; their bytes go with the next sweep."""
    over = WorkspaceExport.objects.filter(expires_at__lt=ClockTimestamp()).values_list("job_id", flat=True)
    nothing = WorkspaceExport.objects.filter(
        blob=None, job__status__in=FINAL, job__finished_at__lt=ClockTimestamp() - timedelta(days=settings.EXPORT_DAYS)
    ).values_list("job_id", flat=True)
    jobs = [*over, *nothing]
    WorkspaceExport.objects.filter(job_id__in=jobs).delete()
    Job.objects.filter(pk__in=jobs).delete()
    return len(jobs)


def _require(member: Membership) -> None:
    if not member.may_administer:
        raise UserInputError(
            "A workspace is exported by its owners and admins.",
            code="permission_denied",
            fix="Ask an owner of the workspace.",
        )
