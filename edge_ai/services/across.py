"""Looking across workspaces, for those who run the studio: rows of many schemas in one statement.

Each schema gives at most a page, in the order of an index, so a page costs a look into each workspace and no more. Only
what is known of work is read here; whose bytes a model has is none of the studio's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, models

from accounts.models import Workspace
from config.database.identity import acting_as_system, workspace_as_system
from edge_ai.engine.errors import UserInputError
from edge_ai.models import AuditEvent, Job, WebhookDelivery
from edge_ai.services import jobs, webhooks
from edge_ai.services.schemas import complete_schemas
from edge_ai.services.trail import mark, place

R = TypeVar("R", bound=models.Model)
PAGE = 50


@dataclass(frozen=True, kw_only=True)
class AcrossPage:
    """Some rows, the newest first, each with ``workspace``, and the places where newer and older ones begin."""

    rows: Sequence[Any]
    newer: str
    older: str


@dataclass(kw_only=True)
class Conditions:
    """What is wanted of a table, as SQL over its row ``r``; values travel beside it."""

    clauses: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, clause: str, *values: Any) -> None:
        """Ask for one thing more."""
        self.clauses.append(clause)
        self.values += values

    def equal(self, **wanted: Any) -> None:
        """Ask for columns that have a value, where one is given; a UUID may be asked for as text."""
        for name, value in wanted.items():
            if value:
                self.add(f"r.{name} = %s", value)

    def named(self, text: str, *, key: str, names: Sequence[str]) -> None:
        """Ask for a row by its id, or by a part of one of its names."""
        if not text:
            return
        try:
            self.add(f"r.{key} = %s", UUID(text))
        except ValueError:
            pattern = "%" + text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
            self.add("(" + " OR ".join(f"{name} ILIKE %s" for name in names) + ")", *([pattern] * len(names)))


def workspaces(slug: str = "") -> dict[str, Workspace]:
    """Return the workspaces whose tables are there in full, by schema; one of them where its short name is given."""
    whole = set(complete_schemas())
    with acting_as_system():
        found = Workspace.objects.filter(schema_name__in=whole).order_by("slug")
        return {each.schema_name: each for each in (found.filter(slug=slug) if slug else found)}


def newest(
    table: type[R],
    *,
    at: str,
    wanted: Conditions,
    slug: str = "",
    older_than: str = "",
    newer_than: str = "",
    leave_out: Iterable[str] = (),
    more: Mapping[str, str] | None = None,
    join: str = "",
) -> AcrossPage:
    """Return a page of a table of all workspaces, the newest first.

    Parameters
    ----------
    at
        The column of the order; the id tells rows of equal time apart.
    wanted
        What is asked for.
    slug
        Of one workspace alone.
    leave_out
        Columns that are not read.
    more, join
        Further columns, as SQL by name, and a join of tables written as ``{schema}.table`` that they come from.
    """
    spaces, size = workspaces(slug), PAGE
    before, after = place(older_than), place(newer_than)
    clauses, values = list(wanted.clauses), list(wanted.values)
    way = "DESC"
    if after is not None:
        way = "ASC"
        clauses.append(f"(r.{at}, r.id) > (%s, %s)")
        values += after
    elif before is not None:
        clauses.append(f"(r.{at}, r.id) < (%s, %s)")
        values += before
    columns = [each.column for each in table._meta.local_concrete_fields if each.column not in set(leave_out)]
    read = ", ".join([*(f"r.{name}" for name in columns), *(f"{sql} AS {name}" for name, sql in (more or {}).items())])
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    branches, sent = [], []
    for schema in spaces:
        quoted = connection.ops.quote_name(schema)
        branches.append(
            f"(SELECT {read}, %s AS schema_name FROM {quoted}.{table._meta.db_table} r {join.format(schema=quoted)}"  # noqa: S608 - names from models and the workspaces' table
            f" {where} ORDER BY r.{at} {way}, r.id {way} LIMIT {size + 1})"
        )
        sent += [schema, *values]
    rows: list[Any] = []
    if branches:
        with acting_as_system():
            every = " UNION ALL ".join(branches)
            statement = f"SELECT * FROM ({every}) u ORDER BY {at} {way}, id {way} LIMIT {size + 1}"  # noqa: S608 - as above
            rows = list(table._default_manager.raw(statement, sent))
    beyond, rows = len(rows) > size, rows[:size]
    if after is not None:
        rows.reverse()
    for row in rows:
        row.workspace = spaces[row.schema_name]
    newer = beyond if after is not None else before is not None
    older = beyond if after is None else True
    return AcrossPage(
        rows=rows,
        newer=mark(getattr(rows[0], at), rows[0].pk) if rows and newer else "",
        older=mark(getattr(rows[-1], at), rows[-1].pk) if rows and older else "",
    )


def all_jobs(
    *, slug: str = "", status: str = "", kind: str = "", search: str = "", older_than: str = "", newer_than: str = ""
) -> AcrossPage:
    """Return jobs of all workspaces, with their owners' addresses; what they came to is left out."""
    wanted = Conditions()
    wanted.equal(status=status, kind=kind)
    wanted.named(search, key="id", names=("r.name", "p.email"))
    return newest(
        Job,
        at="created_at",
        wanted=wanted,
        slug=slug,
        older_than=older_than,
        newer_than=newer_than,
        leave_out=("result",),
        more={"owner_email": "p.email"},
        join="JOIN public.accounts_user p ON p.id = r.owner_id",
    )


