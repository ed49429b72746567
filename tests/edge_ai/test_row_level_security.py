"""The wall between users, tried with raw SQL: what holds when somebody forgets the ORM's filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction

from accounts.models import ApiKey, Membership, Role, User, Workspace
from edge_ai.models import Job, JobDay, JobEvent, ModelLayers
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web.support import make_invitation

#: Tables that belong to nobody in particular, each with the reason why it may do without a policy.
OPEN_TABLES = {
    "edge_ai_blob": "only names and sizes of bytes; the rows that refer to a blob decide who reads it",
}

OWNED: dict[str, Callable[[User], models.Model]] = {
    "edge_ai_model": factories.make_model,
    "edge_ai_modellayers": lambda user: ModelLayers.objects.create(model=factories.make_model(user), rows=[], count=0),
    "edge_ai_dataset": factories.make_dataset,
    "edge_ai_deviceprofile": factories.make_device,
    "edge_ai_optimizationjob": factories.make_optimization,
    "edge_ai_benchmarkrun": factories.make_benchmark,
    "edge_ai_artifact": factories.make_artifact,
    "edge_ai_analysisjob": lambda user: factories.make_analysis(user, factories.make_model(user)),
    "edge_ai_packagingjob": factories.make_packaging,
    "edge_ai_importjob": factories.make_import,
    "edge_ai_comparisonjob": factories.make_comparison,
    "edge_ai_comparedmodel": lambda user: factories.make_comparison(user).compared.all()[0],
    "edge_ai_diagnosisjob": factories.make_diagnosis,
    "edge_ai_job": lambda user: Job.objects.get(pk=factories.make_optimization(user).pk),
    "edge_ai_jobevent": lambda user: JobEvent.objects.create(
        job_id=factories.make_optimization(user).pk, kind="log", message="secret"
    ),
    "edge_ai_keptanswer": factories.make_kept_answer,
    "edge_ai_optimizationbatch": factories.make_batch,
    "edge_ai_workspaceexport": factories.make_export,
    "edge_ai_sharelink": factories.make_share_link,
    "edge_ai_upload": factories.make_upload,
    "edge_ai_webhookendpoint": factories.make_endpoint,
    "edge_ai_webhookdelivery": lambda user: factories.make_delivery(factories.make_endpoint(user)),
    "edge_ai_webhookmessage": lambda user: factories.make_delivery(factories.make_endpoint(user)).message,
    "edge_ai_webhookattempt": lambda user: factories.make_attempt(
        factories.make_delivery(factories.make_endpoint(user))
    ),
}
#: Tables whose rows belong to whoever owns the row that they refer to.
BY_REFERENCE = {
    "edge_ai_modellayers",
    "edge_ai_comparedmodel",
    "edge_ai_jobevent",
    "edge_ai_webhookdelivery",
    "edge_ai_webhookmessage",
    "edge_ai_webhookattempt",
}
#: Sums over everybody's work: read by every member, written by the studio alone; see the test below.
SUMS = {"edge_ai_eventday", "edge_ai_jobday", "edge_ai_jobtime", "edge_ai_usageday"}
#: Single events of use, which the studio alone reads; tried in test_telemetry.py.
COUNTED = {"edge_ai_usageevent"}
#: Read by owners and admins alone, and changed by nobody; tried in test_audit.py.
TRAIL = {"edge_ai_auditevent"}
KEY = {
    "edge_ai_modellayers": "model_id",
    "edge_ai_comparisonjob": "job_ptr_id",
    "edge_ai_packagingjob": "job_ptr_id",
    "edge_ai_importjob": "job_ptr_id",
    "edge_ai_diagnosisjob": "job_ptr_id",
    "edge_ai_optimizationjob": "job_ptr_id",
    "edge_ai_benchmarkrun": "job_ptr_id",
    "edge_ai_analysisjob": "job_ptr_id",
}


def sql(statement: str, *values: Any) -> int:
    """Run raw SQL as whoever is acting; returns how many rows it touched or found."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return len(cursor.fetchall()) if cursor.description else cursor.rowcount


