"""Filters of the lists, named after fields. A value that cannot be one is refused, and so is a name that is none."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from functools import reduce
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet, Subquery, TextChoices, Value
from django.db.models.functions import Coalesce
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField
from drf_spectacular.utils import extend_schema_field

from edge_ai.catalogue.loader import FORMATS, PRECISIONS
from edge_ai.models import (
    ArtifactType,
    DatasetKind,
    DeliveryStatus,
    DeviceCategory,
    ImportSource,
    Job,
    JobStatus,
    ModelFormat,
    ModelStatus,
    OptimizationLevel,
    Precision,
    ResultKind,
    Visibility,
    WebhookEvent,
)
from edge_ai.models.webhook import EVENT_TYPES


def _any_of(enum: type[TextChoices]) -> Any:
    # Without `distinct`: no join multiplies rows here, and comparing whole rows would cost.
    return filters.MultipleChoiceFilter(choices=enum.choices, distinct=False, help_text="Repeat it for several.")


def _yes_or_no() -> Any:
    return extend_schema_field({"type": "boolean"})(
        filters.TypedChoiceFilter(choices=[("true", "yes"), ("false", "no")], coerce=lambda value: value == "true")
    )


def _one_of(words: frozenset[str], lookup: str, field: str) -> Any:
    return extend_schema_field({"type": "string", "enum": sorted(words)})(
        filters.ChoiceFilter(
            field_name=field, lookup_expr=lookup, choices=[(word, word) for word in sorted(words)], method="holds"
        )
    )


class MomentField(IsoDateTimeField):  # type: ignore[misc]  # django-filter has no type information
    """A moment, in UTC: the database knows fewer offsets than the format allows."""

    def to_python(self, value: Any) -> datetime | None:
        """Return the moment."""
        moment: datetime | None = super().to_python(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError:
            raise ValidationError("That is beyond what can be told.", code="invalid") from None


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]  # django-filter has no type information
    """Rows before or after a moment."""

    field_class = MomentField


class _Filters(filters.FilterSet):  # type: ignore[misc]  # django-filter has no type information
    """What every list understands."""

    searched: ClassVar[tuple[str, ...]] = ("name",)

    created_after = MomentFilter(field_name="created_at", lookup_expr="gt")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")
    visibility = filters.ChoiceFilter(choices=Visibility.choices)
    search = filters.CharFilter(method="find", max_length=200, help_text="Text in the names or the description.")

    def find(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Rows with the text in one of their texts."""
        return queryset.filter(reduce(operator.or_, (Q(**{f"{field}__icontains": value}) for field in self.searched)))


