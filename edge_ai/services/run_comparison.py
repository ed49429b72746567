"""Holding saved benchmark runs against one another, whenever and of whatever models they were measured.

Such runs say less of each other than a comparison that measures by turns: how far two runs of one model lie apart anyway is
part of every interval here (:mod:`edge_ai.engine.history`), so that the same model is rarely called faster than itself, and
two runs are never called the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import F

from accounts.models import User
from edge_ai.engine.environments import environment_differences
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.history import Change, Point, compare_with_level
from edge_ai.models import BenchmarkRun, JobStatus, ResultKind

FEWEST: Final = 2
MOST: Final = 8

#: What another format brings with it, and is no difference of conditions where formats differ.
_OF_FORMAT: Final = frozenset({"runtime", "provider"})


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A finished, measured run: of its result, which is long, what is compared."""

    run_id: UUID
    name: str
    finished_at: datetime
    model_id: UUID
    model: str
    format: str
    precision: str
    size_bytes: int
    device_id: UUID
    device: str
    dataset_id: UUID | None
    dataset: str | None
    batch_size: int
    p50_ms: float
    latency_ms: Mapping[str, Any]
    memory_mb: Mapping[str, Any]
    accuracy: Mapping[str, float]
    accuracy_ci95: Mapping[str, Sequence[float]]
    accuracy_reason: str | None
    noise: str
    environment: Mapping[str, Any]
    histogram: Mapping[str, Sequence[float]]

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The interval of the median within the run."""
        told = self.latency_ms.get("ci95")
        return (float(told[0]), float(told[1])) if told else None

    @property
    def point(self) -> Point:
        """The run as the engine compares it."""
        return Point(
            key=str(self.run_id),
            version=str(self.model_id),
            p50_ms=self.p50_ms,
            ci95=self.ci95,
            noisy=self.noise == "noisy",
        )


@dataclass(frozen=True, kw_only=True)
class HeldRun:
    """A run beside the one that it is held against.

    ``change`` is ``None`` for that one itself, and for a run of another batch size, whose times are of something else.
    ``differences`` are those of the conditions, each in words.
    """

    run: SavedRun
    change: Change | None = None
    differences: Sequence[str] = field(default=())
    other_batch: bool = False
    other_data: bool = False


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Runs in the order asked for, the one that the others are held against first."""

    held: Sequence[HeldRun]

    @property
    def baseline(self) -> SavedRun:
        """What the others are held against."""
        return self.held[0].run

    @property
    def runs(self) -> list[SavedRun]:
        """Every run, without what it is held against."""
        return [each.run for each in self.held]


def compare_runs(user: User, *, run_ids: Sequence[UUID], against: UUID | None = None) -> RunComparison:
    """Hold two to eight runs that a person sees against one of them: ``against``, or the one that was measured first.

    Raises
    ------
    UserInputError
        ``invalid_request`` for too few or too many, ``not_found`` for a run that does not exist or is not theirs to see,
        ``conflict`` for one that has not completed, ``kinds_differ`` for an estimated one.
    """
    wanted = list(dict.fromkeys(run_ids))
    if not FEWEST <= len(wanted) <= MOST:
        raise UserInputError(
            f"{len(wanted)} benchmark{'' if len(wanted) == 1 else 's'} chosen; {FEWEST} to {MOST} are compared.",
            code="invalid_request",
            fix="Tick two to eight finished benchmarks in the list, then choose “Compare”.",
            field="run",
        )
    runs = _runs(user, wanted)
    if against is not None and against not in wanted:
        raise UserInputError(
            "What the others are to be held against is not among the benchmarks.",
            code="invalid_request",
            fix="Choose one of them.",
            field="against",
        )
    first = next((run for run in runs if run.run_id == against), None) or min(runs, key=lambda run: run.finished_at)
    others = [run for run in runs if run.run_id != first.run_id]
    return RunComparison(held=[HeldRun(run=first), *(_hold(run, first) for run in others)])


