"""Device profiles: one's own, and the templates that reach every workspace."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.text import slugify
from django_tenants.utils import schema_context

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.catalogue.host import detect_host
from edge_ai.catalogue.loader import TEXT_SOURCES, DeviceTemplateFacts, facts_to_fields, load_catalogue
from edge_ai.catalogue.models import DeviceTemplate
from edge_ai.engine.errors import UserInputError
from edge_ai.models import DESCRIPTION_FIELDS, AuditAction, DeviceProfile
from edge_ai.services.audit import fields_of, note

OWN_FIELDS = frozenset(DESCRIPTION_FIELDS) - {"slug", "position", "sources", "is_host"} | {"visibility"}
#: How many devices a page offers to choose from.
MAX_SHOWN = 200
#: What the documents behind a template's texts and lists speak of.
_SAID = ("cpu_model", "cpu_architecture", "cpu_extensions", "runtimes", "formats", "precisions")


def create_profile(user: User, *, fields: dict[str, Any], like: DeviceProfile | None = None) -> DeviceProfile:
    """Make a profile of one's own, from nothing or begun with another device.

    Parameters
    ----------
    like
        The device that it was begun with: what is as it is there keeps its source.
    """
    profile = DeviceProfile(owner=user, slug=slugify(fields["name"])[:80] or "device", **_own(fields))
    if like is not None:
        profile.sources = _sources_left(like, profile)
        profile.made_from = like.slug if like.is_template else like.made_from
    with transaction.atomic():
        profile.save()
        note(AuditAction.DEVICE_CREATED, profile, after=_told(fields_of(profile, OWN_FIELDS)))
    profile.refresh_from_db()
    return profile


def update_profile(user: User, *, profile: DeviceProfile, fields: dict[str, Any]) -> DeviceProfile:
    """Change a profile of one's own; templates are changed in the admin pages."""
    _refuse_template(user, profile)
    changes = _own(fields)
    with transaction.atomic():
        was = DeviceProfile.objects.owned_by(user).select_for_update().get(pk=profile.pk)
        now = copy(was)
        for name, value in changes.items():
            setattr(now, name, value)
        changes["sources"] = _sources_left(was, now)
        DeviceProfile.objects.filter(pk=profile.pk).update(**changes)
        note(AuditAction.DEVICE_CHANGED, was, before=fields_of(was, changes), after=changes)
    profile.refresh_from_db()
    return profile


def delete_profile(user: User, *, profile: DeviceProfile) -> None:
    """Remove a profile of one's own that no job refers to."""
    _refuse_template(user, profile)
    try:
        with transaction.atomic():
            note(AuditAction.DEVICE_DELETED, profile, before=_told(fields_of(profile, OWN_FIELDS)))
            profile.delete()
    except (ProtectedError, IntegrityError) as error:
        raise UserInputError(
            f"“{profile.name}” is used by jobs.", code="conflict", fix="Delete the models whose jobs used it first."
        ) from error


def _own(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in OWN_FIELDS}


def _sources_left(was: DeviceProfile, now: DeviceProfile) -> dict[str, str]:
    """Return the sources of what stays as it was: a number that somebody changed is his own."""
    return {name: source for name, source in (was.sources or {}).items() if _stays(name, was, now)}


def _stays(name: str, was: DeviceProfile, now: DeviceProfile) -> bool:
    field, _, rest = name.partition(".")
    if field == TEXT_SOURCES:
        # In whatever order: a form sends choices in its own.
        return all(sorted(getattr(was, each)) == sorted(getattr(now, each)) for each in _SAID)
    if field == "accelerators":
        place = int(rest.partition(".")[0])
        return bool(was.accelerators[place : place + 1] == now.accelerators[place : place + 1])
    return bool(getattr(was, field, None) == getattr(now, field, None))


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not known."""
    return {name: value for name, value in sorted(fields.items()) if value not in (None, "", [])}


def _refuse_template(user: User, profile: DeviceProfile) -> None:
    if profile.is_template or profile.owner_id != user.pk:
        raise UserInputError(
            f"“{profile.name}” is a template and can only be changed by staff."
            if profile.is_template
            else f"“{profile.name}” belongs to a colleague.",
            code="permission_denied",
            fix="Make a profile of your own from it.",
        )


def sync_templates() -> int:
    """Bring templates in line with the catalogue file and this machine, and every workspace in line with the templates.

    Idempotent. A template that staff edited keeps their edits, except that “This machine” is always detected anew.
    Returns how many profiles changed.
    """
    with acting_as_system(), schema_context("public"):
        for facts in (detect_host(), *load_catalogue()):
            _sync_template(facts)
        schemas = list(Workspace.objects.filter(made_at__isnull=False).values_list("schema_name", flat=True))
    return sum(sync_workspace(schema) for schema in schemas)


def _sync_template(facts: DeviceTemplateFacts) -> None:
    fields = facts_to_fields(facts)
    slug = fields.pop("slug")
    template, made = DeviceTemplate.objects.get_or_create(slug=slug, defaults=fields)
    if made or (template.edited and not facts.is_host):
        return
    if any(getattr(template, name) != value for name, value in fields.items()):
        DeviceTemplate.objects.filter(pk=template.pk).update(**fields)


def sync_workspace(schema_name: str) -> int:
    """Give one workspace the templates as they are now; returns how many of its profiles changed.

    A template that is gone is removed where no job used it, and stays, as it was, where one did.
    """
    changed = 0
    with acting_as_system():
        with schema_context("public"):
            templates = list(DeviceTemplate.objects.all())
        with schema_context(schema_name), transaction.atomic():
            copies = {profile.slug: profile for profile in DeviceProfile.objects.filter(is_template=True)}
            first = not copies
            for template in templates:
                fields = {name: getattr(template, name) for name in DESCRIPTION_FIELDS}
                copy = copies.pop(template.slug, None)
                if copy is None:
                    made = DeviceProfile.objects.create(is_template=True, **fields)
                    if not first:  # a new workspace's devices are no news
                        note(AuditAction.TEMPLATE_CREATED, made)
                    changed += 1
                elif any(getattr(copy, name) != value for name, value in fields.items()):
                    DeviceProfile.objects.filter(pk=copy.pk).update(**fields)
                    note(AuditAction.TEMPLATE_CHANGED, copy, before=fields_of(copy, fields), after=fields)
                    changed += 1
            for gone in copies.values():
                removed, _ = DeviceProfile.objects.filter(
                    pk=gone.pk, optimization_jobs=None, benchmarks=None, comparisons=None, diagnoses=None
                ).delete()
                if removed:
                    note(AuditAction.TEMPLATE_DELETED, gone)
                    changed += 1
    return changed