def refused(statement: str, *values: Any) -> bool:
    """Tell whether the database refuses a statement outright."""
    try:
        with transaction.atomic():
            sql(statement, *values)
    except DatabaseError as error:
        return "row-level security" in str(error)
    return False


def test_every_table_of_a_workspace_is_protected_or_excused(alpha: Workspace) -> None:
    tables = {model._meta.db_table for model in apps.get_app_config("edge_ai").get_models()}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND relkind = 'r' AND relrowsecurity AND relforcerowsecurity",
            [alpha.schema_name],
        )
        protected = {row[0] for row in cursor.fetchall()}
    assert tables - protected == set(OPEN_TABLES)
    assert set(OWNED) == tables - set(OPEN_TABLES) - SUMS - TRAIL - COUNTED, (
        "every protected table needs its row in the tests below"
    )


@pytest.mark.parametrize("table", sorted(OWNED))
def test_a_colleague_cannot_read_change_or_delete_a_private_row(
    table: str, alpha: Workspace, owner: User, colleague: User
) -> None:
    with inside(alpha, owner):
        row = OWNED[table](owner)
        assert sql(f"SELECT 1 FROM {table} WHERE {KEY.get(table, 'id')} = %s", row.pk) == 1
    with inside(alpha, colleague):
        key = KEY.get(table, "id")
        assert sql(f"SELECT 1 FROM {table} WHERE {key} = %s", row.pk) == 0
        assert sql(f"UPDATE {table} SET {key} = {key} WHERE {key} = %s", row.pk) == 0
        assert sql(f"DELETE FROM {table} WHERE {key} = %s", row.pk) == 0
    with inside(alpha, None):
        assert sql(f"SELECT 1 FROM {table}") == 0, "nobody sees nothing"
    with inside_as_system(alpha):
        assert sql(f"SELECT 1 FROM {table} WHERE {KEY.get(table, 'id')} = %s", row.pk) == 1, "it is still there"


@pytest.mark.parametrize("table", sorted(set(OWNED) - set(KEY) - BY_REFERENCE))
def test_nobody_forges_a_row_in_anothers_name(table: str, alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, colleague):
        row = OWNED[table](colleague)
        assert refused(f"UPDATE {table} SET owner_id = %s WHERE id = %s", owner.pk, row.pk), "giving a row away"
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            OWNED[table](owner)


