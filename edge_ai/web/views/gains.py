"""Latencies of models, and what variants gained, for lists: one query each, however many models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import F, Min, QuerySet

from accounts.models import User
from edge_ai.engine.routes import RUNS_HERE
from edge_ai.models import BenchmarkRun, JobStatus, Model
from edge_ai.web.measured import gain_words
from edge_ai.web.wording import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Best:
    """The lowest median latency of a model on a device; who asks says whether measured or estimated."""

    device_id: UUID
    device: str
    p50_ms: float


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A variant beside what it was made from; latencies only from a benchmark that was compared with one of the parent."""

    variant: Model
    parent: Model
    run_id: UUID | None = None
    device: str = ""
    before_ms: float | None = None
    after_ms: float | None = None
    comparison: dict[str, Any] | None = None
    #: What else was asked for of that benchmark.
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs_here(self) -> bool:
        """The variant can be measured on this machine."""
        return self.variant.format in RUNS_HERE

    @property
    def size_ratio(self) -> float:
        """How many times smaller the variant is."""
        return self.parent.size_bytes / max(1, self.variant.size_bytes)

    @property
    def speed(self) -> str:
        """By how much the variant is faster, as surely as that is known."""
        return gain_words(self.comparison) if self.comparison else UNKNOWN

    @property
    def caution(self) -> str:
        """What the comparison must be told with; empty where both were measured under the same conditions."""
        return "under other conditions" if (self.comparison or {}).get("warnings") else ""

    @property
    def speed_ratio(self) -> float:
        """How many times faster the variant is for sure; 1 when that is not known."""
        if self.comparison is None or self.comparison["verdict"] not in {"faster", "slower"}:
            return 1.0
        return 1 / float(self.comparison["ratio_p50"])


def with_numbers(runs: QuerySet[BenchmarkRun]) -> QuerySet[BenchmarkRun]:
    """Read of each result, which is long, only the numbers that lists show."""
    return runs.defer("result").annotate(
        latency_ms=F("result__latency_ms"), memory_mb=F("result__memory_mb"), noise=F("result__noise__verdict")
    )


def best_latencies(user: User, models: Collection[UUID]) -> dict[UUID, list[Best]]:
    """Return each model's best median latency on each device, the fastest device first."""
    rows = (
        BenchmarkRun.objects.visible_to(user)
        .filter(model_id__in=models, status=JobStatus.COMPLETED, p50_ms__isnull=False)
        .values("model_id", "device_profile_id", "device_profile__name")
        .annotate(best=Min("p50_ms"))
        .order_by("best")
    )
    found: dict[UUID, list[Best]] = defaultdict(list)
    for row in rows:
        best = Best(device_id=row["device_profile_id"], device=row["device_profile__name"], p50_ms=row["best"])
        found[row["model_id"]].append(best)
    return found


def latencies_of(user: User, model: UUID) -> tuple[list[Best], list[Best]]:
    """Return a model's best measured medians, and its lowest estimated ones on devices that are not here. One query.

    Each on every device once, the fastest first.
    """
    rows = (
        BenchmarkRun.objects.visible_to(user)
        .filter(model_id=model, status=JobStatus.COMPLETED)
        .values("device_profile_id", "device_profile__name")
        .annotate(measured=Min("p50_ms"), estimated=Min("estimated_ms"))
    )
    measured, estimated = [], []
    for row in rows:
        device_id, device = row["device_profile_id"], row["device_profile__name"]
        if row["measured"] is not None:
            measured.append(Best(device_id=device_id, device=device, p50_ms=row["measured"]))
        if row["estimated"] is not None:
            estimated.append(Best(device_id=device_id, device=device, p50_ms=row["estimated"]))
    return sorted(measured, key=lambda best: best.p50_ms), sorted(estimated, key=lambda best: best.p50_ms)


def gains_of(user: User, variants: Collection[Model], **more: F) -> list[Gain]:
    """Hold variants against their parents, by the latest benchmark of each that was compared with one of its parent.

    Lowest latencies are not held against each other: they may be of runs with other threads, or of a busier machine.
    ``more`` is read of each of those benchmarks as well.
    """
    # Of a result, which is long, only the comparison is read.
    rows = (
        BenchmarkRun.objects.visible_to(user)
        .filter(
            model_id__in=[variant.pk for variant in variants],
            baseline__model_id=F("model__parent_id"),
            status=JobStatus.COMPLETED,
        )
        .order_by("finished_at")
        .values(
            *("pk", "model_id", "device_profile__name", "p50_ms", "baseline__p50_ms"),
            comparison=F("result__comparison"),
            **more,
        )
    )
    latest = {row["model_id"]: row for row in rows if row["comparison"]}
    found = []
    for variant in variants:
        row = latest.get(variant.pk)
        if variant.parent is None:
            continue
        if row is None:
            found.append(Gain(variant=variant, parent=variant.parent))
            continue
        found.append(
            Gain(
                variant=variant,
                parent=variant.parent,
                run_id=row["pk"],
                device=row["device_profile__name"],
                before_ms=row["baseline__p50_ms"],
                after_ms=row["p50_ms"],
                comparison=row["comparison"],
                told=row,
            )
        )
    return found
