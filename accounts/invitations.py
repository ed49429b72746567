"""Inviting people by mail, and what becomes of an invitation.

Whether an address has an account is told to nobody who invites it: the answer and the mail are the same. Each mail has a token
of its own, so sending again ends the link before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPException
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.features import new_accounts
from accounts.members import deciding, manageable, tell
from accounts.models import Invitation, Membership, Role, User
from accounts.signals import AccountAction, state_changed
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError

log = logging.getLogger(__name__)
MAX_NAME = 80
#: Makes the address of a token, as people outside reach it.
Link = Callable[[str], str]


def invite(actor: Membership, *, email: str, role: Role, link: Link) -> bool:
    """Invite an address, and tell it so by mail. ``False``: the mail could not be sent; the invitation stands.

    Raises
    ------
    UserInputError
        ``permission_denied``; ``conflict`` for a member or an address that has been invited; ``rate_limited``.
    """
    address = email.strip().lower()
    with deciding(actor, actor.pk) as (me, _):
        _require(me, role)
        if Membership.objects.filter(workspace_id=me.workspace_id, user__email=address).exists():
            raise UserInputError(
                f"{address} belongs to the workspace already.", code="conflict", fix="Look at the list.", field="email"
            )
        earlier = Invitation.objects.open().filter(workspace_id=me.workspace_id, email=address)
        if earlier.filter(expires_at__gt=Now()).exists():
            raise UserInputError(
                f"{address} has been invited, and may still accept.",
                code="conflict",
                fix="Send the invitation again, or revoke it first.",
                field="email",
            )
        earlier.update(revoked_at=Now())
        made, token = _issue(me, address, role)
        _note(AccountAction.MEMBER_INVITED, made, me)
    return _tell(made, me, link(token))


def send_again(actor: Membership, *, invitation_id: UUID, link: Link) -> bool:
    """Send an open invitation once more, with a new link and the whole time; the link before stops working.

    Raises
    ------
    UserInputError
        ``permission_denied``, ``not_found``, ``rate_limited``.
    """
    with deciding(actor, actor.pk) as (me, _):
        found = _open(me, invitation_id)
        Invitation.objects.filter(pk=found.pk).update(revoked_at=Now())
        made, token = _issue(me, found.email, Role(found.role))
        _note(AccountAction.INVITATION_RESENT, made, me)
    return _tell(made, me, link(token))


def revoke(actor: Membership, *, invitation_id: UUID) -> Invitation:
    """Let an open invitation's link stop working.

    Raises
    ------
    UserInputError
        ``permission_denied``, ``not_found``.
    """
    with deciding(actor, actor.pk) as (me, _):
        found = _open(me, invitation_id)
        Invitation.objects.filter(pk=found.pk).update(revoked_at=Now())
        _note(AccountAction.INVITATION_REVOKED, found, me)
    return found


def find(token: str) -> Invitation | None:
    """Return the invitation of a link that works."""
    with acting_as_system():
        return Invitation.objects.usable(token).select_related("workspace", "invited_by").first()


def has_account(invitation: Invitation) -> bool:
    """Tell whether the address can sign in already. For whoever holds the link, which came to that address."""
    return User.objects.filter(email=invitation.email).exists()


def accept(user: User, *, token: str) -> Membership:
    """Make a user a member of the workspace that invited their address. Who is a member already keeps the role.

    Raises
    ------
    UserInputError
        ``not_found`` for a link that does not work, ``permission_denied`` for another address.
    """
    with acting_as_system(), transaction.atomic():
        invitation = _take(token)
        if user.email != invitation.email:
            raise UserInputError(
                f"The invitation is for {invitation.email}, and you are signed in as {user.email}.",
                code="permission_denied",
                fix="Sign out, and open the link again.",
            )
        return _join(user, invitation)


def accept_as_new(*, token: str, name: str, password: str) -> Membership:
    """Make the invited address an account, and that a member: the mail proved the address.

    Raises
    ------
    UserInputError
        ``not_found`` for a link that does not work, ``conflict`` where the address has an account by now,
        ``permission_denied`` where nobody makes accounts.
    """
    if not new_accounts():
        raise UserInputError(
            "No new accounts are made here.",
            code="permission_denied",
            fix="Ask the operator of the studio for an account; then open the link again.",
        )
    with acting_as_system(), transaction.atomic():
        invitation = _take(token)
        if has_account(invitation):
            raise UserInputError(
                f"{invitation.email} has an account.", code="conflict", fix="Sign in, and open the link again."
            )
        return _join(User.objects.create_user(invitation.email, password, name=name.strip()), invitation)


def _take(token: str) -> Invitation:
    # Locked: of two who use the link at the same moment, the second finds it used.
    invitation = Invitation.objects.usable(token).select_for_update(of=("self",)).select_related("workspace").first()
    if invitation is None:
        raise UserInputError(
            "The invitation does not work any more.", code="not_found", fix="Ask whoever invited you for a new one."
        )
    return invitation


def _join(user: User, invitation: Invitation) -> Membership:
    membership, joined = Membership.objects.get_or_create(
        user=user, workspace=invitation.workspace, defaults={"role": invitation.role}
    )
    Invitation.objects.filter(pk=invitation.pk).update(accepted_at=Now())
    if joined:
        tell(AccountAction.MEMBER_JOINED, membership, after={"role": membership.role})
    return membership


def _require(me: Membership, role: str) -> None:
    if role not in manageable(me.role):
        raise UserInputError(
            "Only an owner can invite an owner."
            if me.may_administer
            else "People are invited by the admins and owners of the workspace.",
            code="permission_denied",
            fix="Ask an owner of the workspace.",
            field="role" if me.may_administer else None,
        )


def _open(me: Membership, invitation_id: UUID) -> Invitation:
    found = Invitation.objects.open().filter(pk=invitation_id, workspace_id=me.workspace_id).first()
    if found is None:
        raise UserInputError(
            "There is no such invitation, or it has been accepted or revoked.",
            code="not_found",
            fix="Look at the list of members again.",
        )
    _require(me, found.role)
    return found


def _issue(me: Membership, email: str, role: Role) -> tuple[Invitation, str]:
    recent = Invitation.objects.filter(workspace_id=me.workspace_id, created_at__gt=Now() - timedelta(hours=1)).count()
    if recent >= settings.INVITATIONS_PER_HOUR:
        raise UserInputError(
            f"The workspace has sent {recent} invitations within the last hour.",
            code="rate_limited",
            fix="Wait an hour.",
        )
    expires_at = timezone.now() + timedelta(days=settings.INVITATION_DAYS)
    return Invitation.issue(
        workspace_id=me.workspace_id, email=email, role=role, invited_by=me.user, expires_at=expires_at
    )


def _note(action: AccountAction, invitation: Invitation, me: Membership) -> None:
    told = {"after": {"role": invitation.role}} if action != AccountAction.INVITATION_REVOKED else {}
    state_changed.send(Invitation, action=action, subject=invitation, workspace=me.workspace, **told)


def _tell(invitation: Invitation, inviter: Membership, link: str) -> bool:
    workspace = _one_line(inviter.workspace.name)
    until = f"{invitation.expires_at:%d %B %Y, %H:%M} UTC"
    text = (
        f"{_one_line(inviter.user.display_name)} ({inviter.user.email}) invites you to the workspace “{workspace}” "
        f"of an Edge AI Accelerator Studio, as {invitation.get_role_display().lower()}.\n\n"
        f"To accept, open\n\n    {link}\n\n"
        f"The link works once, until {until}, and for {invitation.email} alone. "
        "If you do not know what this is about, do nothing: nothing will happen.\n"
    )
    try:
        EmailMessage(f"Invitation to {workspace}", text, to=[invitation.email]).send()
    except (OSError, SMTPException) as error:
        log.warning("The mail of invitation %s could not be sent: %s", invitation.pk, error)
        return False
    return True


def _one_line(name: str) -> str:
    """Return a name that people chose as it may stand in a mail: no line breaks, nothing that does not print, not endless."""
    printable = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(printable.split())[:MAX_NAME]
