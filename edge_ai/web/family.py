"""The family of a model in rows and as bars: size, latency and accuracy, each with what it is held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F

from accounts.models import User
from edge_ai.models import BenchmarkRun, JobStatus, Model
from edge_ai.services.family import Member, family_of
from edge_ai.web.views.gains import Gain, gains_of
from edge_ai.web.wording import AREAS, NUMBERS

MAX_INDENT = 5


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How right a model is on a data set, by its latest benchmark with that data."""

    metric: str
    value: float
    ci95: Sequence[float] | None
    samples: int | None
    run_id: UUID


@dataclass(frozen=True, kw_only=True)
class Relative:
    """A member with what is known of it. ``gain`` holds it against what it was made from; the rest, against the original."""

    model: Model
    original: Model
    depth: int
    gain: Gain | None
    judged: Judged | None
    original_judged: Judged | None

    @property
    def is_original(self) -> bool:
        """What all the others come from."""
        return self.model.pk == self.original.pk

    @property
    def indent(self) -> str:
        """The class that moves its name to the right."""
        return f"kin-{min(self.depth, MAX_INDENT)}"

    @property
    def accuracy_points(self) -> float | None:
        """By how many points of a percentage it differs from the original on the same data; ``None``: not to be said."""
        if self.is_original or self.judged is None or self.original_judged is None:
            return None
        if self.judged.metric != self.original_judged.metric or not _is_share(self.judged):
            return None
        return 100 * (self.judged.value - self.original_judged.value)


def family_context(user: User, model: Model) -> dict[str, Any]:
    """Return the rows of the tab, and the numbers of its charts."""
    members = family_of(user, model=model)
    original = members[0].model
    gains = {gain.variant.pk: gain for gain in gains_of(user, [each.model for each in members])}
    judged, dataset = _judged(user, [each.model.pk for each in members])
    rows = [_relative(each, original, gains.get(each.model.pk), judged) for each in members]
    return {"family": rows, "original": original, "judged_on": dataset, "family_chart": chart_of(rows)}


def _relative(member: Member, original: Model, gain: Gain | None, judged: Mapping[UUID, Judged]) -> Relative:
    return Relative(
        model=member.model,
        original=original,
        depth=member.depth,
        gain=gain,
        judged=judged.get(member.model.pk),
        original_judged=judged.get(original.pk),
    )


def _judged(user: User, models: Collection[UUID]) -> tuple[dict[UUID, Judged], str]:
    """Return the accuracies on the one data set that most of the models were judged on, and its name."""
    rows = (
        BenchmarkRun.objects.visible_to(user)
        .filter(model_id__in=models, status=JobStatus.COMPLETED, dataset__isnull=False, result__accuracy__isnull=False)
        .order_by("finished_at")
        .values(
            *("pk", "model_id", "dataset_id", "dataset__name"),
            accuracy=F("result__accuracy"),
            ci95=F("result__accuracy_ci95"),
            samples=F("result__accuracy_samples"),
        )
    )
    latest = {(row["model_id"], row["dataset_id"]): row for row in rows if row["accuracy"]}
    if not latest:
        return {}, ""
    [(chosen, _)] = Counter(dataset for _, dataset in latest).most_common(1)
    found = {}
    name = ""
    for (model, dataset), row in latest.items():
        if dataset == chosen:
            first = next(iter(row["accuracy"]))
            found[model] = Judged(
                metric=first,
                value=row["accuracy"][first],
                ci95=(row["ci95"] or {}).get(first),
                samples=row["samples"],
                run_id=row["pk"],
            )
            name = row["dataset__name"]
    return found, name


def chart_of(rows: Sequence[Relative]) -> dict[str, Any]:
    """Return what the three charts draw; one with nothing to hold against something else is empty."""
    before = rows[0].model.size_bytes / 1e6
    size = [_named(row) | {"after": row.model.size_bytes / 1e6} for row in rows[1:]]
    latency = [
        _named(row) | {"before": row.gain.before_ms, "after": row.gain.after_ms, "against": row.gain.parent.name}
        for row in rows
        if row.gain is not None and row.gain.before_ms is not None and row.gain.after_ms is not None
    ]
    held = rows[0].judged
    accuracy = [
        _named(row) | {"after": 100 * row.judged.value}
        for row in rows[1:]
        if row.judged is not None and held is not None and row.judged.metric == held.metric and _is_share(row.judged)
    ]
    return {
        "size": [each | {"before": before, "against": rows[0].model.name} for each in size],
        "latency": latency,
        "accuracy": [
            each | {"before": 100 * held.value, "against": rows[0].model.name} for each in accuracy if held is not None
        ],
    }


def _named(row: Relative) -> dict[str, Any]:
    """Return a name, and what is left of it without that of the original, which most of a family share."""
    name = row.model.name
    return {"name": name, "label": name.removeprefix(row.original.name).strip(" ·") or name}


def _is_share(judged: Judged) -> bool:
    return judged.metric not in NUMBERS | AREAS
