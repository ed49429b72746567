"""Workspaces are the tenants: each has a PostgreSQL schema of its own."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now
from django_tenants.models import DomainMixin, TenantMixin

SLUG_PATTERN = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"


class Workspace(TenantMixin):  # type: ignore[misc]  # django-tenants has no type information
    """A team's room: everything it makes lives in its own schema."""

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
    concurrent_jobs = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many of its jobs may run at once on each queue; empty: what WORKSPACE_CONCURRENT_JOBS says.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

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
