"""The four roles: who owns, who logs in, and the two hats that the login wears."""

from __future__ import annotations

import psycopg
from psycopg import sql

OWNER = "studio_owner"
WEB = "studio_web"
APP = "studio_app"
OPS = "studio_ops"
#: A transaction that does nothing is ended after this; counts of quotas rest on its being less than 20 minutes.
IDLE_IN_TRANSACTION = "15min"


def create_roles_and_database(
    admin: psycopg.Connection[tuple[object, ...]], *, database: str, owner_password: str, web_password: str
) -> None:
    """Make roles and database when they are missing, and set the passwords. ``admin`` is in autocommit mode.

    ``studio_owner`` owns the tables and makes schemas; ``studio_web`` is what web and workers log in as: neither
    superuser nor owner, and with no rights but those of ``studio_app`` (acts for a user, held by row level security) and
    ``studio_ops`` (the studio itself), which it puts on by SET ROLE.
    """
    wanted = {
        OWNER: sql.SQL("LOGIN PASSWORD {}").format(sql.Literal(owner_password)),
        WEB: sql.SQL("LOGIN NOINHERIT PASSWORD {}").format(sql.Literal(web_password)),
        APP: sql.SQL("NOLOGIN"),
        OPS: sql.SQL("NOLOGIN"),
    }
    for role, options in wanted.items():
        exists = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        verb = sql.SQL("ALTER" if exists else "CREATE")
        admin.execute(
            sql.SQL("{} ROLE {} WITH NOSUPERUSER NOBYPASSRLS NOCREATEROLE {}").format(
                verb, sql.Identifier(role), options
            )
        )
    admin.execute(sql.SQL("GRANT {}, {} TO {}").format(*map(sql.Identifier, (APP, OPS, WEB))))
    admin.execute(
        sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = {}").format(
            sql.Identifier(WEB), sql.Literal(IDLE_IN_TRANSACTION)
        )
    )
    if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER)))
    admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {0} FROM PUBLIC").format(sql.Identifier(database)))
    admin.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {0} TO {1}, {2}").format(*map(sql.Identifier, (database, OWNER, WEB)))
    )


def grant_future(owner: psycopg.Connection[tuple[object, ...]]) -> None:
    """Let the two hats use every table and schema that the owner makes from now on; row level security narrows it.

    Runs as the owner, in the studio's database, before the first migration.
    """
    hats = sql.SQL("{}, {}").format(sql.Identifier(APP), sql.Identifier(OPS))
    for statement in (
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {}",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}",
        "ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO {}",
        "GRANT USAGE ON SCHEMA public TO {}",
    ):
        owner.execute(sql.SQL(statement).format(hats))
