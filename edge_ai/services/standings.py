"""What a workspace may have and use, and what it has and uses.

Everything is counted where it stands, never in counters of its own. What is not there yet but promised counts as well: the
bytes of an upload under way, those that a job will store, and a minute for every job that has not run for longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.db import connection

from accounts.models import LIMITS
from config.database.identity import acting_as_system
from edge_ai.models import HOUSEKEEPING, JobKind, UploadPurpose

#: Jobs that nobody asks for: they follow from an upload, or are the studio's own. They are refused to nobody.
UNASKED: Final = frozenset({JobKind.ANALYSIS, *HOUSEKEEPING})
#: From this share on people are warned.
NEARLY: Final = 0.9


class Limit(StrEnum):
    """What is limited."""

    MODELS = "models"
    STORED_BYTES = "stored_bytes"
    JOB_MINUTES = "job_minutes"
    OPEN_JOBS = "open_jobs"
    UPLOAD_BYTES = "upload_bytes"
    CONCURRENT_JOBS = "concurrent_jobs"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One limit, and how much of it is gone.

    Parameters
    ----------
    used
        What is there, or was used this month.
    reserved
        What is promised besides.
    limit
        ``None``: there is none.
    """

    limit_of: Limit
    used: float
    reserved: float
    limit: int | None
    resets_at: datetime | None = None

    @property
    def taken(self) -> float:
        """Used and reserved."""
        return self.used + self.reserved

    @property
    def share(self) -> float | None:
        """How much is gone, 1 being all; ``None`` without a limit."""
        if self.limit is None:
            return None
        return self.taken / self.limit if self.limit else 1.0

    @property
    def is_nearly_gone(self) -> bool:
        """Tell whether people should know."""
        return self.share is not None and self.share >= NEARLY


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a workspace has and may have."""

    schema_name: str
    plan: str
    plan_description: str
    quotas: Mapping[Limit, Quota]
    max_upload_bytes: int
    max_dataset_bytes: int
    concurrent_jobs: int
    month: datetime

    def largest(self, purpose: str) -> int:
        """Return the largest upload for a purpose."""
        return self.max_dataset_bytes if purpose == UploadPurpose.DATASET else self.max_upload_bytes


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a workspace had of what only grows with time, at most: a later count begins from here, and looks at what came since.

    Parameters
    ----------
    at
        Not later than the count.
    stored_bytes
        Of all files, those among them that nothing refers to any more.
    seconds
        Of jobs in ``month``.
    """

    at: datetime
    models: int
    stored_bytes: int
    seconds: float
    month: datetime


#: Rows carry the time at which their transaction began, and are seen when it ends. None lasts for longer than this: idle
#: ones are ended before (:data:`config.database.roles.IDLE_IN_TRANSACTION`).
SLACK: Final = timedelta(minutes=20)
_OPEN: Final = """
WITH o AS MATERIALIZED (
  SELECT
    count(*) FILTER (WHERE kind IN ('optimization', 'import')) AS making,
    coalesce(sum(claimed_bytes), 0) AS claimed,
    coalesce(sum(greatest(60, CASE WHEN status = 'running'
      THEN extract(epoch FROM clock_timestamp() - coalesce(attempt_began_at, started_at)) ELSE 0 END))
      FILTER (WHERE kind <> ALL(%s)), 0) AS seconds,
    count(*) FILTER (WHERE kind <> ALL(%s)) AS jobs
  FROM {s}.edge_ai_job WHERE status IN ('pending', 'queued', 'running')
)
"""
#: What a workspace has in full; :data:`_SINCE` tells the same from a base.
_WHOLE: Final = """
  (SELECT count(*) FROM {s}.edge_ai_model),
  f.referred,
  (SELECT coalesce(sum(seconds), 0) FROM {s}.edge_ai_jobtime WHERE ended_at >= {month} AND kind <> ALL(%s)),
  f.every
"""
#: Its files: those that something refers to, and every one.
_FILES: Final = """
CROSS JOIN (
  SELECT coalesce(sum(size_bytes) FILTER (WHERE r.blob_id IS NOT NULL), 0) AS referred, coalesce(sum(size_bytes), 0) AS every
  FROM {s}.edge_ai_blob b
  LEFT JOIN (
    SELECT blob_id FROM {s}.edge_ai_model
    UNION SELECT blob_id FROM {s}.edge_ai_dataset
    UNION SELECT blob_id FROM {s}.edge_ai_artifact
    UNION SELECT samples_blob_id FROM {s}.edge_ai_benchmarkrun
    UNION SELECT samples_blob_id FROM {s}.edge_ai_comparisonjob
  ) r ON r.blob_id = b.sha256
) f
"""
_SINCE: Final = """
  %s + (SELECT count(*) FROM {s}.edge_ai_model WHERE created_at > %s),
  %s + (SELECT coalesce(sum(size_bytes), 0) FROM {s}.edge_ai_blob WHERE created_at > %s),
  %s + (SELECT coalesce(sum(seconds), 0) FROM {s}.edge_ai_jobtime WHERE ended_at > %s AND kind <> ALL(%s)),
  NULL
"""
_STANDING: Final = """
SELECT {had},
  o.making, o.claimed + (SELECT coalesce(sum(length_bytes), 0) FROM {s}.edge_ai_upload
    WHERE made IS NULL AND expires_at > clock_timestamp()),
  o.seconds, o.jobs, {month}, statement_timestamp(), p.name, p.description, {limits}, w.schema_name
FROM o CROSS JOIN public.accounts_workspace w {files}
LEFT JOIN public.accounts_plan p ON p.id = coalesce(w.plan_id, (SELECT id FROM public.accounts_plan WHERE is_default))
WHERE w.schema_name = %s
"""
_MONTH: Final = "(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')"
_COLUMNS: Final = ", ".join(f"coalesce(w.{name}, p.{name})" for name in LIMITS)


