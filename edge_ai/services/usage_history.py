"""What a workspace used, day by day and month by month (UTC): from the ledger, not from jobs, which people delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Count, Sum
from django.db.models.functions import TruncDate

from edge_ai.models import HOUSEKEEPING, JobTime, UsageDay
from edge_ai.services.standings import Limit, Standing

DAYS = 30
MONTHS = 12


@dataclass(frozen=True, kw_only=True)
class UsedOn:
    """A day, or a month, by its first day.

    Parameters
    ----------
    job_minutes
        That attempts at jobs ran which stopped then.
    runs
        How many attempts these were.
    models, stored_bytes
        At the end of it; ``None`` where nobody looked.
    """

    day: date
    job_minutes: float
    runs: int
    models: int | None
    stored_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class UsageHistory:
    """The last days and months, the earliest first."""

    days: Sequence[UsedOn]
    months: Sequence[UsedOn]


def usage_history(*, until: date, now: Standing | None = None) -> UsageHistory:
    """Return what the current workspace used up to a day. Two queries.

    Parameters
    ----------
    now
        What it has, where the last day is today: the roll-up may not have looked at that yet.
    """
    first_month = date(until.year - 1 + until.month // MONTHS, until.month % MONTHS + 1, 1)
    since = min(first_month, until - timedelta(days=DAYS - 1))
    seconds: dict[date, tuple[float, int]] = {
        row["day"]: (row["ran"], row["runs"])
        for row in JobTime.objects.filter(ended_at__date__gte=since, ended_at__date__lte=until)
        .exclude(kind__in=HOUSEKEEPING)
        .annotate(day=TruncDate("ended_at"))
        .values("day")
        .annotate(ran=Sum("seconds"), runs=Count("pk"))
        .order_by()
    }
    had = {row.day: row for row in UsageDay.objects.filter(day__range=(since, until))}
    if now is not None:
        models, stored = now.quotas[Limit.MODELS].used, now.quotas[Limit.STORED_BYTES].used
        had[until] = UsageDay(day=until, model_count=int(models), stored_bytes=int(stored))
    days = [_sum([until - timedelta(days=back)], seconds, had) for back in reversed(range(DAYS))]
    by_month: dict[date, list[date]] = {}
    for place in range((until - first_month).days + 1):
        day = first_month + timedelta(days=place)
        by_month.setdefault(day.replace(day=1), []).append(day)
    return UsageHistory(days=days, months=[_sum(each, seconds, had) for each in by_month.values()])


def _sum(days: Sequence[date], seconds: dict[date, tuple[float, int]], had: dict[date, UsageDay]) -> UsedOn:
    found = [seconds[day] for day in days if day in seconds]
    last = next((had[day] for day in reversed(days) if day in had), None)
    return UsedOn(
        day=days[0],
        job_minutes=sum(ran for ran, _ in found) / 60,
        runs=sum(runs for _, runs in found),
        models=None if last is None else last.model_count,
        stored_bytes=None if last is None else last.stored_bytes,
    )
