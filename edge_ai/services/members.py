"""What a member owns in the workspace, and what becomes of it when they go."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts import members
from accounts.models import Membership, Role, User
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.models import (
    HOUSEKEEPING,
    Artifact,
    Dataset,
    DeviceProfile,
    DisabledReason,
    Job,
    Model,
    OptimizationBatch,
    ShareLink,
    WebhookDelivery,
    WebhookEndpoint,
)
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.counts import counts_up_to
from edge_ai.webhooks.delivery import SWITCHED_OFF

#: What gets another owner. Uploads are left to expire.
HANDED_OVER = (Model, Dataset, DeviceProfile, Job, OptimizationBatch, Artifact, WebhookEndpoint, ShareLink)


#: Of each kind so many are counted: whoever has more has more than that.
COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """How much of each a member owns here, private things among them; ``COUNTED`` + 1 is “more than ``COUNTED``”."""

    models: int
    datasets: int
    devices: int
    jobs: int
    artifacts: int
    webhooks: int

    @property
    def any(self) -> bool:
        """Whether there is anything to hand over."""
        return any((self.models, self.datasets, self.devices, self.jobs, self.artifacts, self.webhooks))


def holdings(member: Membership) -> Holdings:
    """Count what a member owns in the current workspace. Numbers only: names of private things are not told."""
    mine = Q(owner_id=member.user_id)
    with acting_as_system():
        found = counts_up_to(
            COUNTED,
            models=Model.objects.filter(mine),
            datasets=Dataset.objects.filter(mine),
            devices=DeviceProfile.objects.filter(mine),
            jobs=Job.objects.filter(mine).exclude(kind__in=HOUSEKEEPING),
            artifacts=Artifact.objects.filter(mine),
            webhooks=WebhookEndpoint.objects.filter(mine),
        )
    return Holdings(**found)


def heirs(actor: Membership, *, member: Membership) -> list[Membership]:
    """Return who may take over what a member owns, the likeliest first: whoever removes them, else an owner.

    Viewers change nothing, and so can look after nothing.
    """
    able = list(
        Membership.objects.filter(workspace_id=member.workspace_id)
        .exclude(pk=member.pk)
        .exclude(role=Role.VIEWER)
        .select_related("user")
        .order_by("created_at", "pk")
    )
    order = list(Role)
    return sorted(able, key=lambda each: (each.pk != actor.pk, order.index(Role(each.role))))


def remove_member(actor: Membership, *, member: Membership, heir_id: UUID) -> Membership:
    """End a membership and hand over what the person owns here, both or neither. ``heir_id`` is a membership's.

    Webhooks are handed over switched off, and links for people outside revoked: they would show the new owner's things to
    whom the one who left has chosen. Unfinished uploads are left to expire.

    Raises
    ------
    UserInputError
        What :func:`accounts.members.remove` raises; ``conflict`` for somebody who cannot take things over.
    """
    with acting_as_system(), transaction.atomic():
        removed = members.remove(actor, member_id=member.pk)
        heir = (
            Membership.objects.select_related("user")
            .exclude(role=Role.VIEWER)
            .filter(pk=heir_id, workspace_id=member.workspace_id)
            .first()
        )
        if heir is None:
            raise UserInputError(
                "Whoever takes over must be another member of the workspace, and no viewer.",
                code="conflict",
                fix="Choose another member.",
                field="member",
            )
        _hand_over(removed.user, heir.user)
    return removed


def _hand_over(person: User, heir: User) -> None:
    theirs = Q(owner_id=person.pk)
    for endpoint_id in list(WebhookEndpoint.objects.filter(theirs).values_list("pk", flat=True)):
        WebhookEndpoint.objects.disable(Q(pk=endpoint_id), reason=DisabledReason.BY_HAND)
        WebhookDelivery.objects.give_up(endpoint_id, error=SWITCHED_OFF)
    # What they saw was theirs to see alone.
    Job.objects.filter(theirs, export__isnull=False).delete()
    ShareLink.objects.filter(theirs, revoked_at__isnull=True).update(revoked_at=ClockTimestamp())
    for rows in HANDED_OVER:
        rows._default_manager.filter(theirs).update(owner_id=heir.pk)
