"""The refusal of what would be too much for a workspace.

Whoever asks for more holds the workspace's lock from the counting to the end of the transaction, so that of fifty who ask at
once each counts what those before were given. Where there is room by far, it is enough to know the most that the workspace
may have: what a process counted a while ago, and all that came since. Refused is only by a count of everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from django.core.cache import caches
from django.db import connection, transaction

from accounts.features import require
from config.database.identity import acting_as_system
from config.features import Feature
from edge_ai.engine.errors import ResourceError
from edge_ai.engine.plan import Caution
from edge_ai.models import Blob, ImportJob, Job, JobKind, Model
from edge_ai.services.standings import UNASKED, Base, Limit, Quota, Standing, counting, current_schema, read, standing

FEATURE_OF: Final[Mapping[JobKind, Feature]] = {
    JobKind.OPTIMIZATION: Feature.OPTIMIZATION,
    JobKind.BENCHMARK: Feature.BENCHMARKING,
    JobKind.COMPARISON: Feature.BENCHMARKING,
    JobKind.DIAGNOSIS: Feature.BENCHMARKING,
    JobKind.PACKAGING: Feature.PACKAGING,
    JobKind.IMPORT: Feature.UPLOADS,
}
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('edge_ai_quota'), hashtext(%s))"
#: For how long a count is what later ones begin from.
BASE_S: Final = 300


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
        cursor.execute(LOCK, [current_schema()])
    _forget()


def _claim(asked: Callable[[], Mapping[Limit, float]], *, counted: bool) -> None:
    """Take the workspace's lock, and refuse what is too much. Where there is room by far, that takes one trip.

    Parameters
    ----------
    asked
        Asked once the lock is held.
    counted
        What is asked for is among what is there already.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("A quota is claimed within the transaction that uses it.")
    base: Base | None = caches["memory"].get(_base_key())
    found = _hold_and_count(base)
    wanted = asked()
    if base is not None and _excess(found, wanted, counted=counted) is not None:
        # The most that it may have is more than what it has.
        found = _hold_and_count(None)
    _refuse(found, wanted, counted=counted)


def _hold_and_count(base: Base | None) -> Standing:
    """Take the workspace's lock, then look where it stands, in one trip: the second statement sees what the lock waited for."""
    name = current_schema()
    statement, values = counting(name, base)
    with acting_as_system(), connection.cursor() as cursor:
        cursor.execute(f"{LOCK}; {statement}", [name, *values])
        cursor.nextset()
        found, counted = read(cursor.fetchone())
    _forget()
    if counted is not None:
        key = _base_key()
        # What this transaction has removed is there again if it fails.
        transaction.on_commit(lambda: caches["memory"].set(key, counted, BASE_S))
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
    _claim(
        lambda: {Limit.MODELS: 1, Limit.STORED_BYTES: 0 if reserved else _new_bytes(size_bytes, sha256)}, counted=False
    )


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
    _claim(lambda: {Limit.STORED_BYTES: _new_bytes(size_bytes, sha256)}, counted=False)


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
        Job.objects.filter(pk=job.pk).update(claimed_bytes=0)
        needed = _new_bytes(size_bytes, sha256)
        _refuse(standing(), {Limit.STORED_BYTES: needed}, counted=False)
        Job.objects.filter(pk=job.pk).update(claimed_bytes=needed)


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
        _claim(lambda: needs(asked), counted=True)


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
        _claim(lambda: needs(asked), counted=False)
    else:
        hold()


def needs(jobs: Sequence[Job]) -> dict[Limit, float]:
    """Return what jobs claim."""
    return {
        Limit.MODELS: sum(job.kind in {JobKind.OPTIMIZATION, JobKind.IMPORT} for job in jobs),
        Limit.STORED_BYTES: sum(job.claimed_bytes for job in jobs),
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
    excess = _excess(found, asked, counted=counted)
    if excess is not None:
        quota, before, amount = excess
        raise refusal(quota, before=before, asked=amount)


def _excess(found: Standing, asked: Mapping[Limit, float], *, counted: bool) -> tuple[Quota, float, float] | None:
    """Return the first limit that would be passed, what is gone of it, and what is asked for."""
    for limit, amount in asked.items():
        quota = found.quotas[limit]
        before = quota.taken - amount if counted else quota.taken
        if amount > 0 and quota.limit is not None and before + amount > quota.limit:
            return quota, before, amount
    return None


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
    return f"standing:{current_schema()}"


def _base_key() -> str:
    return f"quota-base:{current_schema()}"
