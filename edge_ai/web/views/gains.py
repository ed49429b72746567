"""The fastest measured latency of models, for lists: one query, however many models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Min

from accounts.models import User
from edge_ai.models import BenchmarkRun, JobStatus, Model


@dataclass(frozen=True, kw_only=True)
class Best:
    """The lowest median latency of a model on a device, measured."""

    device_id: UUID
    device: str
    p50_ms: float


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A variant beside what it was made from; latencies only where both were measured on one device."""

    variant: Model
    parent: Model
    size_ratio: float
    before_ms: float | None
    after_ms: float | None
    device: str

    @property
    def speed_ratio(self) -> float | None:
        """How many times faster the variant is."""
        return self.before_ms / self.after_ms if self.before_ms and self.after_ms else None


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


def gains_of(user: User, variants: Collection[Model]) -> list[Gain]:
    """Hold variants against their parents; ``variants`` come with their parents loaded."""
    ids = {variant.pk for variant in variants} | {variant.parent_id for variant in variants if variant.parent_id}
    best = best_latencies(user, ids)
    found = []
    for variant in variants:
        parent = variant.parent
        if parent is None:
            continue
        before = {each.device_id: each for each in best.get(parent.pk, [])}
        both = next((each for each in best.get(variant.pk, []) if each.device_id in before), None)
        found.append(
            Gain(
                variant=variant,
                parent=parent,
                size_ratio=parent.size_bytes / max(1, variant.size_bytes),
                before_ms=before[both.device_id].p50_ms if both else None,
                after_ms=both.p50_ms if both else None,
                device=both.device if both else "",
            )
        )
    return found
