"""Rows as quickly as they are presented in lists: what REST framework finds out for each value is found out once.

What comes of it is the same; only fields that read a column, or a property, of the row itself gain by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from rest_framework import serializers

from edge_ai.api.negotiation import Places

#: What the columns are called that hold JSON as the database writes it.
WRITTEN = "written_"
Way = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]


class QuickRows(serializers.Serializer[Any]):
    """Mixed into a serializer of rows whose fields can neither be missing nor called, and ask nothing of the request."""

    #: Columns of JSON that lists pass on as they are written.
    written: tuple[str, ...] = ()

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return what REST framework returns."""
        return present(type(self), instance)


def page_of(serializer: type[QuickRows], rows: Iterable[Any], places: Places) -> list[dict[str, Any]]:
    """Return what a serializer says of rows of :func:`as_written`; JSON of theirs is put into ``places``."""
    ways = [
        (name, attrgetter(WRITTEN + name), places.put) if name in serializer.written else (name, read, show)
        for name, read, show in _ways(serializer)
    ]
    return [_shown(ways, row) for row in rows]


def as_written(serializer: type[QuickRows], rows: QuerySet[Any]) -> QuerySet[Any]:
    """Have the columns of JSON read as text."""
    texts = {WRITTEN + name: Cast(name, TextField()) for name in serializer.written}
    return rows.annotate(**texts).defer(*serializer.written) if texts else rows


def present(serializer: type[QuickRows], row: Any) -> dict[str, Any]:
    """Return what a serializer says of a row."""
    return _shown(_ways(serializer), row)


def _shown(ways: Sequence[Way], row: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, read, show in ways:
        value = read(row)
        shown[name] = None if value is None else show(value)
    return shown


@cache
def _ways(serializer: type[QuickRows]) -> list[Way]:
    """Name each field, and say how its value is read and presented."""
    return [_way(str(field.field_name), field) for field in serializer()._readable_fields]


def _way(name: str, field: Any) -> Way:
    if isinstance(field, serializers.PrimaryKeyRelatedField):
        # The key is in the row; what it refers to is not looked at.
        return name, attrgetter(f"{field.source}_id"), str
    if field.source == "*":
        return name, _itself, field.to_representation
    if type(field) is serializers.DateTimeField:
        return name, attrgetter(str(field.source)), lambda value: _moment(value, field)
    return name, attrgetter(str(field.source)), field.to_representation


def _itself(row: Any) -> Any:
    return row


def _moment(value: datetime, field: Any) -> Any:
    """Return a moment as REST framework writes it; those of the database are in UTC."""
    return f"{value.isoformat()[:-6]}Z" if value.tzinfo is UTC else field.to_representation(value)
