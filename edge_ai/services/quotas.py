"""What a workspace may have and use, what it has and uses, and the refusal of what would be too much.

Everything is counted where it stands, never in counters of its own. Whoever asks for more holds the workspace's lock from
the counting to the end of the transaction, so that of fifty who ask at once each counts what those before were given. What
is not there yet but promised counts as well: the bytes of an upload under way, the variant of an optimization that has not
ended, and a minute for every job that has not run for longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.core.cache import caches
from django.db import connection, transaction

from accounts.features import require
from accounts.models import LIMITS
from config.database.identity import acting_as_system
from config.features import Feature
from edge_ai.engine.errors import ResourceError
from edge_ai.engine.plan import Caution
from edge_ai.models import (
    HOUSEKEEPING,
    Blob,
    ImportJob,
    Job,
    JobKind,
    Model,
    OptimizationJob,
    PackagingJob,
    UploadPurpose,
)

#: Jobs that nobody asks for: they follow from an upload, or are the studio's own. They are refused to nobody.
UNASKED: Final = frozenset({JobKind.ANALYSIS, *HOUSEKEEPING})
FEATURE_OF: Final[Mapping[JobKind, Feature]] = {
    JobKind.OPTIMIZATION: Feature.OPTIMIZATION,
    JobKind.BENCHMARK: Feature.BENCHMARKING,
    JobKind.COMPARISON: Feature.BENCHMARKING,
    JobKind.DIAGNOSIS: Feature.BENCHMARKING,
    JobKind.PACKAGING: Feature.PACKAGING,
    JobKind.IMPORT: Feature.UPLOADS,
}
#: From this share on people are warned.
NEARLY: Final = 0.9
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('edge_ai_quota'), hashtext(%s))"


class Limit(StrEnum):
    """What is limited."""

    MODELS = "models"
    STORED_BYTES = "stored_bytes"
    JOB_MINUTES = "job_minutes"
    OPEN_JOBS = "open_jobs"
    UPLOAD_BYTES = "upload_bytes"
    CONCURRENT_JOBS = "concurrent_jobs"


#: Of each limit that is refused by: its code, what the workspace has of it, and what helps.
_TOLD: Final[Mapping[Limit, tuple[str, str, str]]] = {
    Limit.MODELS: (
        "quota_exceeded",
        "models, those that jobs are making among them",
        "Delete models that are no longer needed",
    ),
    Limit.STORED_BYTES: (
        "quota_exceeded",
        "bytes stored, uploads under way and variants in the making among them",
        "Delete models, data sets and artifacts that are no longer needed",
    ),
    Limit.JOB_MINUTES: (
        "quota_exceeded",
        "job minutes of this month, with a minute at least for every job that waits or runs",
        "Wait until then",
    ),
    Limit.OPEN_JOBS: ("too_many_jobs", "jobs that wait or run", "Wait until some have ended, or cancel some"),
}
ASK: Final = (
    "or have an owner of the workspace ask the operator of the studio for more. Settings → Usage shows all limits."
)
RETRY_AFTER_S: Final = 60


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


#: What a workspace has, by its schema: the month, then used and reserved by turns.
_COUNTS: Final = """
SELECT
  (SELECT count(*) FROM {s}.edge_ai_model),
  (SELECT count(*) FROM {s}.edge_ai_job
   WHERE status IN ('pending', 'queued', 'running') AND kind IN ('optimization', 'import')),
  (SELECT coalesce(sum(size_bytes), 0) FROM {s}.edge_ai_blob b
   WHERE EXISTS (SELECT 1 FROM {s}.edge_ai_model r WHERE r.blob_id = b.sha256)
      OR EXISTS (SELECT 1 FROM {s}.edge_ai_dataset r WHERE r.blob_id = b.sha256)
      OR EXISTS (SELECT 1 FROM {s}.edge_ai_artifact r WHERE r.blob_id = b.sha256)
      OR EXISTS (SELECT 1 FROM {s}.edge_ai_benchmarkrun r WHERE r.samples_blob_id = b.sha256)
      OR EXISTS (SELECT 1 FROM {s}.edge_ai_comparisonjob r WHERE r.samples_blob_id = b.sha256)),
  (SELECT coalesce(sum(length_bytes), 0) FROM {s}.edge_ai_upload WHERE made IS NULL AND expires_at > clock_timestamp())
  + (SELECT coalesce(sum(m.size_bytes), 0) FROM {s}.edge_ai_job j
     LEFT JOIN {s}.edge_ai_optimizationjob o ON o.job_ptr_id = j.id
     LEFT JOIN {s}.edge_ai_packagingjob p ON p.job_ptr_id = j.id
     JOIN {s}.edge_ai_model m ON m.id = coalesce(o.model_id, p.model_id)
     WHERE j.status IN ('pending', 'queued', 'running') AND j.kind IN ('optimization', 'packaging'))
  + (SELECT coalesce(sum(i.reserved_bytes), 0) FROM {s}.edge_ai_job j
     JOIN {s}.edge_ai_importjob i ON i.job_ptr_id = j.id WHERE j.status IN ('pending', 'queued', 'running')),
  (SELECT coalesce(sum(seconds), 0) FROM {s}.edge_ai_jobtime WHERE ended_at >= {month} AND kind <> ALL(%s)),
  (SELECT coalesce(sum(greatest(60, CASE WHEN status = 'running'
     THEN extract(epoch FROM clock_timestamp() - coalesce(attempt_began_at, started_at)) ELSE 0 END)), 0)
   FROM {s}.edge_ai_job WHERE status IN ('pending', 'queued', 'running') AND kind <> ALL(%s)),
  (SELECT count(*) FROM {s}.edge_ai_job WHERE status IN ('pending', 'queued', 'running') AND kind <> ALL(%s)),
  {month}, p.name, p.description, {limits}
