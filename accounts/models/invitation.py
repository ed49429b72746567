"""Invitations by mail: the link holds the only copy of the token, the table its hash."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower, Now

from accounts.models.user import User
from accounts.models.workspace import Membership, Role, Workspace


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Finding invitations."""

    def visible_to(self, membership: Membership) -> InvitationQuerySet:
        """Invitations of a workspace, for those who manage its members."""
        return self.filter(workspace_id=membership.workspace_id) if membership.may_administer else self.none()

    def open(self) -> InvitationQuerySet:
        """Neither accepted nor revoked; they may have expired."""
        return self.filter(accepted_at__isnull=True, revoked_at__isnull=True)

    def usable(self, token: str) -> InvitationQuerySet:
        """The invitation that a link stands for, while it works. Asked as the system: nobody is known yet."""
        return self.open().filter(token_sha256=digest(token), expires_at__gt=Now())


class Invitation(models.Model):
    """Who is asked to join which workspace, as what, and until when."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", editable=False
    )
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[InvitationQuerySet] = InvitationQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="accounts_invitation_email_lower"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="accounts_invitation_role_known"),
            models.CheckConstraint(
                condition=models.Q(accepted_at__isnull=True) | models.Q(revoked_at__isnull=True),
                name="accounts_invitation_ends_once",
            ),
            models.UniqueConstraint(
                fields=["workspace", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="accounts_invitation_open_once",
            ),
        ]
        indexes = [
            # list: a workspace's; rate limit: how many of the last hour
            models.Index(fields=["workspace", "-created_at"], name="accounts_invitation_newest")
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.workspace_id} as {self.role}"

    @classmethod
    def issue(
        cls, *, workspace_id: uuid.UUID, email: str, role: str, invited_by: User, expires_at: datetime
    ) -> tuple[Invitation, str]:
        """Make an invitation; returns the row and the only copy of its token."""
        token = secrets.token_urlsafe(32)
        made = cls.objects.create(
            workspace_id=workspace_id,
            email=email,
            role=role,
            token_sha256=digest(token),
            invited_by=invited_by,
            expires_at=expires_at,
        )
        return made, token


def digest(token: str) -> str:
    """Return what of a token is kept: it cannot be guessed, so a quick hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
