"""Row level security and triggers, as migration operations.

Policies stand beneath the ORM: with a filter forgotten, a query of the runtime role still gets only the rows of the user
that the connection acts for. ``studio_ops`` (reaper, workers, admin) and the owner (migrations, which would otherwise see no
rows under FORCE) pass.
"""

from __future__ import annotations

from django.db import migrations

from config.database.backend.base import SYSTEM_ROLE, USER_ROLE

ME = "(SELECT NULLIF(current_setting('app.user_id', true), '')::uuid)"


def protect(table: str, *, see: str, change: str) -> migrations.RunSQL:
    """Let users see the rows where ``see`` holds and change those where ``change`` holds; both are SQL over the row."""
    policies = {
        f"{table}_see": f"FOR SELECT TO {USER_ROLE} USING ({ME} IS NOT NULL AND ({see}))",
        f"{table}_add": f"FOR INSERT TO {USER_ROLE} WITH CHECK ({change})",
        f"{table}_change": f"FOR UPDATE TO {USER_ROLE} USING ({change}) WITH CHECK ({change})",
        f"{table}_remove": f"FOR DELETE TO {USER_ROLE} USING ({change})",
        f"{table}_system": f"FOR ALL TO {SYSTEM_ROLE} USING (true) WITH CHECK (true)",
        f"{table}_owner": "FOR ALL TO CURRENT_USER USING (true) WITH CHECK (true)",
    }
    return migrations.RunSQL(
        [
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            *(f"CREATE POLICY {name} ON {table} {rule}" for name, rule in policies.items()),
        ],
        [
            *(f"DROP POLICY {name} ON {table}" for name in policies),
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ],
    )


def protect_owned(table: str) -> migrations.RunSQL:
    """Rows of an owner, shared with the workspace or not."""
    return protect(table, see=f"owner_id = {ME} OR visibility = 'workspace'", change=f"owner_id = {ME}")


def protect_by_job(table: str, column: str) -> migrations.RunSQL:
    """Rows that belong to a job: the job's own policies decide who sees, and its owner who changes."""
    seen = f"EXISTS (SELECT 1 FROM edge_ai_job j WHERE j.id = {table}.{column})"  # noqa: S608 - names from migrations
    mine = f"EXISTS (SELECT 1 FROM edge_ai_job j WHERE j.id = {table}.{column} AND j.owner_id = {ME})"  # noqa: S608 - names from migrations
    return protect(table, see=seen, change=mine)


TOUCH = migrations.RunSQL(
    "CREATE OR REPLACE FUNCTION studio_touch() RETURNS trigger LANGUAGE plpgsql AS $$"
    " BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$",
    "DROP FUNCTION IF EXISTS studio_touch()",
)


def touch(table: str) -> migrations.RunSQL:
    """Keep ``updated_at`` in the database, where no update can forget it."""
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_touch BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION studio_touch()",
        f"DROP TRIGGER {table}_touch ON {table}",
    )