def test_nobody_writes_into_anothers_job(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        job = factories.make_optimization(owner, visibility="workspace")
    with inside(alpha, colleague):
        assert sql("SELECT 1 FROM edge_ai_job WHERE id = %s", job.pk) == 1, "it is shared for reading"
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            JobEvent.objects.create(job_id=job.pk, kind="log", message="forged")


def test_what_was_told_is_not_rewritten_by_its_owner(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        endpoint = factories.make_endpoint(owner)
        delivery = factories.make_delivery(endpoint)
        attempt = factories.make_attempt(delivery)
        for table, key in (("edge_ai_webhookmessage", delivery.message_id), ("edge_ai_webhookattempt", attempt.pk)):
            assert sql(f"SELECT 1 FROM {table} WHERE id = %s", key) == 1
            assert sql(f"UPDATE {table} SET id = id WHERE id = %s", key) == 0
            assert sql(f"DELETE FROM {table} WHERE id = %s", key) == 0
    with inside(alpha, colleague):
        assert refused(
            "INSERT INTO edge_ai_webhookdelivery (id, endpoint_id, message_id, event_type, status, attempt,"
            " schedule_began, error) VALUES (gen_random_uuid(), %s, %s, 'model.ready', 'pending', 0, 0, '')",
            endpoint.pk,
            delivery.message_id,
        ), "nobody sends to a colleague's endpoint"


@pytest.mark.parametrize("table", ["edge_ai_model", "edge_ai_dataset", "edge_ai_artifact"])
def test_a_shared_row_is_read_and_not_changed(table: str, alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        row = OWNED[table](owner)
        sql(f"UPDATE {table} SET visibility = 'workspace' WHERE id = %s", row.pk)
    with inside(alpha, colleague):
        assert sql(f"SELECT 1 FROM {table} WHERE id = %s", row.pk) == 1
        assert sql(f"UPDATE {table} SET visibility = 'private' WHERE id = %s", row.pk) == 0
        assert sql(f"DELETE FROM {table} WHERE id = %s", row.pk) == 0


def test_sums_are_read_by_members_and_written_by_the_studio(alpha: Workspace, colleague: User) -> None:
    row = {"day": "2026-05-04", "kind": "analysis", "status": "completed", "jobs": 1, "attempts": 1}
    with inside_as_system(alpha):
        JobDay.objects.create(**row, wait_seconds=1, run_seconds=1)
    with inside(alpha, colleague):
        assert sql("SELECT 1 FROM edge_ai_jobday") == 1
        assert sql("UPDATE edge_ai_jobday SET jobs = 9") == 0
        assert sql("DELETE FROM edge_ai_jobday") == 0
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            JobDay.objects.create(**row | {"kind": "benchmark"}, wait_seconds=1, run_seconds=1)
    with inside(alpha, None):
        assert sql("SELECT 1 FROM edge_ai_jobday") == 0


def test_templates_are_read_by_all_and_changed_by_none(alpha: Workspace, colleague: User) -> None:
    with inside(alpha, colleague):
        assert sql("SELECT 1 FROM edge_ai_deviceprofile WHERE is_template") >= 24
        assert sql("UPDATE edge_ai_deviceprofile SET name = 'mine' WHERE is_template") == 0
        assert sql("DELETE FROM edge_ai_deviceprofile WHERE is_template") == 0


def test_keys_are_their_holders_business_and_memberships_their_workspaces(
    alpha: Workspace, owner: User, colleague: User, outsider: User
) -> None:
    with inside(alpha, owner):
        ApiKey.issue(user=owner, workspace=alpha, name="mine", scopes=["read"])
    with inside(alpha, colleague):
        assert sql("SELECT 1 FROM accounts_apikey WHERE user_id = %s", owner.pk) == 0
        assert sql("SELECT 1 FROM accounts_membership WHERE user_id = %s", owner.pk) == 1, "colleagues know each other"
        assert sql("SELECT 1 FROM accounts_membership WHERE user_id = %s", outsider.pk) == 0
        assert sql("UPDATE accounts_membership SET role = 'owner'") == 0, "no role is raised by hand"
        assert sql("DELETE FROM accounts_membership") == 0
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Membership.objects.create(user=colleague, workspace=Workspace.objects.get(slug="beta"), role=Role.OWNER)
    with inside(alpha, None):
        assert sql("SELECT 1 FROM accounts_membership") == 0


def test_invitations_are_seen_by_those_who_manage_members(
    alpha: Workspace, owner: User, colleague: User, outsider: User
) -> None:
    made = make_invitation(alpha, owner)
    for user, sees in ((owner, 1), (colleague, 0), (outsider, 0), (None, 0)):
        with inside(alpha, user):
            assert sql("SELECT 1 FROM accounts_invitation WHERE id = %s", made.pk) == sees
    with inside(alpha, owner):
        assert sql("UPDATE accounts_invitation SET role = 'owner'") == 0
        assert sql("DELETE FROM accounts_invitation") == 0


def test_an_identity_does_not_outlive_a_rollback(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        factories.make_model(owner)
    with inside(alpha, colleague):
        with pytest.raises(RuntimeError), transaction.atomic():
            sql("SELECT 1")
            raise RuntimeError
        assert sql("SELECT 1 FROM edge_ai_model") == 0
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('app.user_id'), current_user, current_schema()")
            assert cursor.fetchone() == (str(colleague.pk), "studio_app", alpha.schema_name)


def test_the_tests_run_as_the_runtime_role(alpha: Workspace) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = session_user")
        assert cursor.fetchone() == ("studio_web", False, False)
