"""Finding models, jobs, benchmarks, devices and data sets by name, by the beginning of a SHA-256 digest, or by id.

One query for each kind of thing, however many there are and however many match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Case, Q, QuerySet, Value, When
from django.urls import reverse

from accounts.models import User
from edge_ai.models import HOUSEKEEPING, BenchmarkRun, Dataset, DeviceProfile, Job, JobKind, Model
from edge_ai.web.hidden import model_name
from edge_ai.web.wording import megabytes

LONGEST = 200
SUGGESTED, SHOWN = 4, 20
#: How many jobs and benchmarks are looked at together.
READ = 200
_DIGEST = re.compile(r"[0-9a-f]{6,64}")
_ID = re.compile(r"[0-9a-f]{8,32}")
_ID_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Something that was found, and where it is."""

    title: str
    detail: str
    address: str
    status: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What was found of one kind."""

    name: str
    word: str
    icon: str
    hits: Sequence[Hit] = field(default_factory=list)
    #: The list with everything that matches; empty where all of it is shown.
    more: str = ""


def find(user: User, words: str, *, most: int) -> list[Group]:
    """Return what a person may see of what matches, by kind; kinds of which nothing matches are left out.

    Parameters
    ----------
    most
        How many of each kind.
    """
    words = words.replace("\0", "").strip()[:LONGEST]
    if not words:
        return []
    named, keyed, of_digest = Q(name__icontains=words), _by_id(words), _by_digest(words)
    of_jobs, of_runs = _jobs_and_runs(Job.objects.visible_to(user).filter(named | keyed), words, most)
    jobs = Job.objects.filter(pk__in=of_jobs).defer("result")
    runs = BenchmarkRun.objects.filter(pk__in=of_runs).with_seen("model").defer("result")
    models = Model.objects.visible_to(user).defer("analysis")
    return [
        group
        for group in (
            _group(
                "model",
                "Models",
                models.filter(named | Q(tags__contains=[words]) | of_digest | keyed),
                words,
                most,
                lambda row: Hit(
                    title=row.name,
                    detail=f"{row.get_format_display()}, {megabytes(row.size_bytes)}",
                    address=reverse("edge_ai:model-detail", args=[row.pk]),
                    status=row.status,
                ),
            ),
            _group(
                "job",
                "Jobs",
                jobs,
                words,
                most,
                lambda row: Hit(
                    title=row.name,
                    detail=row.get_kind_display(),
                    address=reverse("edge_ai:job-detail", args=[row.pk]),
                    status=row.status,
                ),
            ),
            _group(
                "benchmark",
                "Benchmarks",
                runs,
                words,
                most,
                lambda row: Hit(
                    title=row.name,
                    detail=model_name(row, begins=True),
                    address=reverse("edge_ai:benchmark-detail", args=[row.pk]),
                    status=row.status,
                ),
            ),
            _group(
                "device",
                "Devices",
                DeviceProfile.objects.visible_to(user).filter(named | Q(vendor__icontains=words) | keyed),
                words,
                most,
                lambda row: Hit(
                    title=row.name,
                    detail=row.get_category_display(),
                    address=reverse("edge_ai:device-detail", args=[row.pk]),
                ),
            ),
            _group(
                "dataset",
                "Data sets",
                Dataset.objects.visible_to(user).filter(named | of_digest | keyed),
                words,
                most,
                lambda row: Hit(
                    title=row.name,
                    detail=f"{row.sample_count:,} samples",
                    address=f"{reverse('edge_ai:dataset-list')}?search={row.sha256}",
                ),
            ),
        )
        if group.hits
    ]


def _jobs_and_runs(matching: QuerySet[Job], words: str, most: int) -> tuple[list[UUID], list[UUID]]:
    """Return the ids of the best jobs and of the best benchmarks, which are jobs too.

    Their names are gone through once: of very many jobs that is what takes time. A run's own policy, which looks for its
    job, would be asked for each of them.
    """
    rows = matching.exclude(kind__in=HOUSEKEEPING)
    best = list(_best(rows, words, READ - 1).values_list("pk", "kind"))
    found = [[pk for pk, kind in best if (kind == JobKind.BENCHMARK) is timed] for timed in (False, True)]
    if len(best) == READ:  # there are more, and of one sort none or few may have come
        for place, of_sort in enumerate((rows.exclude(kind=JobKind.BENCHMARK), rows.filter(kind=JobKind.BENCHMARK))):
            if len(found[place]) <= most:
                found[place] = list(_best(of_sort, words, most).values_list("pk", flat=True))
    return found[0][: most + 1], found[1][: most + 1]


def _by_digest(words: str) -> Q:
    plain = words.lower()
    return Q(sha256__startswith=plain) if _DIGEST.fullmatch(plain) else Q(pk__in=[])


def _by_id(words: str) -> Q:
    """Rows whose id begins so: a range, which an index finds."""
    plain = words.lower().replace("-", "")
    if not _ID.fullmatch(plain):
        return Q(pk__in=[])
    return Q(id__range=(UUID(plain.ljust(_ID_DIGITS, "0")), UUID(plain.ljust(_ID_DIGITS, "f"))))


def _group(name: str, word: str, rows: QuerySet[Any], words: str, most: int, hit: Callable[[Any], Hit]) -> Group:
    found = list(_best(rows, words, most))
    more = f"{reverse(f'edge_ai:{name}-list')}?{urlencode({'search': words})}" if len(found) > most else ""
    return Group(name=name, word=word, icon=name, hits=[hit(row) for row in found[:most]], more=more)


def _best(rows: QuerySet[Any], words: str, most: int) -> QuerySet[Any]:
    """One more than ``most``: what begins with the words is meant more often than what has them somewhere; then the newest."""
    first = Case(When(name__istartswith=words, then=Value(0)), default=Value(1))
    return rows.order_by(first, "-created_at", "pk")[: most + 1]