FROM public.accounts_workspace w
LEFT JOIN public.accounts_plan p ON p.id = coalesce(w.plan_id, (SELECT id FROM public.accounts_plan WHERE is_default))
WHERE w.schema_name = %s
"""
_MONTH: Final = "(date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')"
_COLUMNS: Final = ", ".join(f"coalesce(w.{name}, p.{name})" for name in LIMITS)


def standings(schemas: Sequence[str]) -> dict[str, Standing]:
    """Return where workspaces stand, by their schemas; one statement, however many they are."""
    if not schemas:
        return {}
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute(*_counting(schemas))
        return {row[-1]: _standing(row) for row in cursor.fetchall()}


def _counting(schemas: Sequence[str]) -> tuple[str, list[Any]]:
    unasked, own = [kind.value for kind in UNASKED], [kind.value for kind in HOUSEKEEPING]
    branches: list[str] = []
    values: list[Any] = []
    for name in schemas:
        quoted = connection.ops.quote_name(name)
        branches.append("(" + _COUNTS.format(s=quoted, month=_MONTH, limits=f"{_COLUMNS}, w.schema_name") + ")")
        values += [own, unasked, unasked, name]
    return " UNION ALL ".join(branches), values


def standing() -> Standing:
    """Return where the current workspace stands. One statement."""
    name = _schema()
    return standings([name])[name]


def _standing(row: Sequence[Any]) -> Standing:
    models, making, stored, promised, seconds, running, open_jobs, month, plan, description = row[:10]
    limits: dict[str, int | None] = dict(zip(LIMITS, row[10:16], strict=True))
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
    return Standing(
        schema_name=row[16],
        plan=plan or "",
        plan_description=description or "",
        quotas={each.limit_of: each for each in quotas},
        max_upload_bytes=settings.MAX_UPLOAD_BYTES if upload is None else min(upload, settings.MAX_UPLOAD_BYTES),
        max_dataset_bytes=settings.MAX_DATASET_BYTES if upload is None else min(upload, settings.MAX_DATASET_BYTES),
        concurrent_jobs=limits["concurrent_jobs"] or settings.WORKSPACE_CONCURRENT_JOBS,
        month=month,
    )


# -- asking for more ----------------------------------------------------------------------------------------------------
def hold() -> None:
    """Take the workspace's lock, until the transaction ends. Before any row is locked that somebody else may want.

    Raises
    ------
    RuntimeError
        Outside of a transaction, where the lock would hold nothing.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("A quota is claimed within the transaction that uses it.")
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [_schema()])
    _forget()


