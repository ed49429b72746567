"""Deleting in one statement comes to what Django's own deletion comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import User, Workspace
from config.database.identity import acting_as_system
from edge_ai.models import Job, Model, WebhookEndpoint, WebhookMessage
from edge_ai.services.erasing import erase
from tests.conftest import inside, inside_as_system
from tests.edge_ai import factories
from tests.web.support import make_rows


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """The keys of all rows, and what they refer to."""
    with acting_as_system():
        return {
            table._meta.db_table: sorted(
                table._default_manager.values_list(
                    *[field.attname for field in table._meta.local_fields if field.primary_key or field.remote_field]
                ),
                key=str,
            )
            for table in apps.get_app_config("edge_ai").get_models()
        }


def after(change: Callable[[], object]) -> dict[str, list[tuple[Any, ...]]]:
    """What is there after a change, which is taken back."""
    with transaction.atomic():
        change()
        found = everything()
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("acting", ["owner", "system"])
def test_what_goes_is_what_django_deletes(alpha: Workspace, owner: User, acting: str) -> None:
    rows, others = make_rows(alpha, owner), make_rows(alpha, owner)
    with inside(alpha, owner):
        # Mentioned from elsewhere: by a variant, by jobs that wait for its jobs, by a benchmark of another model.
        factories.make_model(owner, parent=rows.model)
        Job.objects.filter(pk=others.optimization.pk).update(waits_for=rows.optimization.pk)
        type(others.benchmark).objects.filter(pk=others.benchmark.pk).update(baseline=rows.benchmark.pk)
        on_it = [rows.optimization.pk, rows.benchmark.pk, rows.comparison.pk, rows.diagnosis.pk]
    with inside(alpha, owner) if acting == "owner" else inside_as_system(alpha):
        before = everything()
        asked: list[dict[Any, Any]] = [
            {Model: [rows.model.pk]},
            {Model: [rows.model.pk], Job: on_it},
            {Job: on_it},
            {Model: []},
        ]
        for roots in asked:

            def by_django(roots: dict[Any, Any] = roots) -> None:
                for table, keys in roots.items():
                    table.objects.filter(pk__in=keys).delete()

            deleted, erased = after(by_django), after(lambda roots=roots: erase(roots))  # type: ignore[misc]
            assert erased == deleted
            assert (erased == before) is (roots == {Model: []})


def test_a_message_goes_with_its_deliveries(alpha: Workspace, owner: User) -> None:
    rows = make_rows(alpha, owner)
    delivery = rows.delivery
    roots: dict[Any, Any] = {WebhookEndpoint: [delivery.endpoint_id], WebhookMessage: [delivery.message_id]}
    with inside_as_system(alpha):

        def by_django() -> None:
            for table, keys in roots.items():
                table.objects.filter(pk__in=keys).delete()

        assert after(lambda: erase(roots)) == after(by_django) != everything()


def test_it_is_one_statement(alpha: Workspace, owner: User) -> None:
    rows = make_rows(alpha, owner)
    with inside(alpha, owner), CaptureQueriesContext(connection) as asked, transaction.atomic():
        erase({Model: [rows.model.pk]})
    assert len([each for each in asked if "SAVEPOINT" not in each["sql"]]) == 1


def test_what_others_refer_to_stays(alpha: Workspace, owner: User, colleague: User) -> None:
    with inside(alpha, owner):
        model = factories.make_model(owner, visibility="workspace")
    with inside(alpha, colleague):
        factories.make_optimization(colleague, model)
    with inside(alpha, owner), pytest.raises(IntegrityError), transaction.atomic():
        erase({Model: [model.pk]})
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
