"""What runs by the clock. The schedules live in the public schema; each sends a message for every workspace."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django_q.models import Schedule

EVERYWHERE = "edge_ai.worker.chores.everywhere"


@dataclass(frozen=True, kw_only=True)
class Regular:
    """A chore and how often it is done."""

    chore: str
    minutes: int


REGULARS = (
    Regular(chore="reap", minutes=1),
    Regular(chore="expire_artifacts", minutes=60),
    Regular(chore="warn_of_expiry", minutes=60),
    Regular(chore="expire_exports", minutes=60),
    Regular(chore="expire_uploads", minutes=60),
    Regular(chore="sweep_uploads", minutes=60),
    Regular(chore="collect_blobs", minutes=30),
    Regular(chore="roll_up", minutes=10),
    Regular(chore="roll_up_usage", minutes=10),
    Regular(chore="export_usage", minutes=5),
    Regular(chore="retry_webhooks", minutes=1),
    Regular(chore="make_workspaces", minutes=1),
    Regular(chore="remove_workspaces", minutes=30),
    Regular(chore="prune_webhooks", minutes=24 * 60),
    Regular(chore="prune_kept_answers", minutes=60),
    Regular(chore="prune_share_links", minutes=24 * 60),
)


def sync_schedules() -> int:
    """Make the schedules what they should be, and remove ours that are no more; returns how many there are."""
    for regular in REGULARS:
        Schedule.objects.update_or_create(
            name=regular.chore,
            func=EVERYWHERE,
            defaults={
                "args": repr((regular.chore,)),
                "schedule_type": Schedule.MINUTES,
                "minutes": regular.minutes,
                "repeats": -1,
                "cluster": settings.CHORE_QUEUE,
            },
        )
    Schedule.objects.filter(func=EVERYWHERE).exclude(name__in=[regular.chore for regular in REGULARS]).delete()
    return len(REGULARS)
