"""Writing rows of several tables in one trip to the database, where each would take one of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django.db import connection, models
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery

T = TypeVar("T", bound=models.Model)
Statement = tuple[str, Sequence[Any]]


def insert_together(rows: Iterable[models.Model], *, then: Iterable[Statement] = ()) -> None:
    """Insert new rows in their order, and run ``then``. What the database fills in by itself is not read back."""
    run_together([*map(insertion, rows), *then])


def run_together(statements: Sequence[Statement]) -> None:
    """Run statements in their order, whatever they answer."""
    if statements:
        with connection.cursor() as cursor:
            _run(statements, cursor)


def insertion(row: models.Model) -> Statement:
    """Return the statement that inserts a new row."""
    return _insertion(type(row), row)


def insertion_unless_there(row: models.Model) -> Statement:
    """Return the statement that inserts a row where none is that it would be at odds with."""
    return _compiled(InsertQuery(type(row), on_conflict=OnConflict.IGNORE), row, row._meta.local_concrete_fields)


def replacement(row: models.Model) -> Statement:
    """Return the statement that writes a row, in the place of one with its key where there is one."""
    meta = row._meta
    others = [field for field in meta.local_concrete_fields if not field.primary_key]
    query = InsertQuery(type(row), on_conflict=OnConflict.UPDATE, update_fields=others, unique_fields=[meta.pk])
    return _compiled(query, row, meta.local_concrete_fields)


def create_extended(row: T, *more: models.Model) -> T:
    """Insert a new row of a table that extends another one, with its row there, and read back what was filled in there.

    ``more`` are rows that refer to it, of which nothing is read back.
    """
    (parent,) = row._meta.parents
    filled = parent._meta.db_returning_fields
    with connection.cursor() as cursor:
        _run([*_extended(row, returning=filled), *map(insertion, more)], cursor)
        for field, value in zip(filled, cursor.fetchone(), strict=True):
            setattr(row, field.attname, value)
    row._state.adding, row._state.db = False, connection.alias
    return row


def insert_extended(rows: Iterable[models.Model]) -> None:
    """Insert new rows as :func:`create_extended` does one, all in one trip, and read nothing back."""
    statements: list[Statement] = []
    for row in rows:
        statements += _extended(row)
        row._state.adding, row._state.db = False, connection.alias
    run_together(statements)


def _extended(row: models.Model, *, returning: Sequence[Any] = ()) -> list[Statement]:
    ((parent, link),) = row._meta.parents.items()
    setattr(row, link.attname, getattr(row, parent._meta.pk.attname))  # type: ignore[union-attr]  # tables that are not proxies are linked
    return [_insertion(parent, row, returning=returning), insertion(row)]


def _insertion(table: type[models.Model], row: models.Model, *, returning: Sequence[Any] = ()) -> Statement:
    fields = [field for field in table._meta.local_concrete_fields if not _is_numbered(field, row)]
    return _compiled(InsertQuery(table), row, fields, returning=returning)


def _compiled(query: Any, row: models.Model, fields: Sequence[Any], *, returning: Sequence[Any] = ()) -> Statement:
    query.insert_values(fields, [row])
    compiler: Any = query.get_compiler(connection=connection)
    compiler.returning_fields = returning
    ((statement, values),) = compiler.as_sql()
    return statement, values


def _is_numbered(field: Any, row: models.Model) -> bool:
    """Tell whether the database counts this key."""
    return field.primary_key and getattr(row, field.attname) is None


def _run(statements: Sequence[Statement], cursor: Any) -> None:
    """Send statements as one. The values are bound by psycopg on this side, which lets there be several."""
    text = "; ".join(statement for statement, _ in statements)
    cursor.execute(text, [value for _, given in statements for value in given])
