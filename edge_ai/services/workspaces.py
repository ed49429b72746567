"""Making workspaces. Runs as the schema's owner, in a command, never in a request."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django_tenants.utils import schema_exists

from accounts.models import Domain, Membership, Role, User, Workspace
from edge_ai.services.devices import sync_workspace


def create_workspace(
    *, slug: str, owner_email: str, name: str = "", password: str | None = None, staff: bool = False
) -> tuple[User, Workspace]:
    """Make the workspace and its owner, or find them when both are there already.

    Raises
    ------
    ValidationError
        A bad short name or password, or a workspace of that name that belongs to somebody else.
    """
    email = owner_email.strip().lower()
    user = User.objects.filter(email=email).first()
    workspace = Workspace.objects.filter(slug=slug).first()
    if workspace is not None and (
        user is None or not Membership.objects.filter(user=user, workspace=workspace, role=Role.OWNER).exists()
    ):
        raise ValidationError(f"The workspace {slug} exists, and {email} does not own it.")
    if user is None:
        if password is None:
            raise ValidationError(f"{email} is new: a password is needed (--password-env).")
        validate_password(password, User(email=email))
    if workspace is None:
        wanted = Workspace(
            slug=slug, name=name or slug.replace("-", " ").capitalize(), schema_name=Workspace.schema_for(slug)
        )
        wanted.full_clean(exclude=["schema_name"])
    # Nothing is made before everything has been looked at.
    if user is None:
        user = User.objects.create_user(email, password, is_staff=staff, is_superuser=staff)
    if workspace is None:
        workspace = wanted
        workspace.auto_create_schema = False
        with transaction.atomic():
            workspace.save()
            Domain.objects.create(domain=f"{slug}.localhost", tenant=workspace, is_primary=True)
            Membership.objects.create(user=user, workspace=workspace, role=Role.OWNER)
    # After its owner, so that whoever was interrupted here can simply ask again.
    if not schema_exists(workspace.schema_name):
        workspace.create_schema(verbosity=0)
    sync_workspace(workspace.schema_name)
    return user, workspace
