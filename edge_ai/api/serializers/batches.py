"""Optimizations that are asked for together, in and out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from edge_ai.api.fields import MAX_NAME, EnumField, FailureField, OptionsField, PriorityField, StrictSerializer
from edge_ai.api.serializers.jobs import CautionSerializer, PlanSerializer, StoredOptionsField, WaitSerializer
from edge_ai.models import (
    JobStatus,
    ModelFormat,
    OptimizationBatch,
    OptimizationJob,
    OptimizationLevel,
    Precision,
    Priority,
    Visibility,
)
from edge_ai.services.batches import MOST_COMBINATIONS, counts_of, jobs_of, percent_of, standing_of


@extend_schema_serializer(component_name="OptimizationBatchCreate")
class BatchRequestSerializer(StrictSerializer):
    """Every model, for every device, in every precision."""

    models = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MOST_COMBINATIONS, help_text="Each is taken once."
    )
    device_profiles = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MOST_COMBINATIONS, help_text="Each is taken once."
    )
    precisions = serializers.ListField(
        child=EnumField(Precision), min_length=1, max_length=len(Precision.values), help_text="Each is taken once."
    )
    dataset = serializers.UUIDField(required=False, allow_null=True, default=None)
    target_format = EnumField(
        ModelFormat,
        required=False,
        allow_null=True,
        default=None,
        help_text="null: each model's own format, or the first that it can become.",
    )
    optimization_level = EnumField(OptimizationLevel, required=False, default=OptimizationLevel.BALANCED.value)
    options = OptionsField(required=False, default=dict)
    name = serializers.CharField(max_length=MAX_NAME, required=False, default="", allow_blank=True)
    visibility = EnumField(Visibility, required=False, default=Visibility.PRIVATE.value)
    priority = PriorityField(required=False, default=Priority.NORMAL)
    fresh = serializers.BooleanField(
        required=False, default=False, help_text="Run even what a completed job that you see has the answer to."
    )
    strict = serializers.BooleanField(
        required=False, default=False, help_text="Refuse all where one combination can never work."
    )
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Only say what would run and what would be refused; nothing is queued."
    )


class BatchRefusalSerializer(serializers.Serializer[Any]):
    """A combination that can never work."""

    model = serializers.UUIDField()
    model_name = serializers.CharField()
    device_profile = serializers.UUIDField()
    device_name = serializers.CharField()
    precision = EnumField(Precision)
    target_format = EnumField(ModelFormat)
    code = serializers.CharField(help_text="A stable code; see /docs/errors/.")
    detail = serializers.CharField(help_text="Why it cannot work.")
    fix = serializers.CharField(allow_blank=True)
    nearest = serializers.DictField(allow_null=True, help_text="The nearest request that works, where there is one.")


class BatchCountsSerializer(serializers.Serializer[Any]):
    """How many jobs stand where."""

    total = serializers.IntegerField(help_text="Jobs that were made; refused combinations are not among them.")
    pending = serializers.IntegerField()
    queued = serializers.IntegerField()
    running = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    refused = serializers.IntegerField(help_text="Combinations that can never work, for which no job was made.")


class BatchJobSerializer(serializers.ModelSerializer[OptimizationJob]):
    """A job of a batch, without its result."""

    model_name = serializers.CharField(source="model.name", read_only=True)
    device_name = serializers.CharField(source="device_profile.name", read_only=True)
    target_format = EnumField(ModelFormat, read_only=True)
    precision = EnumField(Precision, read_only=True)
    status = EnumField(JobStatus, read_only=True)
    error = FailureField()
    answered_by = serializers.UUIDField(source="answered_by_id", read_only=True, allow_null=True)
    variant = serializers.UUIDField(source="made", read_only=True, allow_null=True, help_text="Null until it is made.")
    size_bytes = serializers.IntegerField(source="made_bytes", read_only=True, allow_null=True)
    sqnr_db = serializers.FloatField(read_only=True, allow_null=True)

    class Meta:
        model = OptimizationJob
        fields = [
            *("id", "name", "model", "model_name", "device_profile", "device_name", "target_format", "precision"),
            *("status", "stage", "progress", "error", "answered_by", "variant", "size_bytes", "sqnr_db"),
            *("created_at", "started_at", "finished_at"),
        ]
        read_only_fields = fields


class BatchSummarySerializer(serializers.ModelSerializer[OptimizationBatch]):
    """A batch as lists show it."""

    owner = serializers.UUIDField(source="owner_id", read_only=True)
    visibility = EnumField(Visibility, read_only=True)
    status = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField()

    class Meta:
        model = OptimizationBatch
        fields = [
            *("id", "owner", "name", "visibility", "status", "progress", "counts"),
            *("created_at", "updated_at", "cancelled_at"),
        ]
        read_only_fields = fields

    @extend_schema_field(EnumField(JobStatus))
    def get_status(self, batch: OptimizationBatch) -> str:
        """Return where it stands: `running` from the first job that begins; ended, its worst job's status."""
        return standing_of(counts_of(batch))

    @extend_schema_field({"type": "integer", "minimum": 0, "maximum": 100})
    def get_progress(self, batch: Any) -> int:
        """Return the mean of its jobs' progress; what has ended counts as 100."""
        return percent_of(batch)

    @extend_schema_field(BatchCountsSerializer)
    def get_counts(self, batch: OptimizationBatch) -> dict[str, int]:
        """Return how many jobs stand where."""
        return counts_of(batch)


@extend_schema_field({"type": "object", "additionalProperties": True})
class AskedField(StoredOptionsField):
    """What was asked for."""


class BatchSerializer(BatchSummarySerializer):
    """A batch with its jobs and what was refused."""

    asked = AskedField(read_only=True, help_text="What was asked for.")
    refused = BatchRefusalSerializer(many=True, read_only=True)
    jobs = serializers.SerializerMethodField()

    class Meta(BatchSummarySerializer.Meta):
        fields = [*BatchSummarySerializer.Meta.fields, "asked", "refused", "jobs"]
        read_only_fields = fields

    @extend_schema_field(BatchJobSerializer(many=True))
    def get_jobs(self, batch: OptimizationBatch) -> Any:
        """Return the jobs, in the order in which they were asked for."""
        return BatchJobSerializer(jobs_of(self.context["user"], batch=batch), many=True).data


class PlannedCombinationSerializer(serializers.Serializer[Any]):
    """A combination that works."""

    model = serializers.UUIDField()
    model_name = serializers.CharField()
    device_profile = serializers.UUIDField()
    device_name = serializers.CharField()
    precision = EnumField(Precision)
    target_format = EnumField(ModelFormat)
    plan = PlanSerializer(help_text="Without `estimate`, `cached` and `wait`, which are null here.")


class BatchPlanSerializer(serializers.Serializer[Any]):
    """What a batch would run."""

    combinations = PlannedCombinationSerializer(many=True)
    refused = BatchRefusalSerializer(many=True)
    warnings = CautionSerializer(many=True, help_text="A limit of the workspace that it would meet, or comes near to.")
    wait = WaitSerializer(help_text="How long its last job would wait for a worker, submitted now.")
