"""Who belongs to a workspace, as what: the rules, and the only place that changes memberships for people.

Everything is decided behind a lock on the workspace, by what the rows say then and not by what a request found before it.
The database adds that a workspace never is without an owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, Invitation, Membership, Role, Workspace
from accounts.signals import AccountAction, state_changed
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError

#: What each role may give, and whom it may change: those who have one of these roles.
MANAGES: dict[str, tuple[Role, ...]] = {
    Role.OWNER: (Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER),
    Role.ADMIN: (Role.ADMIN, Role.MEMBER, Role.VIEWER),
}


def manageable(role: str) -> tuple[Role, ...]:
    """Return the roles that somebody with ``role`` may give and take."""
    return MANAGES.get(role, ())


def change_role(actor: Membership, *, member_id: UUID, role: Role) -> Membership:
    """Give a member another role.

    Raises
    ------
    UserInputError
        ``permission_denied``, ``not_found``; ``conflict`` where the workspace would be left without an owner.
    """
    with deciding(actor, member_id) as (me, member):
        _require(me, member)
        if role not in manageable(me.role):
            raise _denied(f"An {me.get_role_display().lower()} cannot make somebody an {role.label.lower()}.")
        _give(member, role)
    return member


def transfer_ownership(actor: Membership, *, member_id: UUID) -> Membership:
    """Make a member an owner in the place of the owner who asks, who becomes an admin.

    Raises
    ------
    UserInputError
        ``permission_denied`` for all but owners, ``not_found``, ``conflict`` for oneself.
    """
    with deciding(actor, member_id) as (me, member):
        if me.role != Role.OWNER:
            raise _denied("Only an owner can hand the workspace over.")
        if me.pk == member.pk:
            raise UserInputError("You own the workspace already.", code="conflict", fix="Choose another member.")
        _give(member, Role.OWNER)
        _give(me, Role.ADMIN)
    return member


def remove(actor: Membership, *, member_id: UUID) -> Membership:
    """End a membership, one's own or another's; the person's keys in the workspace end with it, their sessions there too.

    What they own is not handled here: see :mod:`edge_ai.services.members`.

    Raises
    ------
    UserInputError
        ``permission_denied``, ``not_found``; ``conflict`` for the only owner.
    """
    with deciding(actor, member_id) as (me, member):
        if me.pk != member.pk:
            _require(me, member)
        if member.role == Role.OWNER:
            _require_another_owner(member)
        ApiKey.objects.filter(user_id=member.user_id, workspace_id=member.workspace_id, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        _withdraw_invitations(member, beyond="")
        Membership.objects.filter(pk=member.pk).delete()
        tell(AccountAction.MEMBER_REMOVED, member, before={"role": member.role})
    return member


@contextmanager
def deciding(actor: Membership, member_id: UUID) -> Iterator[tuple[Membership, Membership]]:
    """Lock the workspace; gives the membership of whoever acts and the one that it is about, as they stand now.

    Raises
    ------
    UserInputError
        ``not_found`` where either is no member (any more).
    """
    with acting_as_system(), transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=actor.workspace_id)
        found = {
            each.pk: each
            for each in Membership.objects.select_related("user", "workspace").filter(
                workspace_id=actor.workspace_id, pk__in={actor.pk, member_id}
            )
        }
        if actor.pk not in found or member_id not in found:
            raise UserInputError(
                "There is no such member of this workspace.", code="not_found", fix="Look at the list of members again."
            )
        yield found[actor.pk], found[member_id]


def tell(action: AccountAction, member: Membership, **fields: Any) -> None:
    """Tell whoever keeps a record what happened to a membership."""
    state_changed.send(Membership, action=action, subject=member.user, workspace=member.workspace, **fields)


def _require(me: Membership, member: Membership) -> None:
    if not me.may_administer:
        raise _denied("Members are managed by the admins and owners of the workspace.")
    if member.role not in manageable(me.role):
        raise _denied("An owner is managed by owners alone.")


def _give(member: Membership, role: Role) -> None:
    if member.role == Role.OWNER and role != Role.OWNER:
        _require_another_owner(member)
    Membership.objects.filter(pk=member.pk).update(role=role)
    tell(AccountAction.MEMBER_ROLE_CHANGED, member, before={"role": member.role}, after={"role": role.value})
    _withdraw_invitations(member, beyond=role)
    member.role = role


def _withdraw_invitations(member: Membership, *, beyond: str) -> None:
    """Revoke what somebody could not offer any more."""
    Invitation.objects.open().filter(workspace_id=member.workspace_id, invited_by_id=member.user_id).exclude(
        role__in=manageable(beyond)
    ).update(revoked_at=timezone.now())


def _require_another_owner(member: Membership) -> None:
    others = Membership.objects.filter(workspace_id=member.workspace_id, role=Role.OWNER).exclude(pk=member.pk)
    if not others.exists():
        raise UserInputError(
            "The workspace would be left without an owner.",
            code="conflict",
            fix="Make another member an owner first.",
        )


def _denied(message: str) -> UserInputError:
    return UserInputError(message, code="permission_denied", fix="Ask an owner of the workspace.")
