"""Making workspaces: a request writes one down, and the schema is made by its owner, in a command."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.functions import Now
from django_q.tasks import async_task
from django_tenants.utils import schema_exists

from accounts.models import Domain, Membership, Role, User, Workspace
from accounts.workspaces import ask_for
from edge_ai.services.devices import sync_workspace
from edge_ai.services.schedules import EVERYWHERE
from edge_ai.services.schemas import missing_migrations, tenant_labels
from edge_ai.services.telemetry import count_new_workspace


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
    elif missing_migrations(workspace.schema_name, tenant_labels()):
        # Interrupted in the middle of its tables: the rest of them.
        call_command("migrate_schemas", schema_name=workspace.schema_name, interactive=False, verbosity=0)
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
    sync_workspace(workspace.schema_name)
    if Workspace.objects.filter(pk=workspace.pk, made_at__isnull=True).update(made_at=Now()):
        count_new_workspace(workspace, user)
    return user, workspace


def request_workspace(user: User, *, slug: str, name: str) -> Workspace:
    """Write a new workspace down for ``user``, and wake a worker that makes its schema.

    Raises
    ------
    UserInputError
        What :func:`accounts.workspaces.ask_for` raises.
    """
    with transaction.atomic():
        made = ask_for(user, slug=slug, name=name)
        # Should the message be lost, the schedule does the same every minute.
        async_task(EVERYWHERE, "make_workspaces", q_options={"cluster": settings.CHORE_QUEUE, "save": False})
    return made
