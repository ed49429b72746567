"""Who acts on a connection: sent with the workspace, and again after whatever takes it back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction

from accounts.models import User, Workspace
from config.database.backend.base import NOBODY, SYSTEM, DatabaseWrapper
from config.database.identity import acting_as_system, acting_as_user, current, workspace_as_system
from config.embedded_postgres import ensure
from edge_ai.models import Model
from tests.conftest import ROOT, inside
from tests.edge_ai import factories

NOBODY_ANYWHERE = ("studio_app", "", "public")


def acting() -> tuple[str, str, str]:
    """What the database thinks of this connection: role, user, schema."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text, current_setting('app.user_id'), current_schema()::text")
        row: tuple[str, str, str] = cursor.fetchone()
        return row


def test_a_connection_begins_as_nobody(db: None) -> None:
    assert acting() == NOBODY_ANYWHERE


def test_a_new_thread_begins_as_nobody_whatever_others_do(django_db_setup: None, django_db_blocker: Any) -> None:
    found = []

    def look() -> None:
        try:
            found.append(acting())
        finally:
            connection.close()

    with django_db_blocker.unblock(), workspace_as_system("ws_alpha"):
        assert acting() == ("studio_ops", "", "ws_alpha")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [NOBODY_ANYWHERE]


def test_who_acts_is_who_acted_before_once_a_block_ends(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        me = ("studio_app", str(owner.pk), "ws_alpha")
        assert acting() == me
        with acting_as_system():
            assert acting() == ("studio_ops", "", "ws_alpha")
            with acting_as_user(colleague.pk):
                assert acting() == ("studio_app", str(colleague.pk), "ws_alpha")
            assert acting() == ("studio_ops", "", "ws_alpha")
        assert acting() == me
        with pytest.raises(RuntimeError), acting_as_system():
            raise RuntimeError
        assert acting() == me
    assert acting() == NOBODY_ANYWHERE


def test_it_survives_a_savepoint_that_is_rolled_back(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        me = acting()
        with pytest.raises(RuntimeError), transaction.atomic(), acting_as_system():
            assert acting()[0] == "studio_ops"
            raise RuntimeError
        assert acting() == me
        with acting_as_system():
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
            assert acting()[0] == "studio_ops"
        assert acting() == me


def test_rights_that_were_lent_inside_a_failed_transaction_are_gone(
    alpha: Workspace, owner: User, colleague: User
) -> None:
    with inside(alpha, owner):
        factories.make_model(owner)
    with inside(alpha, colleague):
        with pytest.raises(DatabaseError), transaction.atomic(), acting_as_system(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM edge_ai_model")
            cursor.execute("SELECT 1 / 0")
        assert Model.objects.count() == 0


def test_it_is_sent_again_after_a_whole_transaction_was_rolled_back(
    django_db_setup: None, django_db_blocker: Any
) -> None:
    with django_db_blocker.unblock():
        alpha = Workspace.objects.get(slug="alpha")
        root = User.objects.get(email="alpha-root@example.com")
        with inside(alpha, root):
            with pytest.raises(RuntimeError), transaction.atomic():
                assert acting() == ("studio_app", str(root.pk), "ws_alpha")
                raise RuntimeError
            assert acting() == ("studio_app", str(root.pk), "ws_alpha")
        assert acting() == NOBODY_ANYWHERE


def test_it_is_sent_again_to_a_new_connection(django_db_setup: None, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock():
        root = User.objects.get(email="alpha-root@example.com")
        with inside(Workspace.objects.get(slug="alpha"), root):
            me = acting()
            connection.close()
            assert acting() == me
            with connection.cursor() as cursor, pytest.raises(DatabaseError):
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            connection.close()
            assert acting() == me


def test_workspace_user_and_role_travel_with_the_next_statement_and_only_when_they_change(
    alpha: Workspace, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    execute = psycopg.ClientCursor.execute

    def told(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(str(query))
        return execute(self, query, *arguments, **options)

    with inside(alpha, owner):
        monkeypatch.setattr(psycopg.ClientCursor, "execute", told)
        list(Model.objects.all())
        list(Model.objects.all())
    assert [text.count("set_config") for text in sent] == [3, 0]
    assert sent[0].endswith(sent[1])


def test_what_is_run_on_an_older_cursor_is_run_as_whoever_acts_now(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner), connection.cursor() as older, connection.cursor() as newer:
        with acting_as_system():
            for cursor in (newer, older):
                cursor.execute("SELECT current_user::text")
                assert cursor.fetchone() == ("studio_ops",)
        for cursor in (newer, older):
            cursor.execute("SELECT current_user::text, current_setting('app.user_id')")
            assert cursor.fetchone() == ("studio_app", str(owner.pk))


@pytest.mark.parametrize("fault", ["SELECT 1 / 0", "SELECT nothing FROM nowhere", "SELEKT"])
def test_what_fails_takes_nobody_elses_rights_with_it(
    django_db_setup: None, django_db_blocker: Any, fault: str
) -> None:
    """Outside of a transaction, where a failure takes back what was sent ahead of it."""
    with django_db_blocker.unblock():
        root = User.objects.get(email="alpha-root@example.com")
        with inside(Workspace.objects.get(slug="alpha"), root):
            me = acting()
            with acting_as_system(), pytest.raises(DatabaseError), connection.cursor() as cursor:
                cursor.execute(fault)
            assert acting() == me
            with acting_as_system():
                assert acting()[0] == "studio_ops"
                with pytest.raises(DatabaseError), connection.cursor() as cursor:
                    cursor.execute(fault)
                assert acting()[0] == "studio_ops"
            with pytest.raises(DatabaseError), connection.cursor() as cursor:
                cursor.execute(fault)
            assert acting() == me


def test_values_that_cannot_be_sent_leave_the_identity_to_be_sent(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        me = acting()
        with acting_as_system():
            with pytest.raises((DatabaseError, ValueError)), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT %s", ["nul\0"])
            assert acting()[0] == "studio_ops"
        with pytest.raises((DatabaseError, ValueError, TypeError)), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT %s, %s", ["too few"])
        assert acting() == me


def test_rows_and_counts_are_those_of_the_statement(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner)
        for change in ({"name": "one"}, {"name": "two"}):
            current().set_identity(SYSTEM)
            current().set_user(owner.pk)
            assert Model.objects.filter(pk=model.pk).update(**change) == 1
        current().set_identity(SYSTEM)
        with connection.cursor() as cursor:
            cursor.execute("SELECT '100 %'::text")
            assert cursor.fetchall() == [("100 %",)]
            current().set_user(owner.pk)
            cursor.executemany("SELECT %s::int", [(1,), (2,)])
        assert acting()[:2] == ("studio_app", str(owner.pk))
        assert [each.pk for each in Model.objects.iterator(chunk_size=1)] == [model.pk]


def test_a_name_that_is_no_schema_is_not_sent(db: None) -> None:
    with pytest.raises(Exception, match=r"[Ii]nvalid"), workspace_as_system('x"; RESET ROLE; --'):
        acting()
    current().reset_to_public()
    assert acting() == NOBODY_ANYWHERE


def test_resetting_forgets_workspace_and_identity(alpha: Workspace) -> None:
    current().set_tenant(alpha)
    current().set_identity(SYSTEM)
    assert acting() == ("studio_ops", "", "ws_alpha")
    current().reset_to_public()
    assert current().identity == NOBODY
    assert acting() == NOBODY_ANYWHERE


def test_nobody_without_the_systems_hat_sees_a_row_of_anybodys(alpha: Workspace, owner: User) -> None:
    with inside(alpha, owner):
        factories.make_model(owner)
    with inside(alpha, None):
        assert Model.objects.count() == 0


def test_a_superuser_is_refused_because_it_would_bypass_the_wall(db: None, settings: Any) -> None:
    server = ensure(settings.EMBEDDED_DATA_DIR, fast=True)
    facts = connection.settings_dict | {"USER": server.admin_user, "PASSWORD": server.admin_password}
    wrapper = DatabaseWrapper(facts, alias="as_superuser")
    try:
        with pytest.raises(ImproperlyConfigured, match="superuser or bypasses row level security"):
            wrapper.ensure_connection()
        with pytest.raises(ImproperlyConfigured, match="superuser or bypasses row level security"):
            wrapper.ensure_connection()
    finally:
        wrapper.close()


def test_the_owner_of_the_tables_acts_for_nobody(django_db_setup: None) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.db import connection as c\n"
        "cursor = c.cursor(); cursor.execute('SELECT current_user::text'); print(cursor.fetchone()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "STUDIO_DATABASE_IDENTITY": "owner"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "studio_owner"