def _runs(user: User, wanted: Sequence[UUID]) -> list[SavedRun]:
    """Read the runs in the order of ``wanted``; one query."""
    rows = (
        BenchmarkRun.objects.visible_to(user)
        .filter(pk__in=wanted)
        .values(
            "pk",
            "name",
            "status",
            "result_kind",
            "finished_at",
            "model_id",
            "model__name",
            "model__format",
            "model__precision",
            "model__size_bytes",
            "device_profile_id",
            "device_profile__name",
            "dataset_id",
            "dataset__name",
            "batch_size",
            "p50_ms",
            latency_ms=F("result__latency_ms"),
            memory_mb=F("result__memory_mb"),
            accuracy=F("result__accuracy"),
            accuracy_ci95=F("result__accuracy_ci95"),
            accuracy_reason=F("result__accuracy_reason"),
            noise=F("result__noise__verdict"),
            environment=F("result__environment"),
            histogram=F("result__chart__histogram"),
        )
    )
    found: dict[UUID, dict[str, Any]] = {row["pk"]: dict(row) for row in rows}
    if len(found) < len(wanted):
        raise UserInputError(
            "One of the benchmarks does not exist, or it is not yours to see.",
            code="not_found",
            fix="It may have been deleted with its model. Choose again from the list.",
        )
    ordered = [found[key] for key in wanted]
    for row in ordered:
        _check(row)
    return [_saved(row) for row in ordered]


def _check(row: Mapping[str, Any]) -> None:
    if row["result_kind"] == ResultKind.ESTIMATED:
        raise UserInputError(
            f"“{row['name']}” is estimated: such numbers are not compared, neither with measured ones nor with one another.",
            code="kinds_differ",
            fix="Leave it out, or measure the model on “This machine”.",
            field="run",
        )
    if row["status"] != JobStatus.COMPLETED or not row["p50_ms"]:
        raise UserInputError(
            f"“{row['name']}” has no numbers: it is {row['status']}.",
            code="conflict",
            fix="Wait until it has completed, or leave it out.",
            field="run",
        )


def _saved(row: Mapping[str, Any]) -> SavedRun:
    return SavedRun(
        run_id=row["pk"],
        name=row["name"],
        finished_at=row["finished_at"],
        model_id=row["model_id"],
        model=row["model__name"],
        format=row["model__format"],
        precision=row["model__precision"],
        size_bytes=row["model__size_bytes"],
        device_id=row["device_profile_id"],
        device=row["device_profile__name"],
        dataset_id=row["dataset_id"],
        dataset=row["dataset__name"],
        batch_size=row["batch_size"],
        p50_ms=row["p50_ms"],
        latency_ms=row["latency_ms"] or {},
        memory_mb=row["memory_mb"] or {},
        accuracy=row["accuracy"] or {},
        accuracy_ci95=row["accuracy_ci95"] or {},
        accuracy_reason=row["accuracy_reason"],
        noise=row["noise"] or "",
        environment=row["environment"] or {},
        histogram=row["histogram"] or {},
    )


def _hold(run: SavedRun, first: SavedRun) -> HeldRun:
    other_batch = run.batch_size != first.batch_size
    return HeldRun(
        run=run,
        change=None if other_batch else compare_with_level(run.point, [first.point]),
        differences=_differences(run, first),
        other_batch=other_batch,
        other_data=run.dataset_id != first.dataset_id,
    )


def _differences(run: SavedRun, first: SavedRun) -> list[str]:
    """Return in words what differs between the conditions of two runs."""
    told = []
    if run.device_id != first.device_id:
        told.append(f"device: {first.device} in the baseline, {run.device} in this run")
    if run.dataset_id != first.dataset_id:
        told.append(f"data: {_data(first)} in the baseline, {_data(run)} in this run")
    if run.batch_size != first.batch_size:
        told.append(f"batch size: {first.batch_size} in the baseline, {run.batch_size} in this run")
    # Told above, or no condition but the model's own where formats differ.
    left_out = {"batch_size"} | (_OF_FORMAT if run.format != first.format else frozenset())
    told += [
        str(each["detail"])
        for each in environment_differences(first.environment, run.environment)
        if each["field"] not in left_out
    ]
    return told


def _data(run: SavedRun) -> str:
    if run.dataset_id is None:
        return "made up"
    return f"“{run.dataset}”" if run.dataset else "another data set"
