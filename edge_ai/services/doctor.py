"""What an operator asks first when something is wrong: every part of the studio, looked at once."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.db import connection
from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Q
from django_tenants.utils import schema_context

from accounts.models import Workspace
from config.database.identity import acting_as_system, workspace_as_system
from edge_ai.checks import storage_is_whole
from edge_ai.fleet.models import Cluster
from edge_ai.models import Job, JobStatus, Queue
from edge_ai.models.base import ClockTimestamp
from edge_ai.services.blobs import places
from edge_ai.services.converters import converters
from edge_ai.services.health import weakest
from edge_ai.services.leftovers import leftovers
from edge_ai.services.schemas import complete_schemas, missing_migrations

MIN_SERVER_VERSION = 150_000
MIN_FREE_BYTES = 1 << 30
MAX_SKEW_S = 2.0
#: Nothing waits that long for a worker that is free.
STUCK_LEASES = 3


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one look found: in words, and in figures for programs."""

    check: str
    state: State
    detail: str
    facts: dict[str, Any] = field(default_factory=dict)


def examine() -> list[Finding]:
    """Look at everything; what needs the database is left out when it does not answer."""
    found = list(_guarded("database", _database))
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = []
    if all(finding.state is not State.ERROR for finding in found):
        checks += [
            ("roles", _roles),
            ("migrations", _migrations),
            ("queues", _queues),
            ("sandbox", _sandbox),
            ("clock", _clock),
            ("leftovers", _leftovers),
        ]
    checks += [("storage", _storage), ("disk", _disk), ("converters", _converters)]
    for name, check in checks:
        found += _guarded(name, check)
    return found


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Turn what goes wrong in a look into a finding, so that the others are still made."""
    try:
        with schema_context("public"), acting_as_system():
            return list(check())
    except ImproperlyConfigured as error:
        return [Finding(check=name, state=State.ERROR, detail=str(error))]
    except Exception as error:  # whatever it is, it is what the operator wants to know, and the other looks go on
        connection.close()
        return [Finding(check=name, state=State.ERROR, detail=f"{type(error).__name__}: {str(error).strip()[:300]}")]


def _query(statement: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row: tuple[Any, ...] = cursor.fetchone() or ()
        return row


def _database() -> Iterator[Finding]:
    number, version = _query("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
    new_enough = number >= MIN_SERVER_VERSION
    where = "embedded" if settings.EMBEDDED_DATABASE else "external"
    yield Finding(
        check="database",
        state=State.OK if new_enough else State.ERROR,
        detail=f"PostgreSQL {version}, {where}." + ("" if new_enough else " Version 15 or later is needed."),
        facts={"version": version, "embedded": settings.EMBEDDED_DATABASE},
    )


def _roles() -> Iterator[Finding]:
    name, powerful, owned = _query(
        "SELECT session_user::text, (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user),"
        " (SELECT count(*) FROM pg_tables WHERE tableowner = session_user)"
    )
    wrong = "is a superuser or bypasses row level security" if powerful else f"owns {owned} tables" if owned else ""
    yield Finding(
        check="roles",
        state=State.ERROR if wrong else State.OK,
        detail=f"The runtime role {name} {wrong or 'is neither superuser nor owner'}.",
        facts={"role": name, "superuser": bool(powerful), "owned_tables": owned},
    )


def _migrations() -> Iterator[Finding]:
    shared = tuple(config.label for config in apps.get_app_configs() if config.name in settings.SHARED_APPS)
    missing = sorted(".".join(key) for key in missing_migrations("public", shared))
    total = Workspace.objects.exclude(schema_name="public").count()
    complete = len(complete_schemas())
    behind = bool(missing) or complete < total
    words = [f"{complete} of {total} workspaces have every table."]
    if missing:
        words.insert(0, f"Not applied: {', '.join(missing)}.")
    if behind:
        words.append("Run `manage.py bootstrap`, unless a workspace is being made right now.")
    yield Finding(
        check="migrations",
        state=State.ERROR if missing else State.WARNING if behind else State.OK,
        detail=" ".join(words),
        facts={"missing": missing, "workspaces": total, "complete_workspaces": complete},
    )


@dataclass
class _Line:
    """What the jobs of all workspaces say of one queue."""

    waiting: int = 0
    running: int = 0
    silent: int = 0
    oldest_s: float | None = None


def _lines() -> dict[str, _Line]:
    lines = {name: _Line() for name in Queue.values}
    now = ClockTimestamp()
    due = Q(status=JobStatus.QUEUED, run_after__lte=now)
    running = Q(status=JobStatus.RUNNING)
    for schema in complete_schemas():
        with workspace_as_system(schema):
            rows = (
                Job.objects.active()
                .values("queue")
                .annotate(
                    due=Count("pk", filter=due),
                    running=Count("pk", filter=running),
                    silent=Count("pk", filter=running & Q(lease_expires_at__lt=now)),
                    age=Max(ExpressionWrapper(now - F("run_after"), output_field=DurationField()), filter=due),
                )
            )
            for row in rows:
                line = lines[row["queue"]]
                line.waiting += row["due"]
                line.running += row["running"]
                line.silent += row["silent"]
                if row["age"] is not None:
                    line.oldest_s = max(line.oldest_s or 0.0, round(row["age"].total_seconds(), 1))
    return lines


def _queues() -> Iterator[Finding]:
    lines = _lines()
    clusters = list(Cluster.objects.alive().values("queue", "workers", "restarts"))
    for name, line in lines.items():
        mine = [cluster for cluster in clusters if cluster["queue"] == name]
        workers = sum(cluster["workers"] for cluster in mine)
        restarts = sum(cluster["restarts"] for cluster in mine)
        words = [
            f"{workers} live workers, {line.running} jobs run, {line.waiting} wait"
            + (f", the oldest for {line.oldest_s:.0f} s" if line.oldest_s is not None else "")
            + (f", {restarts} restarts of clusters" if restarts else "")
            + "."
        ]
        state = State.OK
        stuck = (line.oldest_s or 0) > STUCK_LEASES * settings.JOB_LEASE_SECONDS and line.running < workers
        if line.silent:
            words.append(f"{line.silent} jobs are past their lease, and no supervisor has rescued them.")
            state = State.WARNING
        if stuck:
            words.append(
                "Jobs wait although workers are free: the cluster may stand still, or a limit holds them back."
            )
            state = State.WARNING
        if not mine:
            words.append(f"Start one: `manage.py supervise {name}`.")
            state = State.ERROR
        facts = {
            "live_workers": workers,
            "running": line.running,
            "waiting": line.waiting,
            "oldest_waiting_seconds": line.oldest_s,
            "past_lease": line.silent,
            "restarts": restarts,
            "stuck": stuck,
        }
        yield Finding(check=f"queue {name}", state=state, detail=" ".join(words), facts=facts)


def _sandbox() -> Iterator[Finding]:
    hosts: dict[str, list[str]] = {}
    for host, level in Cluster.objects.alive().values_list("host", "sandbox_level"):
        hosts.setdefault(host, []).append(level)
    for host, levels in sorted(hosts.items()):
        held = weakest(levels)
        state = State.ERROR if held == "none" else State.OK if held in {"standard", "strong"} else State.WARNING
        yield Finding(
            check=f"sandbox {host}",
            state=state,
            detail=f"Engine children are held at level {held}." if held else "The level is not known yet.",
            facts={"level": held},
        )


def _clock() -> Iterator[Finding]:
    before = time.time()
    there: datetime = _query("SELECT clock_timestamp()")[0]
    here = datetime.fromtimestamp((before + time.time()) / 2, tz=UTC)
    skew_s = (here - there).total_seconds()
    near = abs(skew_s) <= MAX_SKEW_S
    yield Finding(
        check="clock",
        state=State.OK if near else State.WARNING,
        detail=f"This machine's clock is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} the database's."
        + ("" if near else " Jobs go by the database's alone; sessions, links and keys go by this one."),
        facts={"skew_seconds": round(skew_s, 3)},
    )


def _leftovers() -> Iterator[Finding]:
    folders = sum(len(leftovers(settings.WORK_DIR, schema)) for schema in complete_schemas())
    uploads = [path for path in settings.UPLOAD_DIR.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in uploads)
    yield Finding(
        check="leftovers",
        state=State.OK,
        detail=f"{folders} work folders of dead attempts, which supervisors remove every ten minutes; "
        f"{len(uploads)} files of uploads ({size / 1e6:.1f} MB).",
        facts={"work_folders": folders, "upload_files": len(uploads), "upload_bytes": size},
    )


def _storage() -> Iterator[Finding]:
    if lacking := storage_is_whole():
        for each in lacking:
            yield Finding(check="storage", state=State.ERROR, detail=f"{each.msg} {each.hint}")
        return
    for place, backend in places().items():
        content = uuid.uuid4().bytes
        name = backend.save(f"doctor/{uuid.uuid4()}", ContentFile(content))
        try:
            with backend.open(name, "rb") as stream:
                same = stream.read() == content
        finally:
            backend.delete(name)
        detail = f"A file was written to the {place} storage, "
        detail += "read back and removed." if same else "and read back as something else."
        if moving := place != settings.STORAGE_BACKEND:
            detail += " Files are looked for there that the other lacks: `manage.py move_blobs` moves them."
        yield Finding(
            check="storage",
            state=State.WARNING if same and moving else State.OK if same else State.ERROR,
            detail=detail,
            facts={"backend": place},
        )


def _disk() -> Iterator[Finding]:
    usage = shutil.disk_usage(settings.DATA_DIR)
    enough = MIN_FREE_BYTES + settings.MAX_UPLOAD_BYTES
    state = State.OK if usage.free >= enough else State.WARNING if usage.free >= MIN_FREE_BYTES else State.ERROR
    yield Finding(
        check="disk",
        state=state,
        detail=f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free where the studio keeps its data."
        + ("" if state is State.OK else " That is less than the largest upload needs."),
        facts={"free_bytes": usage.free, "total_bytes": usage.total},
    )


def _converters() -> Iterator[Finding]:
    missing = [converter.name for converter in converters() if not converter.ready]
    yield Finding(
        check="converters",
        state=State.WARNING if missing else State.OK,
        detail=f"Not installed here: {', '.join(missing)}."
        if missing
        else "All converters and runtimes are installed.",
        facts={"missing": missing},
    )
