"""Deleting rows with all that goes with them, in one statement.

Django's own deletion reads every table that refers to a row, and every table that refers to those, one after another. What
goes and what only forgets is said in one place, ``on_delete`` of the models, and read from there here as well.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from django.apps import apps
from django.db import connection, models

Table = type[models.Model]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A column of a table that names rows of another one."""

    table: Table
    column: str
    of: Table


def erase(rows: Mapping[Table, Sequence[Any]]) -> None:
    """Delete rows by their keys, what is deleted with them, and every mention of them that may be empty.

    To be called in a transaction: at its end the database refuses where something is left that refers to what is gone, such
    as rows that whoever acts may not change.

    Raises
    ------
    IntegrityError
        At the end of the transaction.
    """
    roots = {_root(table): list(keys) for table, keys in rows.items()}
    parts, values = _selection(frozenset(roots)), []
    named = []
    for table, selects in parts.items():
        if table in roots:
            selects = (f"SELECT {_key(table)} FROM {_name(table)} WHERE {_key(table)} = ANY(%s)", *selects)  # noqa: S608 - names from the models
            values.append(roots[table])
        named.append(f"{_set(table)} (key) AS MATERIALIZED ({' UNION '.join(selects)})")
    # All of them see what was there before, so that their order is of no matter.
    named += [f"c{place} AS ({change})" for place, change in enumerate(_changes(tuple(parts)))]
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(named)} SELECT", values)


@functools.cache
def _selection(roots: frozenset[Table]) -> dict[Table, tuple[str, ...]]:
    """Return, in an order in which each needs only those before it, the tables of which rows go, and what selects these.

    Tables that extend another one share its keys and are one with it here.
    """
    going, waiting = set(roots), list(roots)
    while waiting:
        table = waiting.pop()
        more = {_root(each.table) for each in _references(models.CASCADE) if each.of is table} - going
        going |= more
        waiting += more
    needs = {
        table: {each.of for each in _references(models.CASCADE) if _root(each.table) is table and each.of in going}
        for table in going
    }
    return {
        table: tuple(
            f"SELECT {_key(each.table)} FROM {_name(each.table)} WHERE {each.column} IN (SELECT key FROM {_set(each.of)})"  # noqa: S608 - as above
            for each in _references(models.CASCADE)
            if _root(each.table) is table and each.of in going
        )
        for table in TopologicalSorter(needs).static_order()
    }


@functools.cache
def _changes(going: tuple[Table, ...]) -> tuple[str, ...]:
    """Return what deletes the rows that go, and what forgets them where they are only mentioned."""
    found = [
        f"DELETE FROM {_name(table)} WHERE {_key(table)} IN (SELECT key FROM {_set(root)})"  # noqa: S608 - as above
        for root in going
        for table in _tables()
        if _root(table) is root
    ]
    for table in _tables():
        mentions = [each for each in _references(models.SET_NULL) if each.table is table and each.of in going]
        if not mentions:
            continue
        # A row with several mentions may be changed but once in a statement, and not at all where it goes itself.
        within = [f"{each.column} IN (SELECT key FROM {_set(each.of)})" for each in mentions]  # noqa: S608 - as above
        cleared = ", ".join(
            f"{each.column} = CASE WHEN {condition} THEN NULL ELSE {each.column} END"
            for each, condition in zip(mentions, within, strict=True)
        )
        stays = f" AND {_key(table)} NOT IN (SELECT key FROM {_set(_root(table))})" if _root(table) in going else ""  # noqa: S608 - as above
        found.append(f"UPDATE {_name(table)} SET {cleared} WHERE ({' OR '.join(within)}){stays}")  # noqa: S608 - as above
    return tuple(found)


@functools.cache
def _tables() -> tuple[Table, ...]:
    return tuple(
        each for each in apps.get_app_config("edge_ai").get_models(include_auto_created=True) if each._meta.managed
    )


def _references(on_delete: Any) -> Iterator[Reference]:
    for table in _tables():
        for field in table._meta.local_fields:
            remote: Any = field.remote_field
            if remote is None or remote.parent_link or remote.on_delete is not on_delete:
                continue
            if _root(remote.model) in _tables():
                yield Reference(table=table, column=_quoted(field.column), of=_root(remote.model))


def _root(table: Table) -> Table:
    """Return the table that a table extends, or itself."""
    parents = list(table._meta.parents)
    return _root(parents[0]) if parents else table


def _name(table: Table) -> str:
    return _quoted(table._meta.db_table)


def _key(table: Table) -> str:
    return _quoted(table._meta.pk.column)


def _set(table: Table) -> str:
    return _quoted(f"gone_{table._meta.model_name}")


def _quoted(name: str | None) -> str:
    return connection.ops.quote_name(str(name))