def standings(schemas: Sequence[str]) -> dict[str, Standing]:
    """Return where workspaces stand, by their schemas; one statement, however many they are."""
    if not schemas:
        return {}
    asked = [counting(name) for name in schemas]
    together = " UNION ALL ".join(f"({statement})" for statement, _ in asked)
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute(together, [value for _, values in asked for value in values])
        found = [read(row)[0] for row in cursor.fetchall()]
    return {each.schema_name: each for each in found}


def standing() -> Standing:
    """Return where the current workspace stands. One statement."""
    name = current_schema()
    return standings([name])[name]


def counting(schema: str, base: Base | None = None) -> tuple[str, list[Any]]:
    """Return the statement that tells where a workspace stands, for :func:`read`, and its values.

    With a base it tells the most that the workspace may have and use, and takes the same time however much that is.
    """
    unasked, own = [kind.value for kind in UNASKED], [kind.value for kind in HOUSEKEEPING]
    values: list[Any] = [unasked, unasked]
    if base is None:
        had, files = _WHOLE, _FILES
        values += [own]
    else:
        had, files = _SINCE, ""
        since = base.at - SLACK
        values += [base.models, since, base.stored_bytes, since, base.seconds, max(since, base.month), own]
    statement = (_OPEN + _STANDING).replace("{had}", had.strip()).replace("{files}", files.strip())
    quoted = connection.ops.quote_name(schema)
    return statement.format(s=quoted, month=_MONTH, limits=_COLUMNS), [*values, schema]


def read(row: Sequence[Any]) -> tuple[Standing, Base | None]:
    """Return what a row of :func:`counting` says, and the base for later counts where it counted everything."""
    models, stored, seconds, every, making, promised, running, open_jobs, month, at, plan, description = row[:12]
    limits: dict[str, int | None] = dict(zip(LIMITS, row[12:18], strict=True))
    resets_at = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)
    quotas = (
        Quota(limit_of=Limit.MODELS, used=models, reserved=making, limit=limits["max_models"]),
        Quota(limit_of=Limit.STORED_BYTES, used=int(stored), reserved=int(promised), limit=limits["max_stored_bytes"]),
        Quota(
            limit_of=Limit.JOB_MINUTES,
            used=float(seconds) / 60,
            reserved=float(running) / 60,
            limit=limits["max_job_minutes"],
            resets_at=resets_at,
        ),
        Quota(limit_of=Limit.OPEN_JOBS, used=open_jobs, reserved=0, limit=limits["max_open_jobs"]),
    )
    upload = limits["max_upload_bytes"]
    found = Standing(
        schema_name=row[18],
        plan=plan or "",
        plan_description=description or "",
        quotas={each.limit_of: each for each in quotas},
        max_upload_bytes=settings.MAX_UPLOAD_BYTES if upload is None else min(upload, settings.MAX_UPLOAD_BYTES),
        max_dataset_bytes=settings.MAX_DATASET_BYTES if upload is None else min(upload, settings.MAX_DATASET_BYTES),
        concurrent_jobs=limits["concurrent_jobs"] or settings.WORKSPACE_CONCURRENT_JOBS,
        month=month,
    )
    if every is None:
        return found, None
    return found, Base(at=at, models=models, stored_bytes=int(every), seconds=float(seconds), month=month)


def current_schema() -> str:
    """Return the schema of the current workspace."""
    return str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
