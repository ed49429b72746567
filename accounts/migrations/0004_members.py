"""Members see each other, and the database keeps every workspace an owner.

Changes of memberships stay the studio's alone. The policy cannot look into its own table, which would ask itself without end:
a function with the owner's rights does.
"""

from django.db import migrations

from config.database.backend.base import USER_ROLE
from config.database.policies import ME

MY_WORKSPACES = migrations.RunSQL(
    "CREATE FUNCTION studio_my_workspaces(roles text[]) RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER"  # noqa: S608 - constants
    " SET search_path = public, pg_temp AS $$ SELECT workspace_id FROM accounts_membership"
    f" WHERE user_id = {ME} AND role = ANY(roles) $$",
    "DROP FUNCTION studio_my_workspaces(text[])",
)
COLLEAGUES = "workspace_id = ANY(ARRAY(SELECT studio_my_workspaces('{owner,admin,member,viewer}')))"
SEE = migrations.RunSQL(
    [
        "DROP POLICY accounts_membership_see ON accounts_membership",
        f"CREATE POLICY accounts_membership_see ON accounts_membership FOR SELECT TO {USER_ROLE}"
        f" USING ({ME} IS NOT NULL AND ({COLLEAGUES}))",
    ],
    [
        "DROP POLICY accounts_membership_see ON accounts_membership",
        f"CREATE POLICY accounts_membership_see ON accounts_membership FOR SELECT TO {USER_ROLE}"
        f" USING ({ME} IS NOT NULL AND (user_id = {ME}))",
    ],
)
# At the end of the transaction and behind a lock on the workspace: of two who take each other's role away, the second sees
# what the first has done.
KEEP_AN_OWNER = migrations.RunSQL(
    [
        "CREATE FUNCTION studio_keep_an_owner() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path = public, pg_temp AS $$ BEGIN"
        " PERFORM 1 FROM accounts_workspace WHERE id = OLD.workspace_id FOR NO KEY UPDATE;"
        " IF FOUND AND NOT EXISTS (SELECT 1 FROM accounts_membership"
        "   WHERE workspace_id = OLD.workspace_id AND role = 'owner') THEN"
        "   RAISE EXCEPTION 'A workspace needs an owner.'"
        "     USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_membership_an_owner';"
        " END IF; RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER accounts_membership_an_owner AFTER UPDATE OR DELETE ON accounts_membership"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.role = 'owner')"
        " EXECUTE FUNCTION studio_keep_an_owner()",
    ],
    [
        "DROP TRIGGER accounts_membership_an_owner ON accounts_membership",
        "DROP FUNCTION studio_keep_an_owner()",
    ],
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_concurrent_jobs")]
    operations = [MY_WORKSPACES, SEE, KEEP_AN_OWNER]
