"""The history of a model's latency: the measured benchmarks of its lineage, as series with their changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import F, Q

from accounts.models import User
from edge_ai.engine.history import Judged, Mark, Point, judge_series, regression_of
from edge_ai.models import BenchmarkRun, JobStatus, Model, ResultKind

MOST_RUNS: Final = 1000
"""The latest of a lineage that are looked at."""

_LINEAGE: Final = """
WITH RECURSIVE up AS (
    SELECT id, parent_id FROM edge_ai_model WHERE id = %s
    UNION
    SELECT model.id, model.parent_id FROM edge_ai_model AS model JOIN up ON model.id = up.parent_id
), down AS (
    SELECT id FROM up WHERE parent_id IS NULL OR parent_id NOT IN (SELECT id FROM up)
    UNION
    SELECT model.id FROM edge_ai_model AS model JOIN down ON model.parent_id = down.id
)
SELECT id FROM down
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What makes runs comparable: two that differ in one of these are of different series."""

    device_id: UUID
    precision: str
    format: str
    threads: int | None
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a series, with what people call it."""

    judged: Judged
    run_id: UUID
    name: str
    model_id: UUID
    model: str
    finished_at: datetime


@dataclass(frozen=True, kw_only=True)
class Series:
    """The measured runs of a lineage with the same settings, the earliest first."""

    settings: Settings
    device: str
    runs: tuple[Run, ...]

    @property
    def changes(self) -> tuple[Run, ...]:
        """Where the latency changed, or seems to have."""
        return tuple(run for run in self.runs if run.judged.mark in {Mark.CHANGE, Mark.UNCONFIRMED})


@dataclass(frozen=True, kw_only=True)
class History:
    """All series of a model's lineage; ``cut_off``: there are earlier runs than were looked at."""

    series: tuple[Series, ...]
    cut_off: bool


def lineage_of(model_id: UUID) -> list[UUID]:
    """Return the models of a lineage: what a model was made from, as far as one sees it, and all that was made of that."""
    with connection.cursor() as cursor:
        cursor.execute(_LINEAGE, [model_id])
        return [row[0] for row in cursor.fetchall()]


def history_of(user: User, *, model: Model) -> History:
    """Return the series of a model's lineage, those of its own format and precision first. Two queries."""
    rows = _measured(user, lineage_of(model.pk), Q())
    found: dict[Settings, list[dict[str, Any]]] = defaultdict(list)
    for row in reversed(rows[:MOST_RUNS]):
        found[_settings(row)].append(row)
    series = [
        Series(
            settings=settings,
            device=group[0]["device_profile__name"],
            runs=tuple(
                Run(
                    judged=judged,
                    run_id=row["pk"],
                    name=row["name"],
                    model_id=row["model_id"],
                    model=row["model__name"],
                    finished_at=row["finished_at"],
                )
                for row, judged in zip(group, judge_series([_point(row) for row in group]), strict=True)
            ),
        )
        for settings, group in found.items()
    ]
    series.sort(
        key=lambda each: (
            (each.settings.format, each.settings.precision) != (model.format, model.precision),
            each.device,
            each.settings.precision,
            each.settings.threads or 0,
        )
    )
    return History(series=tuple(series), cut_off=len(rows) > MOST_RUNS)


def regression(run: BenchmarkRun, result: dict[str, Any]) -> dict[str, Any] | None:
    """Return by how much a run that has just been measured is slower than its series, as its owner sees that."""
    p50_ms = float(result["latency_ms"]["p50"])
    if p50_ms <= 0:
        return None
    asked = Q(
        device_profile_id=run.device_profile_id,
        batch_size=run.batch_size,
        model__format=run.model.format,
        model__precision=run.model.precision,
    )
    threads = (result.get("environment") or {}).get("threads")
    rows = _measured(run.owner, lineage_of(run.model_id), asked & ~Q(pk=run.pk))
    earlier = [_point(row) for row in reversed(rows[:MOST_RUNS]) if row["threads_used"] == threads]
    latest = Point(
        key=str(run.pk),
        version=str(run.model_id),
        p50_ms=p50_ms,
        ci95=_interval(result["latency_ms"].get("ci95")),
        noisy=(result.get("noise") or {}).get("verdict") == "noisy",
    )
    change = regression_of([*earlier, latest])
    if change is None:
        return None
    return {
        "against": earlier[-1].key,
        "level_ms": change.level_ms,
        "runs": change.runs,
        "ratio_p50": change.ratio_p50,
        "ci95": list(change.ci95),
    }


def _measured(user: User, models: Sequence[UUID], further: Q) -> list[dict[str, Any]]:
    """Read the runs, the latest first; of each result, which is long, only what counts here."""
    rows = (
        BenchmarkRun.objects.visible_to(user)
        .filter(further, model_id__in=models, result_kind=ResultKind.MEASURED, status=JobStatus.COMPLETED)
        .filter(p50_ms__gt=0)
        .order_by("-finished_at", "pk")
        .values(
            "pk",
            "name",
            "model_id",
            "model__name",
            "model__format",
            "model__precision",
            "device_profile_id",
            "device_profile__name",
            "batch_size",
            "p50_ms",
            "finished_at",
            threads_used=F("result__environment__threads"),
            interval=F("result__latency_ms__ci95"),
            noise=F("result__noise__verdict"),
        )
    )
    return [dict(row) for row in rows[: MOST_RUNS + 1]]


def _settings(row: dict[str, Any]) -> Settings:
    return Settings(
        device_id=row["device_profile_id"],
        precision=row["model__precision"],
        format=row["model__format"],
        threads=row["threads_used"],
        batch_size=row["batch_size"],
    )


def _point(row: dict[str, Any]) -> Point:
    return Point(
        key=str(row["pk"]),
        version=str(row["model_id"]),
        p50_ms=row["p50_ms"],
        ci95=_interval(row["interval"]),
        noisy=row["noise"] == "noisy",
    )


def _interval(told: Any) -> tuple[float, float] | None:
    if not isinstance(told, list) or len(told) != 2 or not all(isinstance(each, (int, float)) for each in told):
        return None
    return float(told[0]), float(told[1])
