"""What owners and admins do to a workspace itself: ask for one, rename it, have it deleted, change their minds."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django_tenants.utils import get_public_schema_name, schema_context

from accounts.members import deciding
from accounts.models import Domain, Membership, Role, User, Workspace
from config.database.identity import acting_as_system
from edge_ai.engine.errors import UserInputError

#: Names that mean something else where a workspace's name is a host's.
RESERVED = frozenset({"admin", "api", "docs", "health", "mail", "public", "static", "www"})


def ask_for(user: User, *, slug: str, name: str) -> Workspace:
    """Write down a new workspace, owned by ``user``; its schema is made elsewhere, by the role that owns schemas.

    Raises
    ------
    UserInputError
        ``permission_denied`` where people may make none; ``conflict`` for a name that is taken; ``quota_exceeded``;
        ``invalid_request``.
    """
    if not settings.WORKSPACE_CREATION:
        raise UserInputError(
            "Workspaces are made by the operator of this studio.", code="permission_denied", fix="Ask the operator."
        )
    made = Workspace(slug=slug, name=name.strip(), schema_name=Workspace.schema_for(slug))
    try:
        made.full_clean(exclude=["schema_name"], validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        raise UserInputError(" ".join(problems), code="invalid_request", field=field) from error
    # A workspace is made in no workspace's schema.
    with acting_as_system(), schema_context(get_public_schema_name()):
        try:
            with transaction.atomic():
                # Locked, so that of two requests at the same moment each counts what the other has made.
                User.objects.select_for_update(no_key=True).get(pk=user.pk)
                _require_room(user)
                if slug in RESERVED:
                    raise _taken(slug)
                made.auto_create_schema = False
                made.save()
                Domain.objects.create(domain=f"{slug}.localhost", tenant=made, is_primary=True)
                Membership.objects.create(user=user, workspace=made, role=Role.OWNER)
        except (IntegrityError, ValidationError) as error:  # found before it was written, or when it was
            raise _taken(slug) from error
    return made


def rename(actor: Membership, *, name: str) -> None:
    """Give the workspace another name; its short name, which addresses and scripts use, stays.

    Raises
    ------
    UserInputError
        ``permission_denied`` for all but admins and owners.
    """
    with deciding(actor, actor.pk) as (me, _):
        if not me.may_administer:
            raise _denied("A workspace is renamed by its admins and owners.")
        Workspace.objects.filter(pk=me.workspace_id).update(name=name.strip())


def have_deleted(actor: Membership, *, slug: str) -> None:
    """Have the workspace removed once the time to think again is over. ``slug`` is typed by whoever asks, to be sure.

    Raises
    ------
    UserInputError
        ``permission_denied`` for all but owners, ``invalid_request`` for another workspace's name.
    """
    with deciding(actor, actor.pk) as (me, _):
        if me.role != Role.OWNER:
            raise _denied("A workspace is deleted by its owners.")
        if slug.strip() != me.workspace.slug:
            raise UserInputError(
                "That is not the short name of this workspace.",
                code="invalid_request",
                fix=f"Type {me.workspace.slug}.",
                field="slug",
            )
        Workspace.objects.filter(pk=me.workspace_id, delete_at__isnull=True).update(
            delete_at=Now() + timedelta(days=settings.WORKSPACE_GRACE_DAYS)
        )


def keep(actor: Membership) -> None:
    """Take a deletion back.

    Raises
    ------
    UserInputError
        ``permission_denied`` for all but owners.
    """
    with deciding(actor, actor.pk) as (me, _):
        if me.role != Role.OWNER:
            raise _denied("A workspace is kept by its owners.")
        Workspace.objects.filter(pk=me.workspace_id, delete_at__gt=Now()).update(delete_at=None)


def _require_room(user: User) -> None:
    owned = Membership.objects.filter(user=user, role=Role.OWNER).count()
    if owned >= settings.WORKSPACES_PER_OWNER:
        raise UserInputError(
            f"You own {owned} workspaces, and nobody may own more.",
            code="quota_exceeded",
            fix="Delete one that is not used any more, or ask the operator.",
        )


def _taken(slug: str) -> UserInputError:
    return UserInputError(f"The short name {slug} is taken.", code="conflict", fix="Choose another.", field="slug")


def _denied(message: str) -> UserInputError:
    return UserInputError(message, code="permission_denied", fix="Ask an owner of the workspace.")
