"""Which workspaces' schemas are there in full: one that is being made, or waits for a migration, has tables missing."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from accounts.models import Workspace
from config.database.identity import acting_as_system

_complete: set[str] = set()


@cache
def wanted_migrations(labels: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Return the migrations of some apps that this code was written for, replaced ones left out."""
    loader = MigrationLoader(None)
    return frozenset(key for key in loader.graph.nodes if key[0] in labels)


def tenant_labels() -> tuple[str, ...]:
    """Return the apps whose tables each workspace has."""
    return tuple(name.rpartition(".")[2] for name in settings.TENANT_APPS)


def missing_migrations(schema_name: str, labels: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Return the migrations of some apps that a schema lacks; all of them where there is no schema."""
    wanted = wanted_migrations(labels)
    table = connection.ops.quote_name(schema_name) + "." + connection.ops.quote_name("django_migrations")
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        row = cursor.fetchone()
        if row is None or not row[0]:
            return wanted
        # Not through Django's recorder: it would find the table of the public schema, which is on every search path.
        cursor.execute(f"SELECT app, name FROM {table}")  # noqa: S608 - a quoted name from the workspaces' table
        return wanted - set(cursor.fetchall())


def complete_schemas() -> list[str]:
    """Return the schemas of all workspaces that have every table. One that had them once is not looked at again."""
    with acting_as_system():
        names = list(
            Workspace.objects.exclude(schema_name="public").order_by("pk").values_list("schema_name", flat=True)
        )
    _complete.intersection_update(names)
    for name in names:
        if name not in _complete and not missing_migrations(name, tenant_labels()):
            _complete.add(name)
    return [name for name in names if name in _complete]
