"""Workspaces with very many rows: one of everything, copied within the database as often as is wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db.models import AutoField, DateTimeField, UUIDField
from django.db.models import Model as Row

from accounts.models import User, Workspace
from edge_ai.models import (
    Artifact,
    AuditEvent,
    BenchmarkRun,
    Blob,
    ComparedModel,
    ComparisonJob,
    Dataset,
    DiagnosisJob,
    Job,
    JobEvent,
    Model,
    OptimizationBatch,
    OptimizationJob,
    WebhookAttempt,
    WebhookDelivery,
    WebhookMessage,
)
from tests.web.support import Rows

#: In an order in which each refers only to those before it, or is not looked at until all are there.
COPIED: tuple[type[Row], ...] = (
    *(Blob, Dataset, OptimizationBatch, Job, Model, OptimizationJob, BenchmarkRun, ComparisonJob, ComparedModel),
    *(DiagnosisJob, JobEvent, Artifact, WebhookMessage, WebhookDelivery, WebhookAttempt, AuditEvent),
)
#: How many jobs there are in one of everything.
JOBS_EACH = 4
#: A model has at most so many variants, and so many jobs of each kind; a workspace with more jobs has more models.
OF_ONE_MODEL = 100
#: So many of a hundred jobs have failed, and wait in line.
FAILED, QUEUED = 10, 2


@contextmanager
def as_owner(workspace: Workspace) -> Iterator[psycopg.Connection[Any]]:
    """Connect as the role that owns the tables, which alone may update their statistics."""
    known = settings.DATABASES["default"]
    with psycopg.connect(
        host=known["HOST"],
        dbname=known["NAME"],
        user="studio_owner",
        password=settings.DATABASE_OWNER_PASSWORD,
        autocommit=True,
    ) as connection:
        connection.execute(_sql(f"SET search_path TO {workspace.schema_name}, public"))
        yield connection


def fill(workspace: Workspace, user: User, rows: Rows, *, jobs: int) -> None:
    """Bring a workspace that has one of everything to about so many jobs, some of them of the model that is looked at."""
    copies = jobs // JOBS_EACH - 1
    apart = copies - min(copies // 2, OF_ONE_MODEL)
    with as_owner(workspace) as connection:
        # Rows refer to one another in circles, and are complete only at the end.
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            originals = {table: _keys(cursor, table) for table in COPIED}
            for table, keys in originals.items():
                _copy(cursor, table, keys, range(1, apart + 1))
            kept = [str(rows.model.pk), str(rows.dataset.pk)]
            for table, keys in originals.items():
                _copy(cursor, table, keys, range(apart + 1, copies + 1), kept=kept)
        looked_at = [rows.optimization.pk, rows.benchmark.pk, rows.comparison.pk, rows.diagnosis.pk]
        connection.execute(
            "UPDATE edge_ai_job SET status = 'failed', result = NULL,"
            """ error = '{"code": "parity_failed", "detail": "The answers differ too much.", "fix": "Choose fp16."}'"""
            " WHERE status = 'completed' AND id <> ALL(%s) AND hashtext(id::text) %% 100 BETWEEN 0 AND %s",
            [looked_at, FAILED],
        )
        connection.execute(
            "UPDATE edge_ai_job SET status = 'queued', result = NULL, finished_at = NULL, started_at = NULL,"
            " progress = 0, attempt = 0, stage = '' WHERE status = 'completed' AND id <> ALL(%s)"
            " AND hashtext(id::text) %% 100 BETWEEN -%s AND -1",
            [looked_at, QUEUED],
        )
        connection.execute(
            "INSERT INTO fleet_ticket (job_id, schema_name, queue, priority, due_at)"
            " SELECT id, current_schema, queue, priority, created_at FROM edge_ai_job WHERE status = 'queued'"
            " ON CONFLICT DO NOTHING"
        )
        connection.execute("VACUUM ANALYZE")


def _keys(cursor: psycopg.Cursor[Any], table: type[Row]) -> list[str]:
    cursor.execute(_sql(f"SELECT {table._meta.pk.column}::text FROM {table._meta.db_table}"))
    return [key for (key,) in cursor.fetchall()]


def _copy(
    cursor: psycopg.Cursor[Any], table: type[Row], keys: list[str], numbers: range, *, kept: Collection[str] = ()
) -> None:
    """Copy rows once for each number, but for those that are kept, which the copies refer to as well."""
    fields = [field for field in table._meta.local_concrete_fields if not isinstance(field, AutoField)]
    columns = ", ".join(str(field.column) for field in fields)
    copies = ", ".join(map(_copied, fields))
    cursor.execute(
        _sql(
            f"INSERT INTO {table._meta.db_table} ({columns}) SELECT {copies}"
            f" FROM {table._meta.db_table}, generate_series(%(first)s::int, %(last)s::int) AS nth"
            f" WHERE {table._meta.pk.column}::text = ANY(%(keys)s) AND {table._meta.pk.column}::text <> ALL(%(kept)s)"
        ),
        {"first": numbers.start, "last": numbers.stop - 1, "keys": keys, "kept": list(kept)},
    )


def _copied(field: Any) -> str:
    """Return what a column holds in the copy with a number."""
    column = field.column
    target = field.target_field if field.remote_field else field
    if field.primary_key or field.unique or (field.remote_field and field.related_model in COPIED):
        kind = "uuid" if isinstance(_root(target), UUIDField) else "text"
        key = "md5(x || nth)::uuid" if kind == "uuid" else "md5(x || nth) || md5(nth || x)"
        key = key.replace("x", f"{column}::text")
        return f"CASE WHEN {column}::text = ANY(%(kept)s) THEN {column} ELSE {key} END"
    if isinstance(field, DateTimeField) and field.name not in {"expires_at", "lease_expires_at"}:
        return f"{column} - nth * interval '1 minute'"
    if field.name == "name":
        return f"left({column} || ' ' || nth, 200)"
    return str(column)


def _root(field: Any) -> Any:
    return _root(field.target_field) if field.remote_field else field


def _sql(text: str) -> Any:
    """Names of tables and columns that are the models' own."""
    return text
