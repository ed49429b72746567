"""What every row of a workspace has: an owner and who may see it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.functions import Now
from django.db.models.sql import Query

if TYPE_CHECKING:
    from accounts.models import User


class Visibility(models.TextChoices):
    """Who, within the workspace, may see a row."""

    PRIVATE = "private", "Only me"
    WORKSPACE = "workspace", "Everyone in the workspace"


M = TypeVar("M", bound=models.Model)


class ClockTimestamp(models.Func):
    """The database's clock now, not at the beginning of the transaction."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()


class _KeepingRows(Query):
    """Joins what rows refer to without losing those of which it is hidden: policies hide what foreign keys promise."""

    def is_nullable(self, field: models.Field[Any, Any]) -> bool:
        """Every reference may lead to nothing that is seen, but not the one from a job of a kind to the job that it is."""
        if isinstance(field, models.ForeignKey):
            return not field.remote_field.parent_link
        return super().is_nullable(field)


class OwnedQuerySet(models.QuerySet[M]):
    """The one place that says who sees which rows; row level security says the same beneath it."""

    def visible_to(self, user: User | Any) -> OwnedQuerySet[M]:
        """Rows that the user owns, and those shared with the workspace."""
        return self.filter(models.Q(owner_id=user.pk) | models.Q(visibility=Visibility.WORKSPACE))

    def owned_by(self, user: User | Any) -> OwnedQuerySet[M]:
        """Rows that the user may change."""
        return self.filter(owner_id=user.pk)

    def with_seen(self, *related: str) -> OwnedQuerySet[M]:
        """Read along what rows refer to, as ``select_related`` does, as far as it is seen.

        A job may be shared whose model is private, or was made so since. Its row stays; :func:`seen` tells whether there is a
        model, and templates find nothing.
        """
        found = self.select_related(*related)
        found.query = found.query.chain(klass=_KeepingRows)
        return found


def seen(row: models.Model, name: str) -> Any:
    """Return what a row refers to, or ``None`` where that is hidden or not there. Read it along by :meth:`with_seen`."""
    try:
        return getattr(row, name)
    except ObjectDoesNotExist:
        return None


class Owned(models.Model):
    """Base of the rows that belong to somebody. ``updated_at`` is kept by a trigger, so that no update can forget it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", editable=False)
    visibility = models.CharField(max_length=10, choices=Visibility.choices, default=Visibility.PRIVATE)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True


def known(field: str, values: list[str], name: str) -> models.CheckConstraint:
    """Return the constraint that holds a closed set of words in the database as well."""
    return models.CheckConstraint(condition=models.Q(**{f"{field}__in": values}), name=name)
