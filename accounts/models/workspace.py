"""Workspaces are the tenants: each has a PostgreSQL schema of its own."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now
from django_tenants.models import DomainMixin, TenantMixin

from accounts.models.plan import Limits, Plan

SLUG_PATTERN = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"


class Workspace(Limits, TenantMixin):  # type: ignore[misc]  # django-tenants has no type information
    """A team's room: everything it makes lives in its own schema. A limit that it has itself goes before its plan's."""

    auto_create_schema = True
    auto_drop_schema = False

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[
            RegexValidator(
                rf"^{SLUG_PATTERN}\Z", "Use lower-case letters, digits and single dashes; begin with a letter."
            )
        ],
    )
    name = models.CharField(max_length=100)
    plan = models.ForeignKey(
        Plan,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="workspaces",
        help_text="Empty: the default plan.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    #: When its schema was there in full; nobody enters before.
    made_at = models.DateTimeField(null=True, editable=False)
    #: When it is removed, if an owner has asked for that and does not think again; nobody enters any more then.
    delete_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(slug__regex=rf"^{SLUG_PATTERN}$"), name="accounts_workspace_slug_form"
            ),
            models.CheckConstraint(
                condition=models.Q(concurrent_jobs__isnull=True) | models.Q(concurrent_jobs__gte=1),
                name="accounts_workspace_runs_something",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def schema_for(slug: str) -> str:
        """Return the schema that the workspace called ``slug`` has."""
        return "ws_" + slug.replace("-", "_")


def enterable(prefix: str = "workspace__") -> models.Q:
    """The workspaces that can be worked in: made, and not at their end. ``prefix`` leads to the workspace."""
    return models.Q(**{f"{prefix}made_at__isnull": False}) & (
        models.Q(**{f"{prefix}delete_at__isnull": True}) | models.Q(**{f"{prefix}delete_at__gt": Now()})
    )


class Domain(DomainMixin):  # type: ignore[misc]  # django-tenants has no type information
    """A host name that leads to a workspace."""


class Role(models.TextChoices):
    """What a member may do."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    MEMBER = "member", "Member"
    VIEWER = "viewer", "Viewer"


class Membership(models.Model):
    """Who belongs to which workspace, as what."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "workspace"], name="accounts_membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="accounts_membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.workspace_id} as {self.role}"

    @property
    def may_write(self) -> bool:
        """Viewers only look."""
        return self.role != Role.VIEWER

    @property
    def may_administer(self) -> bool:
        """Owners and admins decide what concerns the workspace beyond their own work."""
        return self.role in {Role.OWNER, Role.ADMIN}