def _hold_and_count() -> Standing:
    """Take the workspace's lock, then look where it stands, in one trip: the second statement sees what the lock waited for."""
    if not connection.in_atomic_block:
        raise RuntimeError("A quota is claimed within the transaction that uses it.")
    name = _schema()
    counting, values = _counting([name])
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute(f"{LOCK}; {counting}", [name, *values])
        cursor.nextset()
        found = _standing(cursor.fetchone())
    _forget()
    return found


def _forget() -> None:
    """What this process remembers for its warnings is over."""
    key = _remembered()
    caches["memory"].delete(key)
    transaction.on_commit(lambda: caches["memory"].delete(key))


def claim_model(*, size_bytes: int, sha256: str, reserved: bool) -> None:
    """Claim a model that is about to be added, with its file. To be called in the transaction that adds it.

    Parameters
    ----------
    reserved
        The file's bytes were claimed when its upload began.

    Raises
    ------
    EngineError
        ``quota_exceeded``; ``feature_off`` where uploads are.
    """
    require(Feature.UPLOADS)
    found = _hold_and_count()
    asked = {Limit.MODELS: 1, Limit.STORED_BYTES: 0 if reserved else _new_bytes(size_bytes, sha256)}
    _refuse(found, asked, counted=False)


def claim_file(*, size_bytes: int, sha256: str = "") -> None:
    """Claim the bytes of a file that is about to be added, or of an upload that begins.

    Parameters
    ----------
    sha256
        Where it is known; the same bytes again take no room.

    Raises
    ------
    EngineError
        ``quota_exceeded``; ``feature_off`` where uploads are.
    """
    require(Feature.UPLOADS)
    found = _hold_and_count()
    _refuse(found, {Limit.STORED_BYTES: _new_bytes(size_bytes, sha256)}, counted=False)


def claim_import(job: ImportJob, *, size_bytes: int, sha256: str = "") -> None:
    """Claim the bytes of a file that an import brings, instead of those that it claimed before; its model was claimed
    when it was asked for.

    Parameters
    ----------
    sha256
        Where it is known; the same bytes again take no room.

    Raises
    ------
    EngineError
        ``quota_exceeded``.
    """
    with transaction.atomic():
        hold()
        ImportJob.objects.filter(pk=job.pk).update(reserved_bytes=0)
        needed = _new_bytes(size_bytes, sha256)
        _refuse(standing(), {Limit.STORED_BYTES: needed}, counted=False)
        ImportJob.objects.filter(pk=job.pk).update(reserved_bytes=needed)


def admit(jobs: Iterable[Job]) -> None:
    """Claim what jobs need that were just written, in the same transaction: a place, a minute each, and their variants.

    Raises
    ------
    EngineError
        ``quota_exceeded``, ``too_many_jobs``; ``feature_off`` for a kind of job that is switched off.
    """
    asked = [job for job in jobs if job.kind not in UNASKED]
    for kind in {job.kind for job in asked}:
        require(FEATURE_OF[JobKind(kind)])
    if asked:
        _refuse(_hold_and_count(), needs(asked), counted=True)


def admit_again(jobs: Sequence[Job]) -> None:
    """Claim what jobs need that have ended and are about to run again, in the same transaction, before they are changed.

    Raises
    ------
    EngineError
        As :func:`admit`.
    """
    asked = [job for job in jobs if job.kind not in UNASKED]
    for kind in {job.kind for job in asked}:
        require(FEATURE_OF[JobKind(kind)])
    if asked:
        _refuse(_hold_and_count(), needs(asked), counted=False)
    else:
        hold()


def needs(jobs: Sequence[Job]) -> dict[Limit, float]:
    """Return what jobs claim."""
    room, keys = 0, []
    for job in jobs:
        if job.kind in {JobKind.OPTIMIZATION, JobKind.PACKAGING}:
            model: Model | None = job._state.fields_cache.get("model")  # that of a job just made is known
            room += 0 if model is None else model.size_bytes
            keys += [job.pk] if model is None else []
    if keys:
        with acting_as_system():  # a colleague may have made the model private since
            for table in (OptimizationJob, PackagingJob):
                room += sum(table.objects.filter(pk__in=keys).values_list("model__size_bytes", flat=True))
    return {
        Limit.MODELS: sum(job.kind in {JobKind.OPTIMIZATION, JobKind.IMPORT} for job in jobs),
        Limit.STORED_BYTES: room,
        Limit.JOB_MINUTES: len(jobs),
        Limit.OPEN_JOBS: len(jobs),
    }


