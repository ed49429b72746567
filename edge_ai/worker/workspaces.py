"""Making and removing workspaces. Schemas are the owner role's, so commands of their own do it, in processes of their own."""

from __future__ import annotations

import logging
import subprocess
import sys

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.models import Membership, Role, Workspace
from config.database.identity import acting_as_system

log = logging.getLogger(__name__)
#: Longer than any workspace has taken; what is interrupted is taken up at the next turn.
COMMAND_SECONDS = 100


def make_workspaces() -> int:
    """Make the schemas of the workspaces that people have asked for; returns how many there are now."""
    with acting_as_system():
        asked = list(
            Membership.objects.filter(role=Role.OWNER, workspace__made_at__isnull=True)
            .order_by("workspace__created_at", "created_at")
            .values_list("workspace__slug", "user__email")
        )
    return sum(_manage("create_workspace", slug, "--owner", email) for slug, email in dict(asked).items())


def remove_workspaces() -> int:
    """Remove the workspaces whose time is over; returns how many are gone."""
    with acting_as_system():
        due = list(Workspace.objects.filter(delete_at__lte=Now()).values_list("slug", flat=True))
    return sum(_manage("remove_workspace", slug) for slug in due)


def _manage(command: str, slug: str, *arguments: str) -> bool:
    with acting_as_system(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"workspace/{slug}"])
            row = cursor.fetchone()
        if row is None or not row[0]:  # another worker is at it
            return False
        try:
            done = subprocess.run(
                [sys.executable, str(settings.BASE_DIR / "manage.py"), command, slug, *arguments],
                cwd=settings.BASE_DIR,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.warning("%s %s took longer than %d s and is tried again.", command, slug, COMMAND_SECONDS)
            return False
    if done.returncode != 0:
        log.error("%s %s failed: %s", command, slug, done.stderr.strip()[-2000:])
    return done.returncode == 0
