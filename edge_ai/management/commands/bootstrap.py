"""Make everything that a studio needs before its processes start: roles, database, schema, device templates."""

from __future__ import annotations

from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from config.database.roles import create_roles_and_database, grant_future
from edge_ai.services.devices import sync_templates
from edge_ai.services.schedules import sync_schedules


class Command(BaseCommand):
    """``manage.py bootstrap``; safe to run again at every release."""

    requires_system_checks = ()  # the web processes run them; here they would only cost time
    help = "Create roles and database (with the embedded server or DATABASE_ADMIN_URL), migrate, synchronise device templates."

    def handle(self, *args: Any, **options: Any) -> None:
        self._make_roles()
        grant_future_as_owner()
        call_command("migrate_schemas", shared=True, interactive=False, verbosity=0)
        call_command("migrate_schemas", tenant=True, interactive=False, verbosity=0)
        connection.set_schema_to_public()  # type: ignore[attr-defined]  # the tenant backend's
        changed = sync_templates()
        sync_schedules()
        self.stdout.write(f"The database is ready; {changed} device profiles were brought up to date.")

    def _make_roles(self) -> None:
        database = str(settings.DATABASES["default"]["NAME"])
        address = settings.DATABASE_ADMIN_ADDRESS
        if settings.EMBEDDED_DATABASE:
            from config.embedded_postgres import ensure

            server = ensure(settings.EMBEDDED_DATA_DIR, fast=settings.EMBEDDED_FAST)
            where: dict[str, Any] = {
                "host": str(server.socket_dir),
                "port": server.port,
                "user": server.admin_user,
                "password": server.admin_password,
                "dbname": "postgres",
            }
        elif address is not None:
            where = {
                "host": address.host,
                "user": address.user,
                "password": address.password,
                "dbname": address.name,
                **({"port": address.port} if address.port else {}),
                **address.options,
            }
        else:
            return
        try:
            with psycopg.connect(**where, autocommit=True) as admin:
                create_roles_and_database(
                    admin,
                    database=database,
                    owner_password=settings.DATABASE_OWNER_PASSWORD,
                    web_password=settings.DATABASE_WEB_PASSWORD,
                )
        except psycopg.Error as error:
            raise CommandError(f"The studio's roles could not be made: {error}") from error


def grant_future_as_owner() -> None:
    """See :func:`config.database.roles.grant_future`."""
    connection.ensure_connection()
    grant_future(connection.connection)