class ModelFilters(_Filters):
    """Of models."""

    searched = ("name", "file_name", "description")

    status = _any_of(ModelStatus)
    format = _any_of(ModelFormat)
    precision = filters.CharFilter(max_length=20, help_text="As the analysis names it, such as fp32 or qdq-int8.")
    tag = filters.CharFilter(method="tagged", max_length=40)
    parent = filters.UUIDFilter(field_name="parent_id")
    producer = filters.UUIDFilter(field_name="producer_id")

    def tagged(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Models with a tag."""
        return queryset.filter(tags__contains=[value])


class DatasetFilters(_Filters):
    """Of data sets."""

    searched = ("name", "file_name", "description")

    kind = _any_of(DatasetKind)
    has_labels = _yes_or_no()


class DeviceFilters(_Filters):
    """Of devices."""

    searched = ("name", "vendor", "description", "cpu_model")

    category = _any_of(DeviceCategory)
    is_template = _yes_or_no()
    is_host = _yes_or_no()
    cpu_architecture = filters.CharFilter(max_length=30)
    format = _one_of(FORMATS, "contains", "formats")
    precision = _one_of(PRECISIONS, "contains", "precisions")

    def holds(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Devices whose list of words has one."""
        return queryset.filter(**{f"{name}__contains": [value]})


class OptimizationFilters(_Filters):
    """Of optimization jobs."""

    status = _any_of(JobStatus)
    model = filters.UUIDFilter(field_name="model_id")
    device_profile = filters.UUIDFilter(field_name="device_profile_id")
    dataset = filters.UUIDFilter(field_name="dataset_id")
    target_format = _any_of(ModelFormat)
    precision = _any_of(Precision)
    optimization_level = _any_of(OptimizationLevel)
    batch = filters.UUIDFilter(field_name="batch_id")


class BatchFilters(_Filters):
    """Of batches of optimizations."""


class BenchmarkFilters(_Filters):
    """Of benchmarks."""

    status = _any_of(JobStatus)
    kind = filters.ChoiceFilter(
        field_name="result_kind", choices=ResultKind.choices, help_text="Measured, or estimated for a device not here."
    )
    model = filters.UUIDFilter(field_name="model_id")
    device_profile = filters.UUIDFilter(field_name="device_profile_id")
    dataset = filters.UUIDFilter(field_name="dataset_id")
    baseline = filters.UUIDFilter(field_name="baseline_id")


class ComparisonFilters(_Filters):
    """Of comparisons."""

    status = _any_of(JobStatus)
    model = filters.UUIDFilter(method="comparing", help_text="Comparisons in which the model is one of those compared.")
    device_profile = filters.UUIDFilter(field_name="device_profile_id")
    dataset = filters.UUIDFilter(field_name="dataset_id")

    def comparing(self, queryset: QuerySet[Any], name: str, value: UUID) -> QuerySet[Any]:
        """Comparisons of a model, whatever its place; a model is in one only once."""
        return queryset.filter(compared__model_id=value)


class PackagingFilters(_Filters):
    """Of packaging jobs."""

    status = _any_of(JobStatus)
    model = filters.UUIDFilter(field_name="model_id")


class ImportFilters(_Filters):
    """Of imports."""

    status = _any_of(JobStatus)
    source = _any_of(ImportSource)
    model = filters.UUIDFilter(field_name="made_id")


class DiagnosisFilters(_Filters):
    """Of diagnoses."""

    status = _any_of(JobStatus)
    model = filters.UUIDFilter(field_name="model_id")
    baseline = filters.UUIDFilter(field_name="baseline_id")
    device_profile = filters.UUIDFilter(field_name="device_profile_id")
    dataset = filters.UUIDFilter(field_name="dataset_id")


class ArtifactFilters(_Filters):
    """Of artifacts."""

    searched = ("file_name", "target_platform")

    artifact_type = _any_of(ArtifactType)
    model = filters.UUIDFilter(field_name="model_id")
    optimization_job = filters.UUIDFilter(
        method="answering", help_text="The job that made them, or one that was answered from that."
    )
    benchmark = filters.UUIDFilter(field_name="benchmark_id")
    device_profile = filters.UUIDFilter(field_name="device_profile_id")
    expires_before = MomentFilter(field_name="expires_at", lookup_expr="lt")

    def answering(self, queryset: QuerySet[Any], name: str, value: UUID) -> QuerySet[Any]:
        """Artifacts of the job that ran, whether it is named or one that it answered."""
        ran = Job.objects.filter(pk=value, answered_by__isnull=False).values("answered_by_id")
        return queryset.filter(optimization_job_id=Coalesce(Subquery(ran), Value(value)))


class WebhookFilters(filters.FilterSet):  # type: ignore[misc]  # django-filter has no type information
    """Of webhooks, which are always private."""

    enabled = _yes_or_no()
    event = filters.ChoiceFilter(choices=WebhookEvent.choices, method="hears_of")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gt")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")
    search = filters.CharFilter(method="find", max_length=200, help_text="Text in the address or the description.")

    def hears_of(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Webhooks that are told of an event."""
        return queryset.filter(events__contains=[value])

    def find(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Webhooks with the text."""
        return queryset.filter(Q(url__icontains=value) | Q(description__icontains=value))


class WebhookDeliveryFilters(filters.FilterSet):  # type: ignore[misc]  # django-filter has no type information
    """Of a webhook's log."""

    status = _any_of(DeliveryStatus)
    event = filters.MultipleChoiceFilter(
        field_name="event_type",
        choices=[(event, event) for event in EVENT_TYPES],
        distinct=False,
        help_text="Repeat it for several.",
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gt")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")