def all_deliveries(
    *, slug: str = "", status: str = "", event: str = "", search: str = "", older_than: str = "", newer_than: str = ""
) -> AcrossPage:
    """Return webhook deliveries of all workspaces with the addresses that they go to; what they say is left out."""
    wanted = Conditions()
    wanted.equal(status=status, event_type=event)
    wanted.named(search, key="id", names=("e.url", "p.email"))
    return newest(
        WebhookDelivery,
        at="created_at",
        wanted=wanted,
        slug=slug,
        older_than=older_than,
        newer_than=newer_than,
        leave_out=("lease_token",),
        more={"url": "e.url", "enabled": "e.enabled", "owner_email": "p.email"},
        join="JOIN {schema}.edge_ai_webhookendpoint e ON e.id = r.endpoint_id"
        " JOIN public.accounts_user p ON p.id = e.owner_id",
    )


def all_events(*, slug: str = "", wanted: Conditions, older_than: str = "", newer_than: str = "") -> AcrossPage:
    """Return the audit trails of all workspaces as one."""
    return newest(AuditEvent, at="at", wanted=wanted, slug=slug, older_than=older_than, newer_than=newer_than)


# -- doing something about it --------------------------------------------------------------------------------------------
def cancel_anywhere(slug: str, job_id: UUID) -> Job:
    """Cancel somebody's job. Its workspace's trail says who did.

    Raises
    ------
    UserInputError
        ``not_found``; ``conflict`` when the job has ended already.
    """
    with _inside(slug):
        job = _found(Job.objects.select_related("owner"), job_id)
        return jobs.cancel_job(job.owner, job=job)


def retry_anywhere(slug: str, job_id: UUID) -> Job:
    """Run somebody's failed or cancelled job again. Its workspace's trail says who did.

    Raises
    ------
    UserInputError
        ``not_found``; ``conflict`` for a job that has not ended, or has its result.
    """
    with _inside(slug):
        job = _found(Job.objects.select_related("owner"), job_id)
        return jobs.retry_job(job.owner, job=job)


def redeliver_anywhere(slug: str, delivery_id: UUID) -> WebhookDelivery:
    """Send somebody's delivery again. Its workspace's trail says who did.

    Raises
    ------
    UserInputError
        ``not_found``; ``conflict`` while it is being sent, and for an endpoint that is switched off.
    """
    with _inside(slug):
        delivery = _found(WebhookDelivery.objects.select_related("endpoint__owner", "message"), delivery_id)
        return webhooks.redeliver(delivery.endpoint.owner, delivery=delivery)


@contextmanager
def _inside(slug: str) -> Iterator[None]:
    found = workspaces(slug)
    if not slug or not found:
        raise _no_such("workspace")
    with workspace_as_system(next(iter(found))):
        yield


def _found(rows: Any, row_id: UUID) -> Any:
    row = rows.filter(pk=row_id).first()
    if row is None:
        raise _no_such(str(rows.model._meta.verbose_name))
    return row


def _no_such(what: str) -> UserInputError:
    return UserInputError(f"There is no such {what} any more.", code="not_found", fix="Look at the list again.")
