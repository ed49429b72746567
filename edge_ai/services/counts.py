"""Counting the rows of several tables with one query."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import Count, QuerySet, Value


def counts_of(**tables: QuerySet[Any]) -> dict[str, int]:
    """Return how many rows each of some querysets has, by the names that they are given here. One query."""
    # A table without rows has no group, and so no line of its own.
    first, *others = (
        rows.order_by().values(table=Value(name)).annotate(rows=Count("pk")).values_list("table", "rows")
        for name, rows in tables.items()
    )
    return dict.fromkeys(tables, 0) | dict(first.union(*others, all=True))


def counts_up_to(most: int, **tables: QuerySet[Any]) -> dict[str, int]:
    """Return the same, but ``most`` + 1 for whatever has more than that: no more rows are read. One query."""
    first, *others = (rows.order_by().values_list(Value(name))[: most + 1] for name, rows in tables.items())
    sql, parameters = first.union(*others, all=True).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name, count(*) FROM ({sql}) AS found (name) GROUP BY name", parameters)  # noqa: S608 - the ORM's
        return dict.fromkeys(tables, 0) | dict(cursor.fetchall())
