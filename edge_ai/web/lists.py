"""What each list can be asked for: what is searched, what narrows it, and how it is sorted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.lookups import IsNull

from accounts.models import Role, User
from edge_ai.catalogue.loader import FORMATS
from edge_ai.catalogue.loader import PRECISIONS as DEVICE_PRECISIONS
from edge_ai.models import (
    TEST_EVENT,
    ArtifactType,
    BenchmarkRun,
    ComparedModel,
    DatasetKind,
    DeliveryStatus,
    DeviceCategory,
    DeviceProfile,
    Job,
    JobKind,
    JobStatus,
    Model,
    ModelFormat,
    ModelStatus,
    Priority,
    ResultKind,
    Visibility,
    WebhookEvent,
)
from edge_ai.models.artifact import going_soon
from edge_ai.web.listing import Filter, ListOf, by_field, since_day
from edge_ai.web.wording import precision

#: What words are found in is named by its ids up to so many.
FEW = 200
#: Benchmarks and comparisons are counted up to this: of each, its job's policy is asked as well.
COUNTED_JOBS = 200
#: Precisions to choose from, and the names that analyses give them.
PRECISIONS: dict[str, tuple[str, ...]] = {
    "fp32": ("fp32",),
    "fp16": ("fp16",),
    "bf16": ("bf16",),
    "mixed": ("mixed",),
    "int8": ("int8", "qdq-int8", "qoperator-int8"),
    "int8_dynamic": ("int8_dynamic", "dynamic-int8"),
    "int16x8": ("int16x8",),
    "weight-only": ("weight-only",),
}
MODELS = ListOf(
    address="edge_ai:model-list",
    one="model",
    many="models",
    hint="Name, tag or SHA-256",
    found=lambda words: (
        Q(name__icontains=words)
        | Q(file_name__icontains=words)
        | Q(tags__contains=[words])
        | Q(sha256__startswith=words.lower())
    ),
    filters=(
        by_field("format", "Format", ModelFormat.choices, every="Every format"),
        Filter(
            name="origin",
            title="Origin",
            choices=(("original", "Originals"), ("variant", "Variants")),
            every="Originals and variants",
            narrow=lambda rows, value: rows.filter(parent__isnull=value == "original"),
        ),
        by_field("status", "Status", ModelStatus.choices, every="Every status"),
        Filter(
            name="precision",
            title="Precision",
            choices=tuple((name, precision(name)) for name in PRECISIONS),
            every="Every precision",
            narrow=lambda rows, value: rows.filter(precision__in=PRECISIONS[value]),
            aside=True,
        ),
        by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
        since_day("Added since"),
    ),
    columns={
        "name": "name",
        "format": "format",
        "size": "size_bytes",
        "precision": "precision",
        "created": "created_at",
    },
    default="-created",
)
JOBS = ListOf(
    address="edge_ai:job-list",
    one="job",
    many="jobs",
    hint="Name",
    found=lambda words: Q(name__icontains=words),
    filters=(
        by_field("kind", "Kind", JobKind.choices, every="Every kind"),
        by_field("status", "Status", JobStatus.choices, every="Every status"),
        Filter(
            name="priority",
            title="Priority",
            choices=[(str(value), word) for value, word in Priority.choices],
            every="Every priority",
            narrow=lambda rows, value: rows.filter(priority=int(value)),
            aside=True,
        ),
        by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
        since_day("Submitted since"),
    ),
    columns={"name": "name", "kind": "kind", "status": "status", "created": "created_at", "finished": "finished_at"},
    default="-created",
    nullable=frozenset({"finished"}),
)


def _named(kind: JobKind, words: str, of_models: Callable[[list[UUID]], QuerySet[Any]], by_model: Q) -> Q:
    """Jobs of a kind by a part of their own name, or of their models'.

    Parameters
    ----------
    of_models
        The jobs' ids by their models'.
    by_model
        The same as a condition on each job, by the words.

    Few are named by their ids: to look for the words in each job, the policies of all its tables would be asked. Where
    many have them, a page is full before many jobs have been looked at.
    """
    job_ids = _few(Job.objects.filter(kind=kind, name__icontains=words).values_list("pk", flat=True))
    model_ids = _few(Model.objects.filter(name__icontains=words).values_list("pk", flat=True))
    ids_by_model = None if model_ids is None else _few(of_models(model_ids))
    if job_ids is None or ids_by_model is None:
        return Q(name__icontains=words) | by_model
    return Q(pk__in={*job_ids, *ids_by_model})


def _few(ids: QuerySet[Any]) -> list[UUID] | None:
    """Return the ids; ``None`` when there are more than :data:`FEW`."""
    found = list(ids.order_by()[: FEW + 1])
    return found if len(found) <= FEW else None


COMPARISONS = ListOf(
    address="edge_ai:comparison-list",
    one="comparison",
    many="comparisons",
    hint="Name or model",
    found=lambda words: _named(
        JobKind.COMPARISON,
        words,
        lambda models: (
            ComparedModel.objects.filter(model__in=models).values_list("comparison_id", flat=True).distinct()
        ),
        # Looked for in one comparison after another; as a condition that something exists it would be in all at once.
        Q(
            IsNull(
                Subquery(
                    ComparedModel.objects.filter(comparison=OuterRef("pk"), model__name__icontains=words)
                    .order_by()
                    .values("pk")[:1]
                ),
                False,
            )
        ),
    ),
    counted=COUNTED_JOBS,
    filters=(
        by_field("status", "Status", JobStatus.choices, every="Every status"),
        by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
        since_day("Submitted since"),
    ),
    columns={"name": "name", "status": "status", "created": "created_at"},
    default="-created",
)
BATCHES = ListOf(
    address="edge_ai:batch-list",
    one="batch",
    many="batches",
    hint="Name",
    found=lambda words: Q(name__icontains=words),
    filters=(
        by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
        since_day("Submitted since"),
    ),
    columns={"name": "name", "created": "created_at"},
    default="-created",
)


def _expiring(rows: QuerySet[Any], value: str) -> QuerySet[Any]:
    """Artifacts by when they go."""
    if value == "soon":
        return rows.filter(going_soon())
    return rows.filter(expires_at__isnull=value == "never")


ARTIFACTS = ListOf(
    address="edge_ai:artifact-list",
    one="artifact",
    many="artifacts",
    hint="File, model or SHA-256",
    found=lambda words: (
        Q(file_name__icontains=words) | Q(model__name__icontains=words) | Q(sha256__startswith=words.lower())
    ),
    filters=(
        by_field("type", "Type", ArtifactType.choices, every="Every type", column="artifact_type"),
        Filter(
            name="expires",
            title="Expires",
            choices=(("soon", "Soon"), ("some_day", "Some day"), ("never", "Never")),
            every="Whenever it goes",
            narrow=_expiring,
            aside=True,
        ),
        by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
        since_day("Made since"),
    ),
    columns={
        "name": "file_name",
        "type": "artifact_type",
        "size": "size_bytes",
        "downloads": "download_count",
        "created": "created_at",
    },
    default="-created",
)
DATASETS = ListOf(
    address="edge_ai:dataset-list",
    one="data set",
    many="data sets",
    hint="Name, file or SHA-256",
    found=lambda words: Q(name__icontains=words) | Q(file_name__icontains=words) | Q(sha256__startswith=words.lower()),
    filters=(
        by_field("kind", "Used for", DatasetKind.choices, every="Every use"),
        Filter(
            name="has_labels",
            title="Labels",
            choices=(("true", "Labelled"), ("false", "Without labels")),
            every="With and without labels",
            narrow=lambda rows, value: rows.filter(has_labels=value == "true"),
            aside=True,
        ),
        by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
        since_day("Added since"),
    ),
    columns={"name": "name", "size": "size_bytes", "samples": "sample_count", "created": "created_at"},
    default="-created",
)
DEVICES = ListOf(
    address="edge_ai:device-list",
    one="device",
    many="devices",
    hint="Name, maker or CPU",
    found=lambda words: Q(name__icontains=words) | Q(vendor__icontains=words) | Q(cpu_model__icontains=words),
    filters=(
        by_field("category", "Kind", DeviceCategory.choices, every="Every kind"),
        Filter(
            name="owner",
            title="From",
            choices=(("template", "The catalogue"), ("own", "Members’ own")),
            every="The catalogue and own devices",
            narrow=lambda rows, value: rows.filter(is_template=value == "template"),
        ),
        Filter(
            name="precision",
            title="Precision",
            choices=[(word, word) for word in sorted(DEVICE_PRECISIONS)],
            every="Every precision",
            narrow=lambda rows, value: rows.filter(precisions__contains=[value]),
            aside=True,
        ),
        Filter(
            name="format",
            title="Runs",
            choices=[(word, word) for word in sorted(FORMATS)],
            every="Every format",
            narrow=lambda rows, value: rows.filter(formats__contains=[value]),
            aside=True,
        ),
    ),
    columns={
        **{"position": "position", "name": "name", "vendor": "vendor"},
        **{"cores": "cpu_cores", "memory": "memory_mb"},
    },
    default="position",
    nullable=frozenset({"cores", "memory"}),
    orders=(
        ("position", "In the catalogue’s order"),
        ("name", "By name"),
        ("-memory", "Most memory first"),
        ("memory", "Least memory first"),
    ),
    modes=(("cards", "As cards"), ("table", "As a table")),
    size=100,
)


def devices_with(*, vendors: list[str], runtimes: list[str], accelerators: list[str]) -> ListOf:
    """Return the list of devices, narrowed also by what the devices that one sees have."""
    vendor = by_field("vendor", "Maker", [(each, each) for each in vendors], every="Every maker")
    runtime = Filter(
        name="runtime",
        title="Runtime",
        choices=[(each, each) for each in runtimes],
        every="Every runtime",
        narrow=lambda rows, value: rows.filter(runtimes__contains=[value]),
    )
    accelerator = Filter(
        name="accelerator",
        title="Accelerator",
        choices=[*((each, each.upper()) for each in accelerators), ("none", "None")],
        every="With and without accelerator",
        narrow=lambda rows, value: (
            rows.filter(accelerators=[]) if value == "none" else rows.filter(accelerators__contains=[{"kind": value}])
        ),
    )
    return replace(DEVICES, filters=(DEVICES.filters[0], vendor, runtime, accelerator, *DEVICES.filters[1:]))


WEBHOOKS = ListOf(
    address="edge_ai:webhook-list",
    one="webhook",
    many="webhooks",
    hint="Address or description",
    found=lambda words: Q(url__icontains=words) | Q(description__icontains=words),
    filters=(
        Filter(
            name="enabled",
            title="State",
            choices=(("true", "Switched on"), ("false", "Switched off")),
            every="On and off",
            narrow=lambda rows, value: rows.filter(enabled=value == "true"),
        ),
        Filter(
            name="event",
            title="Told of",
            choices=[(event, event) for event in WebhookEvent.values],
            every="Every event",
            narrow=lambda rows, value: rows.filter(events__contains=[value]),
        ),
        since_day("Added since"),
    ),
    columns={"url": "url", "created": "created_at"},
    default="-created",
)
MEMBERS = ListOf(
    address="edge_ai:member-list",
    one="member",
    many="members",
    hint="Name or email",
    found=lambda words: Q(user__email__icontains=words) | Q(user__name__icontains=words),
    filters=(by_field("role", "Role", Role.choices, every="Every role"),),
    columns={"person": "user__email", "joined": "created_at"},
    default="joined",
)
DELIVERIES = ListOf(
    address="edge_ai:webhook-detail",
    one="delivery",
    many="deliveries",
    filters=(
        by_field("status", "Status", DeliveryStatus.choices, every="Every status"),
        by_field(
            "event",
            "Event",
            [(event, event) for event in (*WebhookEvent.values, TEST_EVENT)],
            every="Every event",
            column="event_type",
        ),
    ),
    columns={"created": "created_at"},
    default="-created",
)


def benchmarks_of(user: User) -> ListOf:
    """Return what the list can be asked for; the devices to choose from are those that one sees."""
    devices = DeviceProfile.objects.visible_to(user).values_list("pk", "name")
    return ListOf(
        address="edge_ai:benchmark-list",
        one="benchmark",
        many="benchmarks",
        hint="Name or model",
        found=lambda words: _named(
            JobKind.BENCHMARK,
            words,
            lambda models: BenchmarkRun.objects.filter(model__in=models).values_list("pk", flat=True),
            Q(model__name__icontains=words),
        ),
        counted=COUNTED_JOBS,
        filters=(
            by_field("status", "Status", JobStatus.choices, every="Every status"),
            by_field(
                "kind",
                "Measured or estimated",
                ResultKind.choices,
                every="Measured and estimated",
                column="result_kind",
            ),
            by_field(
                "device_profile", "Device", [(str(pk), name) for pk, name in devices], every="Every device", aside=True
            ),
            by_field("visibility", "Who sees it", Visibility.choices, every="Private and shared", aside=True),
            since_day("Submitted since"),
        ),
        columns={
            "name": "name",
            "model": "model__name",
            "p50": "p50_ms",
            "estimated": "estimated_ms",
            "status": "status",
            "created": "created_at",
        },
        default="-created",
        nullable=frozenset({"p50", "estimated"}),
    )