def needs_of(kind: JobKind, *models: Model) -> dict[Limit, float]:
    """Return what a job of a kind would claim for each of some models."""
    makes = kind in {JobKind.OPTIMIZATION, JobKind.PACKAGING}
    count = len(models) if makes else 1
    return {
        Limit.MODELS: count if kind == JobKind.OPTIMIZATION else 0,
        Limit.STORED_BYTES: sum(model.size_bytes for model in models) if makes else 0,
        Limit.JOB_MINUTES: count,
        Limit.OPEN_JOBS: count,
    }


def _refuse(found: Standing, asked: Mapping[Limit, float], *, counted: bool) -> None:
    """Refuse where more is asked for than is left. ``counted``: what is asked for is among what is there already."""
    for limit, amount in asked.items():
        quota = found.quotas[limit]
        before = quota.taken - amount if counted else quota.taken
        if amount > 0 and quota.limit is not None and before + amount > quota.limit:
            raise refusal(quota, before=before, asked=amount)


def refusal(quota: Quota, *, before: float, asked: float) -> ResourceError:
    """Return the refusal of what would be too much: which limit, what is gone, what was asked for, and what helps."""
    code, what, help_ = _TOLD[quota.limit_of]
    until = f" It begins anew on {quota.resets_at:%d %B %Y}, 00:00 UTC." if quota.resets_at else ""
    minutes = quota.limit_of == Limit.JOB_MINUTES
    details: dict[str, Any] = {
        "limit": quota.limit_of.value,
        "used": round(before, 2) if minutes else int(before),
        "allowed": quota.limit,
        "asked": int(asked),
        "resets_at": quota.resets_at and quota.resets_at.isoformat().replace("+00:00", "Z"),
    }
    if code == "too_many_jobs":
        details["retry_after_s"] = RETRY_AFTER_S
    gone = f"{_amount(before)} of {_amount(quota.limit or 0)} {what}"
    return ResourceError(
        f"The workspace has {gone}, and this needs {_amount(asked)} more.{until}",
        code=code,
        fix=f"{help_}, {ASK}",
        details=details,
        retryable=False,
    )


def caution(asked: Mapping[Limit, float]) -> Caution | None:
    """Return what to know before asking for so much: the refusal that it would meet, or a limit that is nearly gone.

    By what this process remembers, since a form asks at every change; the refusal itself counts anew.
    """
    kept: Standing | None = caches["memory"].get_or_set(_remembered(), standing)
    found = kept or standing()  # it may have gone out of the cache at once
    try:
        _refuse(found, asked, counted=False)
    except ResourceError as error:
        return Caution(code=error.code, detail=f"This would be refused now. {error.message}", fix=error.fix)
    near = [quota for limit, quota in found.quotas.items() if asked.get(limit) and quota.is_nearly_gone]
    quota = max(near, key=lambda each: each.share or 0.0, default=None)
    if quota is None:
        return None
    code, what, help_ = _TOLD[quota.limit_of]
    gone = f"{_amount(quota.taken)} of {_amount(quota.limit or 0)} {what}"
    return Caution(code=f"{code}_soon", detail=f"The workspace has {gone}.", fix=f"{help_}, {ASK}")


def _amount(number: float) -> str:
    return f"{int(number):,}" if float(number).is_integer() else f"{number:,.1f}"


def _new_bytes(size_bytes: int, sha256: str) -> int:
    if not sha256:
        return size_bytes
    with acting_as_system():
        kept = Blob.objects.filter(sha256=sha256).exclude(
            models=None, datasets=None, artifacts=None, benchmarks=None, comparisons=None
        )
        return 0 if kept.exists() else size_bytes


def _remembered() -> str:
    return f"standing:{_schema()}"


def _schema() -> str:
    return str(connection.schema_name)  # type: ignore[attr-defined]  # the tenant backend's
